from collections import defaultdict

import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cirp.attention.control import Control, controlled
from cirp.attention.record import Mean, Record, grid_of, stride_of
from cirp.attention.site import IMAGE, INSTRUCT_BRANCHES, NEITHER, TEXT, Site
from tests.tiny import tiny_ip2p, tiny_sd, tiny_unet


class KeepEverything(Control):
    """What a recorder must not do; the truth that its sums are checked against."""

    reads_only = True

    def __init__(self):
        self.seen = defaultdict(list)

    def on_probs(self, probs, site):
        self.seen[site.layer].append((site, probs))


def edit(pipe, prompts, *, steps=2, size=(64, 64), seed=0, **options):
    """An edit of differently coloured images, one for each prompt."""
    sources = [Image.new("RGB", size, (60 * i, 90, 200 - 60 * i)) for i in range(len(prompts))]
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
    return pipe(
        prompts,
        image=sources,
        num_inference_steps=steps,
        generator=generators,
        output_type="latent",
        **options,
    ).images


@pytest.fixture(scope="module")
def pipe():
    return tiny_ip2p()


def at(timestep, *, latent=(4, 4), images=1, layer="up_blocks.0.attn2"):
    return Site(layer, True, timestep, latent, INSTRUCT_BRANCHES, images)


def even(images=1, heads=2, queries=16, value=1.0):
    """Maps whose value tells the row apart."""
    rows = torch.arange(1.0, 3 * images + 1)[:, None, None, None]
    return value * rows.expand(-1, heads, queries, 5)


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(0, 3))
def test_grids_halve_rounding_up(latent, halvings):
    rows, columns = (-(-side // 2**halvings) for side in latent)  # ceil
    assert grid_of(rows * columns, latent) == (rows, columns)
    if min(latent) > 2**halvings:
        assert stride_of(rows * columns, latent) == 2**halvings


def test_queries_that_fit_no_level_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 8\) latent has 15 queries"):
        grid_of(15, (8, 8))


def test_a_running_mean_is_the_mean():
    samples, mean = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(0)), Mean()
    for sample in samples[:3]:
        mean.add(sample)
    mean.add(samples[3:].sum(dim=0), 2)
    torch.testing.assert_close(mean.value, samples.mean(dim=0))


@settings(max_examples=6)
@given(
    images=st.integers(1, 3),
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)).map(lambda s: (8 * s[0], 8 * s[1])),
    heads=st.sampled_from([2, 4]),
)
def test_a_record_is_the_mean_of_each_images_maps_over_the_steps(images, size, heads):
    pipe = tiny_ip2p(heads=heads)
    record, everything = Record(branches=INSTRUCT_BRANCHES), KeepEverything()
    with controlled(pipe.unet, record, everything):
        edit(pipe, ["make the cat red", "add a hat", "turn"][:images], size=size)
    assert record.images == images
    assert record.latent() == (size[1] // 4, size[0] // 4)
    for layer, seen in everything.seen.items():
        probs = torch.stack([probs for _, probs in seen]).mean(dim=0)
        for image in range(images):
            for position, branch in enumerate((TEXT, IMAGE, NEITHER)):
                maps = record.layer(layer, image=image, branch=branch)
                expected = probs[position * images + image].mT.reshape(maps.shape)
                torch.testing.assert_close(maps, expected)
                torch.testing.assert_close(maps.sum(dim=1), torch.ones_like(maps[:, 0]))


def test_recording_leaves_the_images_bit_identical(pipe):
    plain = edit(pipe, ["make the cat red"], size=(64, 96), steps=3)
    with controlled(pipe.unet, Record(times="step")):
        assert torch.equal(edit(pipe, ["make the cat red"], size=(64, 96), steps=3), plain)


def test_an_image_has_the_same_maps_in_any_batch():
    pipe = tiny_ip2p().to(torch.float64)  # sharp maps magnify the rounding of single precision
    prompts = ["make the cat red", "add a hat to the happy dog"]
    alone, together = Record(), Record()
    with controlled(pipe.unet, alone):
        for i, prompt in enumerate(prompts):
            source = Image.new("RGB", (64, 64), (60 * i, 90, 200 - 60 * i))
            noise = torch.Generator().manual_seed(i)
            pipe(prompt, image=source, num_inference_steps=2, generator=noise)
    with controlled(pipe.unet, together):
        edit(pipe, prompts)
    assert alone.images == together.images == 2
    for layer in alone.layers:
        for image in range(2):
            a, b = (record.layer(layer, image=image) for record in (alone, together))
            torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
        first, second = (together.layer(layer, image=image) for image in range(2))
        assert (first - second).abs().max() > 0.05


def test_the_text_branch_of_text_to_image_is_its_second():
    pipe, record = tiny_sd(), Record(branches=(NEITHER, TEXT))
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for prompt in ("a red cat", "a blue dog"):
        with controlled(pipe.unet, record):
            pipe(prompt, num_inference_steps=1, output_type="latent", latents=latents)
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    cat, dog = (record.layer(layer, image=i, branch=NEITHER) for i in range(2))
    assert torch.equal(cat, dog)  # the first layer has seen the noise only, the same for both
    cat, dog = (record.layer(layer, image=i, branch=TEXT) for i in range(2))
    assert (cat - dog).abs().max() > 0.05


def test_memory_does_not_grow_with_the_number_of_steps(pipe):
    sizes = {}
    for steps in (2, 12):
        record = Record(times=(0, 500, 1000))
        with controlled(pipe.unet, record):
            edit(pipe, ["make the cat red"], steps=steps)
        sizes[steps] = record.nbytes
    assert sizes[2] == sizes[12]
    cells = {1: 16 * 16, 2: 8 * 8}
    layers = sum(4 * 77 * cells[record.stride(layer)] for layer in record.layers)
    bins = 2 * 77 * sum(cells.values())
    assert sizes[2] == 4 * (layers + bins)  # bytes of float32


def test_fewer_tokens_can_be_kept(pipe):
    few, all_of_them = Record(tokens=6, times="step"), Record(times="step")
    with controlled(pipe.unet, few, all_of_them):
        edit(pipe, ["make the cat red"])
    assert few.nbytes * 77 == all_of_them.nbytes * 6
    for layer in few.layers:
        assert torch.equal(few.layer(layer), all_of_them.layer(layer)[:, :6])


def test_every_step_can_be_kept_and_the_steps_mean_is_the_record(pipe):
    record = Record(times="step")
    with controlled(pipe.unet, record):
        edit(pipe, ["make the cat red"], steps=4)
    assert record.times == [999.0, 749.0, 499.0, 249.0]
    whole = [record.layer(n) for n in record.layers if "mid" not in n and record.stride(n) == 2]
    total, count = map(sum, zip(*(record.time(t)[2] for t in record.times), strict=True))
    torch.testing.assert_close(total / count, torch.stack(whole).mean(dim=(0, 1)))
    assert count == 4 * len(whole) * 4  # steps, layers, heads


def test_bins_gather_the_steps_between_their_edges(pipe):
    steps, bins = Record(times="step"), Record(times=(0, 300, 800, 1000))
    with controlled(pipe.unet, steps, bins):
        edit(pipe, ["make the cat red"], steps=4)  # at 999, 749, 499, 249
    assert bins.times == [800.0, 300.0, 0.0]
    (late, n_late), (middle, n_middle) = bins.time(0.0)[1], bins.time(300.0)[1]
    torch.testing.assert_close(late, steps.time(249.0)[1][0])
    torch.testing.assert_close(middle, steps.time(749.0)[1][0] + steps.time(499.0)[1][0])
    assert n_middle == 2 * n_late


def test_a_timestep_outside_the_edges_is_refused():
    record = Record(times=(0, 500))
    with pytest.raises(ValueError, match=r"timestep 999.0 lies outside the edges \(0, 500\)"):
        record.on_probs(even(), at(999.0))


def test_each_run_adds_its_images_behind_the_others():
    record = Record()
    for run in (1.0, 10.0):
        for timestep in (999.0, 500.0, 500.0, 1.0):  # a timestep may be visited twice
            record.on_probs(even(images=2, value=run), at(timestep, images=2))
    assert record.images == 4
    found = [record.layer("up_blocks.0.attn2", image=i)[0, 0, 0, 0].item() for i in range(4)]
    assert found == [1, 2, 10, 20]
    assert record.layer("up_blocks.0.attn2", summed=True)[0, 0, 0, 0].item() == 4


def test_runs_of_a_single_step_are_told_apart_by_their_blocks(pipe):
    record = Record()
    for prompt in ("make the cat red", "add a hat"):
        with controlled(pipe.unet, record):
            edit(pipe, [prompt], steps=1)
    assert record.images == 2


@pytest.mark.parametrize("prompts", [("make the cat red", "add a hat"), ("add a hat", "add a hat")])
def test_runs_of_a_single_step_in_one_block_are_told_apart(pipe, prompts):
    together, alone = Record(), [Record(), Record()]
    with controlled(pipe.unet, together):
        for seed, prompt in enumerate(prompts):
            edit(pipe, [prompt], steps=1, seed=seed)
    for image, (seed, prompt) in enumerate(enumerate(prompts)):
        with controlled(pipe.unet, alone[image]):
            edit(pipe, [prompt], steps=1, seed=seed)
        for layer in alone[image].layers:
            assert torch.equal(together.layer(layer, image=image), alone[image].layer(layer))
    assert together.images == 2


def test_an_inversion_is_one_image_and_the_run_after_it_another():
    pipe, record = tiny_sd(), Record()
    text = pipe.encode_prompt("a cat", "cpu", 1, False)[0]
    for times in ((0, 200, 400, 600, 800), (800, 600, 400, 200, 0)):
        with controlled(pipe.unet, record, branches=(TEXT,)):
            for time in times:
                pipe.unet(torch.ones(1, 4, 8, 8), time, encoder_hidden_states=text)
    assert record.images == 2


def test_a_block_for_each_step_is_still_one_run():
    unet = tiny_unet(in_channels=8)
    record = Record()
    for timestep in (900, 500, 100):
        with controlled(unet, record):
            unet(torch.ones(3, 8, 8, 8), timestep, encoder_hidden_states=torch.ones(3, 77, 32))
    assert record.images == 1


def test_batches_may_differ_in_size_and_shape():
    record = Record()
    record.on_probs(even(images=2), at(999.0, images=2))
    record.on_probs(even(queries=24), at(999.5, latent=(4, 6)))
    assert record.images == 3
    assert [record.latent(i) for i in range(3)] == [(4, 4), (4, 4), (4, 6)]
    assert record.layer("up_blocks.0.attn2", image=2).shape == (2, 5, 4, 6)


def test_a_run_that_changes_its_batch_is_refused():
    record = Record()
    record.on_probs(even(), at(999.0))
    with pytest.raises(ValueError, match="went on with 2 with"):
        record.on_probs(even(images=2), at(500.0, images=2))


def test_layers_are_in_daams_order():
    record = Record()
    for layer in ("down_blocks.0.attn2", "mid_block.attn2", "up_blocks.0.attn2"):
        record.on_probs(even(), at(999.0, layer=layer))
    assert [name.split("_")[0] for name in record.layers] == ["up", "down", "mid"]
    assert record.strides == [1]


def test_what_was_not_recorded_is_named():
    record = Record()
    with pytest.raises(ValueError, match="nothing was recorded; call this pipeline within"):
        record.layer("up_blocks.0.attn2")
    record.on_probs(even(), at(999.0))
    with pytest.raises(ValueError, match="no layer 'up' was recorded; there are up_blocks.0.attn2"):
        record.layer("up")
    with pytest.raises(ValueError, match="image 1 was not recorded; there are 0 to 0"):
        record.layer("up_blocks.0.attn2", image=1)
    with pytest.raises(ValueError, match=r"branch 1 was not recorded, only \(0,\)"):
        record.layer("up_blocks.0.attn2", branch=IMAGE)
    with pytest.raises(ValueError, match="time 999.0 was not recorded; there are none"):
        record.time(999.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branches": ()}, "branches is empty"),
        ({"tokens": 0}, "tokens=0"),
        ({"times": (0,)}, r"times=\(0,\)"),
        ({"times": (0, 5, 5)}, "rising edges"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Record(**options)


@pytest.mark.parametrize("times", [(712.99994, 713.0, 500.0), (800.0, 712.99994, 713.0, 300.0)])
def test_timesteps_that_wobble_by_rounding_are_one_run(times):
    record = Record()
    record.begin()
    for time in times:
        record.on_probs(even(), at(time))
    assert record.images == 1
    record.on_probs(even(), at(999.0))
    assert record.images == 2


@pytest.mark.parametrize(
    "kind", [HeunDiscreteScheduler, KDPM2DiscreteScheduler, EulerAncestralDiscreteScheduler]
)
def test_second_order_and_ancestral_schedulers_make_one_image(kind):
    pipe, record = tiny_ip2p(), Record()
    pipe.scheduler = kind.from_config(pipe.scheduler.config)
    with controlled(pipe.unet, record):
        edit(pipe, ["make it red", "make it blue"], steps=4)
    assert record.images == 2


def test_what_an_interrupted_run_left_is_no_image(pipe):
    record = Record()

    def stop(pipe, step, timestep, kept):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with controlled(pipe.unet, record):
            edit(pipe, ["make it red"], steps=3, callback_on_step_end=stop)
    assert record.images == 0
    with controlled(pipe.unet, record):
        edit(pipe, ["make it blue"], steps=2)
    alone = Record()
    with controlled(pipe.unet, alone):
        edit(pipe, ["make it blue"], steps=2)
    assert record.images == 1
    for layer in alone.layers:
        assert torch.equal(record.layer(layer), alone.layer(layer))
