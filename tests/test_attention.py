import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, SlicedAttnProcessor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cirp.attention.control import Control, controlled
from cirp.attention.record import Record
from cirp.attention.site import (
    IMAGE,
    INSTRUCT_BRANCHES,
    NEITHER,
    TEXT,
    TEXT_TO_IMAGE_BRANCHES,
    Site,
)
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd, tiny_unet


class Everywhere(Control):
    def wants(self, site):
        return True


class Nowhere(Control):
    def wants(self, site):
        return False

    def on_probs(self, probs, site):
        raise AssertionError("asked for a site it did not want")


class Reader(Control):
    """Keeps what it saw: for tests, where memory does not matter."""

    reads_only = True

    def __init__(self):
        self.seen = []

    def on_probs(self, probs, site):
        self.seen.append((site, probs.clone()))
        return None  # what a reader returns is not used


class Scale(Everywhere):
    """Multiplies what is seen at one stage, in some rows, of cross-attention."""

    def __init__(self, factor, *, stage="probs", branch=None):
        self.factor, self.stage, self.branch = factor, stage, branch

    def wants(self, site):
        return site.is_cross

    def _scaled(self, x, site):
        rows = slice(None) if self.branch is None else site.rows(self.branch)
        x = x.clone()
        x[rows] *= self.factor
        return x

    def on_scores(self, scores, site):
        return self._scaled(scores, site) if self.stage == "scores" else scores

    def on_probs(self, probs, site):
        return self._scaled(probs, site) if self.stage == "probs" else probs


def step(unet, *, rows=3, latent=(16, 24), timestep=500, seed=0):
    """One call of the UNet on fixed noise, with a text of its own for each row with text."""
    noise = torch.Generator().manual_seed(seed)
    branches = 3 if unet.config.in_channels == 8 else 2
    images = rows // branches if rows % branches == 0 else rows
    sample = torch.randn(rows, unet.config.in_channels, *latent, generator=noise)
    if images < rows:  # guidance shows every branch the same noisy latents
        sample[:, :4] = sample[:images, :4].repeat(branches, 1, 1, 1)
    text = torch.randn(rows, 77, unet.config.cross_attention_dim, generator=noise)
    if unet.config.in_channels == 8:
        text[rows // 3 :] = text[-1]
    return unet(sample, timestep, encoder_hidden_states=text, return_dict=False)[0]


@pytest.fixture(scope="module")
def unet():
    return tiny_unet(in_channels=8)


def processors(unet):
    return dict(unet.attn_processors)


@settings(max_examples=12)
@given(
    heads=st.sampled_from([1, 2, 8]),
    images=st.integers(1, 3),
    latent=st.tuples(st.integers(3, 11), st.integers(3, 11)),
)
def test_a_control_that_changes_nothing_changes_nothing(heads, images, latent):
    unet = tiny_unet(in_channels=8, heads=heads)
    plain = step(unet, rows=3 * images, latent=latent)
    with controlled(unet, Everywhere()):
        torch.testing.assert_close(
            step(unet, rows=3 * images, latent=latent), plain, atol=1e-5, rtol=0
        )


@settings(max_examples=12)
@given(
    heads=st.sampled_from([1, 2, 8]),
    images=st.integers(1, 3),
    latent=st.tuples(st.integers(3, 11), st.integers(3, 11)),
)
def test_reading_is_bit_identical_and_rows_sum_to_one(heads, images, latent):
    unet = tiny_unet(in_channels=8, heads=heads)
    plain = step(unet, rows=3 * images, latent=latent)
    reader = Reader()
    with controlled(unet, reader):
        assert torch.equal(step(unet, rows=3 * images, latent=latent), plain)
    assert reader.seen
    for site, probs in reader.seen:
        assert probs.shape[:2] == (3 * images, heads) and probs.shape[3] == 77
        assert site.images == images and site.latent == latent
        torch.testing.assert_close(probs.sum(dim=-1), torch.ones(probs.shape[:3]))


@pytest.mark.parametrize("branches", [(TEXT,), (IMAGE,), (NEITHER, TEXT), (TEXT, IMAGE, NEITHER)])
def test_a_reader_of_some_branches_is_shown_their_rows_alone(branches):
    unet = tiny_unet(in_channels=8)
    everything, some = Reader(), Reader()
    some.branches = branches
    plain = step(unet, rows=6)
    with controlled(unet, everything):
        step(unet, rows=6)
    with controlled(unet, some):
        assert torch.equal(step(unet, rows=6), plain)
    for (site, probs), (asked, few) in zip(everything.seen, some.seen, strict=True):
        assert set(asked.branches) == set(branches) and few.shape[0] == 2 * len(branches)
        for branch in branches:
            torch.testing.assert_close(
                few[asked.rows(branch)], probs[site.rows(branch)], atol=1e-6, rtol=1e-5
            )
    both = Reader()
    both.branches = (TEXT,)
    with controlled(unet, both, some):  # what one asks for, the other sees as well
        step(unet, rows=6)
    assert set(both.seen[0][0].branches) == {TEXT, *branches}


def test_no_hook_is_left_on_a_layer_that_was_read(unet):
    with controlled(unet, Reader()):
        step(unet)
    for layer in unet.modules():
        if hasattr(layer, "to_q"):
            assert not layer.to_q._forward_hooks and not layer.to_k._forward_hooks


def test_without_a_wanted_site_the_output_is_bit_identical(unet):
    plain = step(unet)
    with controlled(unet, Nowhere()), controlled(unet):
        assert torch.equal(step(unet), plain)


def test_every_cross_attention_layer_is_seen_once_with_its_name_and_time(unet):
    reader = Reader()
    with controlled(unet, reader):
        step(unet, timestep=torch.tensor(321))
    names = [name for name, _ in unet.named_modules() if name.endswith("attn2")]
    assert sorted(site.layer for site, _ in reader.seen) == sorted(names)
    assert {site.timestep for site, _ in reader.seen} == {321.0}


def test_read_probabilities_equal_those_diffusers_computes():
    expected = {}

    class Explicit(AttnProcessor):  # diffusers' own explicit attention, which has probabilities
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, *args, **kwargs):
            if encoder_hidden_states is not None:
                query = attn.head_to_batch_dim(attn.to_q(hidden_states))
                key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
                expected[attn] = attn.get_attention_scores(query, key)
            return super().__call__(attn, hidden_states, encoder_hidden_states, *args, **kwargs)

    unet = tiny_unet(in_channels=8)
    unet.set_attn_processor(Explicit())
    step(unet)
    unet.set_attn_processor(AttnProcessor())  # the same rounding on the way to deeper layers
    reader = Reader()
    with controlled(unet, reader):
        step(unet)
    assert len(reader.seen) == len(expected)
    for site, probs in reader.seen:
        diffusers_probs = expected[unet.get_submodule(site.layer)]
        torch.testing.assert_close(probs.flatten(0, 1), diffusers_probs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stage", ["scores", "probs"])
def test_a_change_of_one_branch_leaves_the_others_as_they_were(unet, stage):
    plain = step(unet, rows=6)
    with controlled(unet, Scale(3.0, stage=stage, branch=IMAGE)):
        changed = step(unet, rows=6)
    assert (changed[2:4] - plain[2:4]).abs().amin(dim=0).max() > 1e-3  # IMAGE: rows 2 and 3
    for rows in (slice(0, 2), slice(4, 6)):
        torch.testing.assert_close(changed[rows], plain[rows], atol=1e-5, rtol=0)


def test_a_change_of_one_image_leaves_the_others_of_its_batch_as_they_were(unet):
    class Mute(Control):  # bars the first half of the tokens from the text row of image 1
        def on_scores(self, scores, site):
            scores = scores.clone()
            scores[site.rows(TEXT)][1, ..., :38] -= 1e4
            return scores

    plain, reader = step(unet, rows=6), Reader()
    with controlled(unet, Mute(), reader):
        changed = step(unet, rows=6)
    for _, probs in reader.seen:
        assert probs[1, ..., :38].max() == 0 and (probs[0, ..., :38].amax(dim=(1, 2)) > 0).all()
    assert (changed[1] - plain[1]).abs().max() > 1e-3
    others = [0, 2, 3, 4, 5]
    torch.testing.assert_close(changed[others], plain[others], atol=1e-5, rtol=0)


@pytest.mark.parametrize("made", [None, torch.ones(3)])
def test_a_writer_that_returns_no_maps_is_told_so(unet, made):
    class Forgetful(Control):
        def on_probs(self, probs, site):
            return made

    with controlled(unet, Forgetful()):
        with pytest.raises(TypeError, match="stage of Forgetful returned .* or say reads_only"):
            step(unet)


def test_scores_scaled_by_zero_attend_evenly(unet):
    reader = Reader()
    with controlled(unet, Scale(0.0, stage="scores"), reader):
        step(unet)
    for _, probs in reader.seen:
        torch.testing.assert_close(probs, torch.full_like(probs, 1 / 77))


def test_the_order_of_controls_is_the_order_of_events(unet):
    before, after = Reader(), Reader()
    with controlled(unet, before, Scale(4.0), after):
        step(unet)
    first = 0  # later layers get another input than without the change, but the same for both
    torch.testing.assert_close(after.seen[first][1], 4 * before.seen[first][1])
    assert len(before.seen) == len(after.seen) > 1


def test_what_a_reader_returns_is_ignored_beside_a_writer(unet):
    with controlled(unet, Scale(2.0)):
        expected = step(unet)
    with controlled(unet, Reader(), Scale(2.0), Reader()):
        assert torch.equal(step(unet), expected)


def test_an_outer_block_sees_what_an_inner_block_made(unet):
    outer, inner = Reader(), Reader()
    with controlled(unet, outer):
        step(unet)
        with controlled(unet, inner, Scale(4.0)):
            step(unet)
        step(unet)
    layers = len(inner.seen)
    assert len(outer.seen) == 3 * layers
    (_, alone), (_, scaled) = inner.seen[0], outer.seen[layers]
    torch.testing.assert_close(scaled, 4 * alone)
    torch.testing.assert_close(outer.seen[0][1], outer.seen[2 * layers][1])


def test_the_very_same_processors_come_back_even_after_an_error(unet):
    before, hooks = processors(unet), len(unet._forward_pre_hooks)

    class Broken(Control):
        def on_probs(self, probs, site):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with controlled(unet, Reader()), controlled(unet, Broken()):
            step(unet)
    after = processors(unet)
    assert all(after[name] is before[name] for name in before) and after.keys() == before.keys()
    assert len(unet._forward_pre_hooks) == hooks


def test_a_block_left_by_an_error_of_begin_is_undone_too(unet):
    class Late(Control):
        def begin(self):
            raise ZeroDivisionError

    before = processors(unet)
    with pytest.raises(ZeroDivisionError), controlled(unet, Late()):
        raise AssertionError("the block must not be entered")
    assert processors(unet) == before


def test_the_processor_that_was_installed_makes_the_output_of_a_read_layer():
    unet = tiny_unet(in_channels=8)
    unet.set_attn_processor(AttnProcessor())  # not the default: explicit, other rounding
    plain = step(unet)
    with controlled(unet, Reader()):
        assert torch.equal(step(unet), plain)
    assert all(type(p) is AttnProcessor for p in unet.attn_processors.values())


def test_self_attention_can_be_wanted_too(unet):
    class ReadSelf(Reader):
        def wants(self, site):
            return not site.is_cross

    reader = ReadSelf()
    with controlled(unet, reader):
        step(unet, latent=(8, 6))
    assert {probs.shape[2:] for _, probs in reader.seen} == {(48, 48), (12, 12)}


def test_gradients_pass_through_a_control_and_not_through_a_reader(unet):
    class Loss(Control):
        total = 0.0

        def on_probs(self, probs, site):
            self.total = self.total + probs[..., 5].square().sum()
            return probs

    class Asks(Reader):
        def on_probs(self, probs, site):
            assert not probs.requires_grad

    loss = Loss()
    noise = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    sample = noise.repeat(3, 1, 1, 1).requires_grad_()
    text = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(1)).expand(3, -1, -1)
    with controlled(unet, loss):
        unet(sample, 500, encoder_hidden_states=text)
    (slope,) = torch.autograd.grad(loss.total, sample)
    assert slope.abs().max() > 0
    with controlled(unet, Asks()):
        unet(sample, 500, encoder_hidden_states=text)


def test_half_precision_is_computed_in_single_precision():
    unet = tiny_unet(in_channels=8).to(torch.bfloat16)
    sample, text = torch.ones(3, 8, 8, 8).bfloat16(), torch.ones(3, 77, 32).bfloat16()
    reader = Reader()
    with controlled(unet, reader, Everywhere()):
        assert unet(sample, 500, encoder_hidden_states=text).sample.dtype == torch.bfloat16
    assert all(probs.dtype == torch.float32 for _, probs in reader.seen)


@pytest.mark.parametrize("controls", [(), (Everywhere(),)], ids=["read", "changed"])
def test_autocast_rounds_no_map(controls):
    unet = tiny_unet(in_channels=8)
    made = {}
    name = next(n for n, one in unet.named_modules() if n.endswith("attn2"))
    layer = unet.get_submodule(name)
    layer.to_q.weight.data *= 30  # peaked maps, where the rounding of a score is seen
    for part in ("to_q", "to_k"):
        layer.get_submodule(part).register_forward_hook(
            lambda _, __, out, part=part: made.update({part: out.double()})
        )
    noise = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = noise.expand(3, -1, -1, -1)
    text = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(1)).expand(3, -1, -1)
    reader = Reader()
    with controlled(unet, reader, *controls), torch.autocast("cpu", torch.bfloat16):
        unet(noise, 500, encoder_hidden_states=text)
    query, key = (
        made[part].unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in ("to_q", "to_k")
    )
    exact = (query @ key.mT * layer.scale).softmax(dim=-1)
    (probs,) = [probs for site, probs in reader.seen if site.layer == name]
    assert exact.max() > 0.5
    assert (probs - exact).abs().max() < 1e-5


def test_branches_are_blocks_of_rows_with_one_row_for_each_image():
    site = Site("attn2", True, 1.0, (8, 8), INSTRUCT_BRANCHES, images=4)
    assert [site.rows(branch) for branch in (TEXT, IMAGE, NEITHER)] == [
        slice(0, 4),
        slice(4, 8),
        slice(8, 12),
    ]
    site = Site("attn2", True, 1.0, (8, 8), TEXT_TO_IMAGE_BRANCHES, images=2)
    assert site.rows(TEXT) == slice(2, 4)
    with pytest.raises(ValueError, match=r"no branch \(1 IMAGE\); it has \(2 NEITHER, 0 TEXT\)"):
        site.rows(IMAGE)


@pytest.mark.parametrize(
    ("in_channels", "rows", "branches"), [(8, 3, INSTRUCT_BRANCHES), (4, 2, TEXT_TO_IMAGE_BRANCHES)]
)
def test_the_usual_branches_are_those_of_the_pipeline_of_such_a_unet(in_channels, rows, branches):
    unet = tiny_unet(in_channels=in_channels)
    reader = Reader()
    with controlled(unet, reader):
        step(unet, rows=rows, latent=(8, 8))
    assert {site.branches for site, _ in reader.seen} == {branches}
    assert {site.images for site, _ in reader.seen} == {1}


def test_a_batch_the_branches_do_not_divide_is_refused(unet):
    with controlled(unet, Reader()):
        with pytest.raises(ValueError, match=r"4 rows .*\(0 TEXT, 1 IMAGE, 2 NEITHER\).*\(TEXT,\)"):
            step(unet, rows=4)
    with controlled(unet, Reader(), branches=(TEXT,)):
        step(unet, rows=4)


def test_three_images_without_guidance_are_not_taken_for_three_branches():
    pipe = tiny_ip2p()
    sources = [Image.new("RGB", (64, 64))] * 3
    scales = dict(num_inference_steps=1, image_guidance_scale=0.5)  # under 1: no guidance at all
    reader = Reader()
    with controlled(pipe.unet, reader):
        pipe(["make the cat red", "add a hat", "turn"], image=sources, **scales)
    assert all(site.images == 3 and site.rows(TEXT) == slice(0, 3) for site, _ in reader.seen)


def test_a_stock_pipeline_makes_the_same_image_while_it_is_read():
    pipe = tiny_ip2p()
    source = Image.new("RGB", (64, 96), (200, 120, 40))

    def edit():
        return pipe(
            ["make the cat red", "add a hat"],
            image=[source, source],
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(0),
            output_type="pt",
        ).images

    plain, reader = edit(), Reader()
    with controlled(pipe.unet, reader):
        assert torch.equal(edit(), plain)
    assert {(site.images, site.latent) for site, _ in reader.seen} == {(2, (24, 16))}
    assert len({site.timestep for site, _ in reader.seen}) == 3


def test_an_attention_mask_is_refused_where_maps_are_wanted_and_let_through_elsewhere(unet):
    sample, text = torch.ones(3, 8, 8, 8), torch.ones(3, 77, 32)
    mask = torch.ones(3, 77, dtype=torch.bool)
    with controlled(unet, Nowhere()):
        unet(sample, 1, encoder_hidden_states=text, encoder_attention_mask=mask)
    with controlled(unet, Reader()):
        with pytest.raises(NotImplementedError, match="attn2 was given an attention mask"):
            unet(sample, 1, encoder_hidden_states=text, encoder_attention_mask=mask)


def test_processors_of_another_kind_are_refused_before_anything_is_changed():
    unet = tiny_unet(in_channels=8)
    unet.set_attention_slice(1)
    before = processors(unet)
    assert any(isinstance(p, SlicedAttnProcessor) for p in before.values())
    with pytest.raises(NotImplementedError, match="SlicedAttnProcessor.*set_default_attn"):
        with controlled(unet, Reader()):
            pass
    assert processors(unet) == before


def test_attention_that_is_more_than_plain_is_refused():
    unet = tiny_unet(in_channels=8)
    unet.mid_block.attentions[0].transformer_blocks[0].attn2.residual_connection = True
    with pytest.raises(NotImplementedError, match="mid_block.*attn2 has a residual connection"):
        with controlled(unet, Reader()):
            pass


def test_joint_attention_is_refused():
    from diffusers import SD3Transformer2DModel

    transformer = SD3Transformer2DModel(
        sample_size=8,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=16,
    )
    with pytest.raises(NotImplementedError, match="joint attention"):
        with controlled(transformer, Reader()):
            pass


def test_what_is_no_unet_is_refused():
    with pytest.raises(TypeError, match="Linear has no attn_processors"):
        with controlled(torch.nn.Linear(1, 1), Reader()):
            pass


def test_rows_at_different_timesteps_are_refused(unet):
    with controlled(unet, Reader()):
        with pytest.raises(ValueError, match=r"different timesteps: \[1, 2, 3\]"):
            step(unet, timestep=torch.tensor([1, 2, 3]))
        step(unet, timestep=torch.tensor([7, 7, 7]))


def recorded(pipe, prompts, **how):
    """A record of these prompts in one batch, all from the same noise, without guidance."""
    record, noise = Record(), [torch.Generator().manual_seed(0) for _ in prompts]
    if pipe.unet.config.in_channels == 8:
        how["image"] = [painted()] * len(prompts)
    with controlled(pipe.unet, record):
        pipe(list(prompts), generator=noise, output_type="latent", guidance_scale=1.0, **how)
    return record


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("prompts", [("a cat", "a dog"), ("a cat",) * 3, ("a cat",) * 2])
@pytest.mark.parametrize("kind", [tiny_ip2p, tiny_sd])
def test_prompts_without_guidance_are_an_image_each_even_with_equal_seeds(kind, prompts, steps):
    pipe = kind()
    together = recorded(pipe, prompts, num_inference_steps=steps)
    assert together.images == len(prompts)
    for image, prompt in enumerate(prompts):
        alone = recorded(pipe, [prompt], num_inference_steps=steps)
        for layer in alone.layers:
            mine, own = together.layer(layer, image=image), alone.layer(layer)
            torch.testing.assert_close(mine, own, atol=1e-4, rtol=1e-3)


def test_processors_replaced_inside_the_block_are_noticed():
    pipe = tiny_sd()
    with pytest.raises(RuntimeError, match="replaced inside the block .attention slicing"):
        with controlled(pipe.unet, Reader()):
            pipe.enable_attention_slicing(1)
            pipe("a cat", num_inference_steps=1, output_type="latent")
    pipe.disable_attention_slicing()
