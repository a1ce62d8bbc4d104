"""Attention in which text and picture share a softmax: a closed form, and the peer's own maps.

The peer is attention-map-diffusers 1.0.0. It records FLUX's double blocks alone; ours the single
ones, too. It splits no reference from the picture, and knows no Qwen-Image.
"""

import pytest
import torch
from attention_map_diffusers import AttentionCapture
from diffusers import (
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusionXLPipeline,
)
from torch import nn
from torch.nn import functional

from cirp.attention.control import Control, controlled
from cirp.attention.joint import JointRecord, watching
from tests.tiny import tiny_sd, tiny_xl

TEXT, SIDE = 5, 4  # tokens of the text, and of a side of the picture


def flux() -> nn.Module:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=2, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    ).eval()  # fmt: skip


def sd3() -> nn.Module:
    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=SIDE, patch_size=1, in_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32,
        pooled_projection_dim=64, out_channels=4,
    ).eval()  # fmt: skip


def qwen() -> nn.Module:
    torch.manual_seed(0)
    return QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
        num_attention_heads=3, joint_attention_dim=16, guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    ).eval()  # fmt: skip


@torch.no_grad()
def run(model: nn.Module, pictures: int = 1):
    """Run a transformer once; `pictures` - 1 are a reference beside the picture."""
    torch.manual_seed(1)
    cells = pictures * SIDE * SIDE
    if isinstance(model, SD3Transformer2DModel):
        return model(
            hidden_states=torch.randn(1, 4, SIDE, SIDE),
            encoder_hidden_states=torch.randn(1, TEXT, 32),
            pooled_projections=torch.randn(1, 64), timestep=torch.tensor([1.0]),
        ).sample  # fmt: skip
    if isinstance(model, FluxTransformer2DModel):
        places = torch.arange(cells)
        ids = torch.stack([places // (SIDE * SIDE), places // SIDE % SIDE, places % SIDE], dim=1)
        return model(
            hidden_states=torch.randn(1, cells, 4), encoder_hidden_states=torch.randn(1, TEXT, 32),
            pooled_projections=torch.randn(1, 32), timestep=torch.tensor([1.0]),
            img_ids=ids.float(), txt_ids=torch.zeros(TEXT, 3),
        ).sample  # fmt: skip
    return model(
        hidden_states=torch.randn(1, cells, 16), encoder_hidden_states=torch.randn(1, TEXT, 16),
        encoder_hidden_states_mask=torch.ones(1, TEXT, dtype=torch.long),
        timestep=torch.tensor([1.0]), img_shapes=[[(1, SIDE, SIDE)] * pictures],
    ).sample  # fmt: skip


@pytest.fixture(params=[flux, sd3, qwen], ids=["FLUX", "SD3", "Qwen-Image"])
def model(request):
    return request.param()


def test_recording_changes_no_bit_and_leaves_nothing_behind(model):
    plain = run(model)
    with watching(model, JointRecord()) as record:
        watched = run(model)
    assert torch.equal(plain, watched) and len(record.calls) >= 2
    count = len(record.calls)
    run(model)
    assert len(record.calls) == count
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_maps_are_the_softmax_that_the_layer_took(model, monkeypatch):
    """Beside ours, a plain softmax of what PyTorch's attention was given, by the sizes alone."""
    given = []
    real = functional.scaled_dot_product_attention

    def noted(query, key, value, *args, **kwargs):
        given.append((query, key))
        return real(query, key, value, *args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    with watching(model, JointRecord()) as record:
        run(model)
    last = isinstance(model, SD3Transformer2DModel)
    text = slice(-TEXT, None) if last else slice(0, TEXT)
    cells = slice(0, -TEXT) if last else slice(TEXT, None)
    assert len(given) == len(record.calls)
    for (query, key), call in zip(given, record.calls, strict=True):
        shares = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
        torch.testing.assert_close(call.image_to_text, shares[..., cells, text])
        torch.testing.assert_close(call.text_to_image, shares[..., text, cells].transpose(-2, -1))


@pytest.mark.parametrize("name", ["flux", "qwen"])
def test_a_reference_takes_its_own_share(name):
    model = {"flux": flux, "qwen": qwen}[name]()
    with watching(model, JointRecord(cells=SIDE * SIDE)) as record:
        run(model, pictures=2)
    with watching(model, JointRecord()) as both:
        run(model, pictures=2)
    for call, whole in zip(record.calls, both.calls, strict=True):
        assert call.image_to_text.shape[-2:] == (SIDE * SIDE, TEXT)
        torch.testing.assert_close(call.image_to_text, whole.image_to_text[..., : SIDE**2, :])
        told = call.image_to_text.sum(dim=-1) + call.reference
        assert (call.reference > 0).all() and (told < 1).all()  # the rest is the picture's own


def test_words_are_chosen_and_nothing_is_kept_where_it_is_handed_on(model):
    seen = []
    with watching(model, JointRecord(words=[3, 1], see=seen.append)) as record:
        run(model)
    with watching(model, JointRecord()) as whole:
        run(model)
    assert record.calls == [] and len(seen) == len(whole.calls)
    for some, call in zip(seen, whole.calls, strict=True):
        torch.testing.assert_close(some.image_to_text, call.image_to_text[..., [3, 1]])
        torch.testing.assert_close(some.text_to_image, call.text_to_image[..., [3, 1]])


def test_a_model_without_attention_is_refused():
    with (
        pytest.raises(TypeError, match="Linear has no attention layers"),
        watching(nn.Linear(2, 2), JointRecord()),
    ):
        pass


def peer(name: str, part: str, module: nn.Module):
    """The peer's recorder on a pipeline that is nothing but this module."""
    pipe = type(name, (), {})()
    setattr(pipe, part, module)
    pipe.components = {part: module}
    return AttentionCapture(pipe, relations="image->text,text->image", timesteps="all", heads="all")


@pytest.mark.parametrize(
    "make, name", [(flux, "FluxPipeline"), (sd3, "StableDiffusion3Pipeline")], ids=["FLUX", "SD3"]
)
def test_joint_maps_are_the_peers(make, name):
    model = make()
    with watching(model, JointRecord()) as record:
        run(model)
    with peer(name, "transformer", model) as capture:
        run(model)
    theirs = {(one.layer_id.removeprefix("transformer."), one.relation): one.data
              for one in capture.compute()}  # fmt: skip
    known = {layer for layer, _ in theirs}
    ours = {call.layer: call for call in record.calls}
    assert known == {layer for layer in ours if not layer.startswith("single")}
    for layer in known:
        to_text, to_image = (theirs[layer, f"{a}->{b}"] for a, b in
                             (("image", "text"), ("text", "image")))  # fmt: skip
        assert (ours[layer].image_to_text - to_text).abs().max() < 1e-6
        assert (ours[layer].text_to_image.transpose(-2, -1) - to_image).abs().max() < 1e-6


def test_where_the_peer_differs():
    """It has no Qwen-Image, and takes a reference's cells for the picture's."""
    with (
        pytest.raises(RuntimeError, match="coverage is incomplete"),
        peer("QwenImagePipeline", "transformer", qwen()),
    ):
        pass
    model = flux()
    with peer("FluxKontextPipeline", "transformer", model) as capture:
        run(model, pictures=2)
    shapes = {one.data.shape[-2:] for one in capture.compute() if one.relation == "image->text"}
    assert shapes == {(2 * SIDE * SIDE, TEXT)}


class Every(Control):
    """Keeps every cross-attention map as it comes: (layer, step) -> (row, head, query, token)."""

    reads_only = True

    def begin(self) -> None:
        self.maps: dict[tuple[str, float], torch.Tensor] = {}

    def wants(self, site) -> bool:
        return site.is_cross

    def on_probs(self, probs, site):
        self.maps[site.layer, float(site.timestep)] = probs.detach().clone()
        return probs


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_cross_attention_maps_are_the_peers(kind):
    pipe = tiny_sd(sharpness=1.0) if kind == "SD" else tiny_xl(StableDiffusionXLPipeline)
    pipe.set_progress_bar_config(disable=True)
    call = dict(num_inference_steps=2, output_type="latent", height=64, width=64)
    every = Every()
    with controlled(pipe.unet, every):
        pipe("a red car", generator=torch.manual_seed(0), **call)
    with AttentionCapture(pipe, timesteps="all", heads="all") as capture:
        pipe("a red car", generator=torch.manual_seed(0), **call)
    theirs = {(one.layer_id.removeprefix("unet."), float(one.timestep)): one.data
              for one in capture.compute() if one.relation == "image->text"}  # fmt: skip
    assert len(theirs) == len(every.maps) > 2
    for place, maps in every.maps.items():
        assert (maps - theirs[place]).abs().max() < 1e-6
