"""`cirp.record` on pipelines whose text and picture share a softmax: FLUX, Kontext, SD3."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline, FluxPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit

import cirp
from cirp.attention.joint import JointRecord, watching
from cirp.attention.maps import resized
from cirp.diffusion.editors.dreamlite import DreamLite
from cirp.experiments.tiny_editors import (
    t5_tokenizer,
    tiny_dreamlite,
    tiny_flux,
    tiny_qwen,
    tiny_sd3,
)
from cirp.joint_recordings import positions
from tests.conftest import painted

PROMPT = "a red strawberry on the table"
MAKERS = {
    "FLUX": (tiny_flux, dict(height=16, width=8)),
    "Kontext": (
        lambda: tiny_flux(FluxKontextPipeline),
        dict(height=16, width=16, image=torch.rand(1, 3, 16, 16), max_area=256, _auto_resize=False),
    ),
    "Qwen": (
        tiny_qwen,
        dict(height=16, width=8, image=painted(8, 16), negative_prompt="a blue dog"),
    ),
    "DreamLite": (tiny_dreamlite, dict(height=16, width=16, image=painted(16, 16))),
    "SD3": (tiny_sd3, dict(height=16, width=8, negative_prompt="a blue dog")),
}
FEW = dict(max_sequence_length=48, num_inference_steps=2)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Qwen-Image-Edit brings every input to a million pixels; here to its own size."""
    monkeypatch.setattr(pipeline_qwenimage_edit, "calculate_dimensions", lambda *_: (8, 16, None))


@pytest.fixture(params=MAKERS)
def made(request):
    """A pipeline, and what it is called with."""
    make, call = MAKERS[request.param]
    return make(), {**call, **FEW}


def run(pipe, call, prompt=PROMPT, **more):
    return pipe(prompt=prompt, generator=torch.manual_seed(0), **call, **more).images


def test_pictures_stay_as_they_are_and_a_word_has_its_maps(made):
    pipe, call = made
    plain = run(pipe, call, output_type="np")
    with cirp.record(pipe) as rec:
        watched = run(pipe, call, output_type="np")
    assert np.array_equal(plain, watched) and rec.images == 1 and rec.prompt() == PROMPT
    size = (call["height"], call["width"])
    assert rec.size() == size and rec.words()[2] == "strawberry"
    last = "source" if hasattr(pipe, "unet") else "places"
    maps = {kind: rec.word_map("strawberry", kind=kind) for kind in ("share", "relative", last)}
    assert all(one.shape == size and one.dtype == np.float32 for one in maps.values())
    assert all((one > 0).all() for one in maps.values())
    share, relative = (rec.token_maps(kind=kind).sum(axis=0) for kind in ("share", "relative"))
    if hasattr(pipe, "unet"):
        np.testing.assert_allclose(share, 1, rtol=1e-5)  # cross-attention: there is nothing else
        with pytest.raises(ValueError, match="'places'; this editor has share, relative, source"):
            rec.word_map("red", kind="places")
    else:
        assert (share < 1).all()  # the rest is the picture's own
    np.testing.assert_allclose(relative, 1, rtol=1e-5)


def test_maps_are_the_mean_over_layers_and_steps_of_the_rows_with_the_prompt(made):
    pipe, call = made
    seen = []
    if hasattr(pipe, "unet"):
        pytest.skip("DreamLite's layers have several grids: see the next test")
    with cirp.record(pipe) as rec, watching(pipe.transformer, JointRecord(see=seen.append)):
        run(pipe, call, output_type="latent")
    last = [call.image_to_text[-1] for call in seen]  # of two rows the prompt's is the second
    last = [one for one in last if one.shape[-1] == len(rec.token_maps())]  # Qwen: of two calls
    cells = rec.token_maps().shape[1] * rec.token_maps().shape[2]
    expected = torch.stack([one.mean(dim=0)[:cells] for one in last]).mean(dim=0)
    found = torch.from_numpy(rec.token_maps()).flatten(1).T
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def attended(layer, hidden, context, mask):
    """Cross-attention with grouped heads, norms and a mask, written out."""
    query, key = layer.to_q(hidden), layer.to_k(context)
    width = query.shape[-1] // layer.heads
    query, key = query.unflatten(-1, (-1, width)), key.unflatten(-1, (-1, width))
    query, key = layer.norm_q(query), layer.norm_k(key)
    key = key.repeat_interleave(query.shape[2] // key.shape[2], dim=2)
    scores = torch.einsum("bqhc,bkhc->bhqk", query, key) * width**-0.5
    return (scores + mask[:, None]).softmax(dim=-1)


def test_dreamlites_words_have_a_map_on_the_target_and_one_on_the_source():
    """Each layer's map, resized from its own grid, whose right half is the source's."""
    pipe, call = tiny_dreamlite(), {**MAKERS["DreamLite"][1], **FEW, "num_inference_steps": 1}
    inputs = []

    def hook(layer, given, kwargs):
        mask = kwargs["attention_mask"]
        inputs.append(attended(layer, given[0], kwargs["encoder_hidden_states"], mask)[-1:])

    with cirp.record(pipe) as rec:
        for name, layer in pipe.unet.named_modules():
            if name.endswith("attn2"):
                layer.register_forward_pre_hook(hook, with_kwargs=True)
        run(pipe, call, output_type="latent")
    left, right, sizes = 0, 0, set()
    for one in inputs:
        side = int((one.shape[2] // 2) ** 0.5)
        wide = one.mean(dim=1).mT.unflatten(-1, (side, 2 * side))
        fine = [resized(half, (8, 8)) for half in wide.chunk(2, dim=-1)]
        left, right = left + fine[0] / len(inputs), right + fine[1] / len(inputs)
        sizes.add(side)
    assert len(sizes) > 1
    for kind, expected in (("share", left), ("source", right)):
        np.testing.assert_allclose(rec.token_maps(kind=kind), expected[0], rtol=1e-4, atol=1e-6)
    names = pipe.tokenizer.convert_ids_to_tokens(
        pipe.tokenizer(pipe.prompt_template_encode_edit.format(DreamLite.before + PROMPT)).input_ids
    )[4:]
    chosen, at = rec._image(0)
    where = rec._positions("strawberry", PROMPT, chosen.lengths[at], chosen.before)
    assert "".join(names[i] for i in where) == "▁strawberry"


def test_a_word_is_its_pieces_in_each_tokenizer():
    tokenizer = t5_tokenizer()
    names = tokenizer.convert_ids_to_tokens(tokenizer(PROMPT).input_ids)
    for word in PROMPT.split():
        where = positions(tokenizer, PROMPT, word)
        assert "".join(names[i] for i in where).replace("▁", "") == word
    twice = positions(tokenizer, "red car, red dog", "red")
    assert len(twice) == 2
    pipe = tiny_sd3()
    with cirp.record(pipe) as rec:
        run(pipe, {**MAKERS["SD3"][1], **FEW}, output_type="latent")
    clip, *t5 = rec._positions("red", PROMPT, 0)
    assert clip == 2 and t5 == [77 + positions(tokenizer, PROMPT, "red")[0]]


def test_qwens_words_are_found_within_its_chat_and_a_shorter_prompt_is_padded():
    pipe, call = tiny_qwen(), {**MAKERS["Qwen"][1], **FEW}
    prompts = ["a red strawberry", "a dog on the wooden table"]
    with cirp.record(pipe) as rec:
        run(pipe, {**call, "negative_prompt": None}, prompts, output_type="latent")
    for image, (prompt, word) in enumerate(zip(prompts, ("strawberry", "wooden"), strict=True)):
        whole = pipe.prompt_template_encode.format(prompt)
        names = pipe.tokenizer.convert_ids_to_tokens(pipe.tokenizer(whole).input_ids)[4:]
        run_of, at = rec._image(image)
        where = rec._positions(word, prompt, run_of.lengths[at])
        assert "".join(names[i] for i in where) == f"▁{word}"
        assert (rec.token_maps(image)[len(names) :] == 0).all()  # no cell looks at padding


def test_batches_and_calls_are_images_of_their_own():
    pipe, call = tiny_flux(), {**MAKERS["FLUX"][1], **FEW}
    with cirp.record(pipe) as rec:
        run(pipe, call, ["a red car", "a blue dog"], output_type="latent")
        run(pipe, call, "a cat", output_type="latent", num_images_per_prompt=2)
    assert rec.images == 4
    assert [rec.prompt(i) for i in range(4)] == ["a red car", "a blue dog", "a cat", "a cat"]
    with cirp.record(pipe) as alone:
        run(pipe, call, ["a red car", "a blue dog"], output_type="latent")
    np.testing.assert_allclose(rec.word_map("dog", 1), alone.word_map("dog", 1), rtol=1e-5)
    with pytest.raises(ValueError, match="no image 4; 4 were recorded"):
        rec.prompt(4)
    with pytest.raises(ValueError, match="'car' is not in 'a cat'; its words are a, cat"):
        rec.word_map("car", 2)


def test_maps_are_drawn_and_saved(tmp_path):
    pipe, call = tiny_flux(), {**MAKERS["FLUX"][1], **FEW}
    with cirp.record(pipe) as rec:
        run(pipe, call)
    axes = rec.plot(["red", "table"], kind="places")
    assert [ax.get_title() for ax in axes] == ["red", "table"]
    plt.close(axes[0].figure)
    with np.load(rec.save(tmp_path / "maps.npz")) as saved:
        np.testing.assert_array_equal(saved["maps_0"], rec.token_maps())
        assert saved["prompts"].tolist() == [PROMPT]
    found = cirp.heat_map(pipe, None, PROMPT, "red", generator=torch.manual_seed(0), **call)
    np.testing.assert_allclose(found, rec.word_map("red"), rtol=1e-5)


def test_what_cannot_be_recorded_is_refused():
    pipe = tiny_flux()
    with (
        pytest.raises(ValueError, match="times and branches are for Stable Diffusion"),
        cirp.record(pipe, times="step"),
    ):
        pass
    other = type("OtherPipeline", (FluxPipeline,), {})(**pipe.components)
    with pytest.raises(TypeError, match="OtherPipeline cannot be recorded yet"), cirp.record(other):
        pass
    with pytest.raises(ValueError, match="no image 0"), cirp.record(pipe) as rec:
        rec.word_map("red")
