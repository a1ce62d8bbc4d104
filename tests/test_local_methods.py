"""Methods that keep an edit local: their defining properties, and what all of them promise."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
)
from PIL import Image

from cirp.attention.control import controlled
from cirp.attention.maps import token_maps
from cirp.attention.record import Record, grid_of
from cirp.attention.site import IMAGE, NEITHER, TEXT, Site
from cirp.attention.tokens import word_positions
from cirp.diffusion.editors import combine
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode, scheduler_of
from cirp.diffusion.tasks import Task
from cirp.editing import constraints, driver
from cirp.editing.driver import begin_edit
from cirp.editing.first_pass import Look, look, outputs, positions, written
from cirp.editing.masks import (
    at,
    blurred,
    given,
    keep_outside,
    matte,
    normalised,
    own_change,
    peak,
)
from cirp.editing.regional import Work
from cirp.methods import asg, blending, foi, ip2p, ledits, lime, locatedit, remap, wys, zone
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd

LOCAL = {
    "asg": asg.edit,
    "blending": blending.edit,
    "foi": foi.edit,
    "ledits": ledits.edit,
    "lime": lime.edit,
    "locatedit": locatedit.edit,
    "remap": remap.edit,
    "wys": wys.edit,
    "zone": zone.edit,
}
FAST = dict(steps=4, progress=False)


def box(width: int = 64, height: int = 64) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[8 : height // 2, 16 : width // 2 + 8] = True
    return mask


def task(seed: int = 0, size=(64, 64), mask=None) -> Task:
    return Task(
        painted(*size, seed=seed),
        "make the dog happy",
        "a happy dog on the beach",
        seed,
        f"item {seed}",
        words=("dog", "happy"),
        mask=mask,
    )


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("name", LOCAL)
def test_each_runs_from_words_alone_and_gives_its_mask_back(models, name):
    (made,) = LOCAL[name](models, [task(size=(64, 48))], **FAST)
    assert made.image.size == made.mask.size == (64, 48)
    assert made.mask.mode == "L"
    assert made.method == name and not made.abstained
    assert made.unet_calls >= 10


@pytest.mark.parametrize("name", LOCAL)
def test_each_takes_a_given_mask_and_refuses_to_do_without(models, name):
    with pytest.raises(ValueError, match="region='given', but the edit 'item 0' has no mask"):
        LOCAL[name](models, [task()], region="given", **FAST)
    with pytest.raises(ValueError, match="region='guessed'; input should be 'found' or 'given'"):
        LOCAL[name](models, [task()], region="guessed", **FAST)
    (made,) = LOCAL[name](models, [task(mask=box())], region="given", **FAST)
    assert made.unet_calls == (10 if name == "remap" else 12)  # nothing was looked for
    if name != "remap":  # its region is that of what the edit changes
        assert (np.asarray(made.mask)[box()] > 127).mean() > 0.9


@pytest.mark.parametrize("name", LOCAL)
def test_each_gives_an_item_the_same_image_in_any_batch(models, name):
    tasks = [task(0), task(1)]
    together = LOCAL[name](models, tasks, batch_size=2, **FAST)
    alone = LOCAL[name](models, tasks[1:], batch_size=1, **FAST)
    assert np.abs(array(together[1].image) - array(alone[0].image)).max() <= 2
    np.testing.assert_allclose(array(together[1].mask), array(alone[0].mask), atol=2)


@pytest.mark.parametrize("name", LOCAL)
def test_recording_beside_each_leaves_its_image_bit_identical(models, name):
    plain = LOCAL[name](models, [task(mask=box())], region="given", **FAST)[0]
    record = Record()
    seen = LOCAL[name](models, [task(mask=box())], region="given", controls=[record], **FAST)[0]
    assert np.array_equal(array(plain.image), array(seen.image))
    assert record.images == 1


def test_with_everything_in_the_mask_each_gate_is_the_baseline(models):
    everything = task(mask=np.ones((64, 64), bool))
    (base,) = ip2p.edit(models, [everything], **FAST)
    same = {
        "blending": {},
        "wys": {},
        "locatedit": {},
        "remap": dict(image_until=1.0, paste=False),
        "zone": dict(soften=0.0),
        "ledits": {},
        "asg": dict(slope=10.0),
        "foi": dict(weight=0.0),
        "lime": dict(text_scale=7.5, reg_strides=()),
    }
    for name, settings in same.items():
        (made,) = LOCAL[name](models, [everything], region="given", **settings, **FAST)
        assert np.abs(array(made.image) - array(base.image)).max() <= 1, name


def test_a_diffuse_map_makes_a_method_abstain_and_edit_as_the_baseline(models):
    (base,) = ip2p.edit(models, [task()], **FAST)
    for name in ("blending", "wys", "locatedit", "zone", "asg", "ledits", "remap"):
        own = dict(image_until=1.0) if name == "remap" else {}
        (made,) = LOCAL[name](models, [task()], abstain=1e9, **own, **FAST)
        assert made.abstained, name
        assert np.abs(array(made.image) - array(base.image)).max() <= 1, name


def test_blending_keeps_latents_outside_equal_to_the_noised_source(models):
    one = task(mask=box())
    start = begin_edit(models, [one])
    masks = given([one], start.grid)
    kept, mine = [], scheduler_of(models.instruct, 4)

    def watch(scheduler_of_run):
        react = keep_outside(masks, start)(scheduler_of_run)

        def both(state):
            kept.append(react(state))
            return kept[-1]

        return both

    last, _ = driver.run_editor(models, [one], start, steps=4, after=watch)
    outside = (masks < 0.5)[:, None].expand_as(last)
    for i, latents in enumerate(kept[:-1]):  # after step i the level is that of step i + 1
        expected = mine.add_noise(start.clean, start.noise, mine.timesteps[i + 1 : i + 2])
        torch.testing.assert_close(latents[outside], expected[outside])
    torch.testing.assert_close(last[outside], start.clean[outside])


def test_pasting_keeps_the_sources_own_pixels(models):
    one = task(mask=box())
    (made,) = wys.edit(models, [one], region="given", **FAST)
    far = np.asarray(made.mask) == 0
    assert far.any()
    np.testing.assert_array_equal(array(made.image)[far], array(one.image)[far])


def test_a_mask_reaches_every_cell_that_one_of_its_pixels_touches():
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = mask[5, 6] = True
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(given([task(mask=mask)], (2, 2))[0], expected)


def test_maps_are_stretched_blurred_and_measured_by_hand():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 5.0]], [[4.0, 4.0], [4.0, 4.0]]])
    torch.testing.assert_close(
        normalised(maps), torch.tensor([[[0, 0.25], [0.5, 1]], [[0.0, 0], [0, 0]]])
    )
    torch.testing.assert_close(peak(maps), torch.tensor([5 / 2.75, 1.0]))
    assert blurred(maps, 0.0) is maps
    torch.testing.assert_close(blurred(maps, 1.0)[1], maps[1])
    torch.testing.assert_close(at(maps, (1, 1))[:, 0, 0], torch.tensor([2.75, 4.0]))


def test_asg_scales_follow_the_map():
    """e = e0 + G_I (eI - e0) + G_T (eT - eI) with the two scales read off by hand."""
    said = {b: torch.full((1, 1, 1, 3), v) for b, v in ((TEXT, 10.0), (IMAGE, 4.0), (NEITHER, 1.0))}
    masks = torch.tensor([[[0.0, 0.5, 1.0]]])
    found = asg.scoped(said, masks, text_scale=8.0, image_scale=2.0, low_text=0.0, high_image=4.0)
    expected = [1 + 4 * 3 + 0 * 6, 1 + 3 * 3 + 4 * 6, 1 + 2 * 3 + 8 * 6]
    torch.testing.assert_close(found.flatten(), torch.tensor(expected, dtype=torch.float32))
    heat = torch.tensor([[[0.0, 1.0, 2.0]]])
    torch.testing.assert_close(
        asg.mask(heat).flatten(), torch.sigmoid(torch.tensor([-5.0, 0.0, 5.0]))
    )


def test_asg_flat_gives_every_cell_the_maps_mean(models):
    (made,) = asg.edit(models, [task()], flat=True, abstain=None, **FAST)
    assert np.asarray(made.mask).std() == 0


def test_ledits_intersects_the_two_quantiles():
    heat = torch.arange(10.0).view(1, 2, 5)
    change = torch.tensor([[[9.0, 0, 0, 0, 0], [0, 0, 0, 8, 9]]])
    found = ledits.mask(heat, change, quantile=0.7, sigma=0.0)
    expected = torch.zeros(1, 2, 5)
    expected[0, 1, 3] = expected[0, 1, 4] = 1  # 0, 0 is large in the change only
    torch.testing.assert_close(found, expected)


def test_of_one_step_each_steps_attention_is_all_attention(models):
    one = dict(steps=1, progress=False)
    for edit in (ledits.edit, locatedit.edit):
        (mean,), (each,) = (
            edit(models, [task()], **one),
            edit(models, [task()], each_step=True, **one),
        )
        assert (array(each.image) == array(mean.image)).all()
        assert (array(each.mask) == array(mean.mask)).all()


def test_ledits_reads_the_attention_of_the_step_it_guides(models):
    """The mean of the masks of three steps, from maps recorded beside it."""
    seen = Record(times="step")
    (made,) = ledits.edit(
        models, [task()], each_step=True, controls=[seen], steps=3, progress=False
    )
    words = positions(models.instruct.tokenizer, task())
    heats = [
        token_maps(seen, positions=words, time=t).mean(dim=0)[None]
        for t in sorted(seen.times)[::-1]
    ]
    alone = torch.stack([ledits.mask(heat, None) for heat in heats]).mean(dim=0)
    found = torch.from_numpy(array(made.mask)).float()[None, None] / 255
    found = torch.nn.functional.interpolate(found, heats[0].shape[-2:], mode="area")[0]
    assert len(heats) == 3 and (found <= alone + 0.01).all()  # guidance only takes away
    assert found.sum() > 0


def test_locatedit_solves_for_all_attention_until_then(models):
    """The last of three steps' masks is that of a look at all three of the very same run."""
    plain = locatedit.Settings(steps=3)
    start = begin_edit(models, [task()])
    kept = []

    def watch(scheduler):
        def react(state):
            kept.append(own.seen(state).self_attention.clone())

        return react

    own = locatedit.Refining(models, [task()], start, plain)
    driver.run_editor(
        models, [task()], start, steps=3, controls=[own.record, own.attention], after=watch
    )
    seen = look(models, [task()], start, steps=3, first=3, self_stride=plain.self_stride)
    torch.testing.assert_close(kept[-1], seen.self_attention)
    torch.testing.assert_close(
        token_maps(own.record, positions=own.words[0]),
        token_maps(seen.record, positions=own.words[0]),
    )
    assert not torch.equal(kept[0], kept[-1])


def test_wys_clips_outliers_before_it_stretches():
    """Of 0..8 and 100, Q1 = 2.25, Q3 = 6.75, so 100 counts as 6.75 + 1.5 * 4.5 = 13.5."""
    change = torch.tensor([[[0.0, 1, 2, 3, 4, 5, 6, 7, 8, 100]]])
    found = wys.mask(change, threshold=0.5)
    assert found.flatten().tolist() == [0] * 7 + [1, 1, 1]  # 7 / 13.5 > 0.5 > 6 / 13.5


def test_zone_sees_where_the_end_is_looked_at_and_the_beginning_is_not():
    """Begin: 0 1 2 -> 0 .5 1; end: 4 8 4 -> 0 1 0; difference 0 .5 -1 -> stretched .67 1 0."""
    maps = {0: [[0.0, 1.0, 2.0]], 5: [[4.0, 8.0, 4.0]]}

    class Seen(Look):
        ends = [5]

        def __init__(self):
            pass

        def tokens(self, positions, strides=None):
            return torch.tensor([maps[position] for ((position),) in positions])

    found = zone.contrast(Seen())
    torch.testing.assert_close(found, torch.tensor([[[2 / 3, 1.0, 0.0]]]))
    assert zone.mask(Seen(), zone.Settings(threshold=0.7)).tolist() == [[[0.0, 1.0, 0.0]]]


def test_the_end_of_a_prompt_is_its_end_of_text(models):
    seen = look(models, [task()], begin_edit(models, [task()]), steps=4, first=1)
    ids = models.instruct.tokenizer(task().instruction).input_ids
    assert ids[seen.ends[0]] == models.instruct.tokenizer.eos_token_id


def test_the_refined_map_solves_its_system():
    torch.manual_seed(0)
    heat, attention = torch.rand(1, 2, 3), torch.rand(1, 6, 6).softmax(-1)
    m = locatedit.refined(heat, attention).flatten().double()
    graph = ((attention + attention.mT) / 2)[0].double()
    sure = torch.sigmoid(2.61 * (heat.flatten().double() - 0.4858)) ** 2
    left = sure * m + 0.78 * (graph.sum(-1) * m - graph @ m)
    torch.testing.assert_close(left, sure * heat.flatten().double(), rtol=1e-5, atol=1e-5)
    even = torch.full((1, 2, 3), 0.3)  # nothing to smooth
    torch.testing.assert_close(locatedit.refined(even, attention), even)


def test_pixels_that_attend_to_each_other_get_nearer_values():
    heat = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    attention = torch.eye(4)[None].clone()
    attention[0, 0, 1] = attention[0, 1, 0] = 5.0  # the upper two belong together
    found = locatedit.refined(heat, attention)[0]
    assert found[0, 1] > 0.5 > found[1, 0]


def test_lime_chooses_the_clusters_of_the_highest_attention(models):
    start = begin_edit(models, [task()])
    seen = look(models, [task()], start, steps=4, first=2, skip=1, features=True)
    found = lime.mask(seen, lime.Settings(clusters=4, points=1))
    heat = seen.words()[0]
    assert found[0].flatten()[heat.flatten().argmax()] == 1
    assert 0 < found.mean() < 1
    torch.testing.assert_close(
        lime.mask(seen, lime.Settings(clusters=1, points=1)), torch.ones_like(found)
    )
    with pytest.raises(ValueError, match=r"no layer has outputs at strides \(16,\)"):
        lime.mask(seen, lime.Settings(feature_strides=(16,)))


def test_lime_leaves_unrelated_tokens_no_attention_inside_in_any_branch(models):
    one = task(mask=box())
    out = lime.unrelated(models.instruct.tokenizer, one.instruction, 77)
    related = [p for p in range(77) if not out[p]]
    words = [word_positions(models.instruct.tokenizer, one.instruction, w)[0] for w in ("dog",)]
    assert set(words) <= set(related) and 0 in np.flatnonzero(out) and out[10:].all()
    assert out[word_positions(models.instruct.tokenizer, one.instruction, "the")].all()
    record = Record(branches=(TEXT, IMAGE, NEITHER))
    lime.edit(models, [one], region="given", reg_strides=(1,), controls=[record], share=1.0, **FAST)
    layer = next(name for name in record.layers if record.stride(name) == 1)
    inside = given([one], (16, 16))[0] > 0.5
    for branch in (TEXT, IMAGE, NEITHER):
        maps = record.layer(layer, branch=branch)
        assert maps[:, out][..., inside].max() < 1e-6
        assert maps[:, out][..., ~inside].max() > 1e-3


def test_foi_contrast_is_squared_and_stretched():
    heat = torch.tensor([[[0.0, 1.0, 2.0]]])
    torch.testing.assert_close(
        foi.contrasted(heat, sigma=0.0, rounds=2), torch.tensor([[[0.0, 1 / 16, 1.0]]])
    )


def test_foi_raises_keywords_inside_and_borrows_attention_outside():
    """One image, one query inside and one outside, three tokens of which the second is key."""
    masks = torch.tensor([[[1.0, 0.0]]])
    key = torch.tensor([[False, True, False]])
    control = foi.Modulate([TEXT], [masks], [key], weight=0.5, degree=2.0, borrow=True, until=0.0)
    site = Site("x.attn2", True, 500.0, (1, 2))
    scores = torch.tensor([[1.0, 0, 3], [1, 0, 3]]).expand(3, 1, 2, 3)
    found = control.on_scores(scores, site)
    fade = 0.5 * 0.5**2
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([1.0, fade * 3, 3]))
    torch.testing.assert_close(found[0, 0, 1], scores[0, 0, 1])
    torch.testing.assert_close(found[1:], scores[1:])
    probs = torch.rand(3, 1, 2, 3).softmax(-1)
    found = control.on_probs(probs, site)
    torch.testing.assert_close(found[0, 0, 0], probs[0, 0, 0])
    torch.testing.assert_close(found[0, 0, 1], probs[1, 0, 1])
    torch.testing.assert_close(found[1:], probs[1:])


def test_foi_gives_each_instruction_its_own_branch_and_region(models):
    two = Task(
        painted(), "make the dog happy; add a red hat", None, 0, "two",
        words=("dog", "happy", "red", "hat"),
    )  # fmt: skip
    assert foi.instructions(two, ";") == ["make the dog happy", "add a red hat"]
    tokenizer = models.instruct.tokenizer
    assert foi.part_of(two, "add a red hat", tokenizer).words == ("red", "hat")
    (made,) = foi.edit(models, [two], separator=";", look_steps=2, **FAST)
    assert made.unet_calls == 2 * 3 * 2 + 4 * 4  # two looks of two steps; four branches
    said = {TEXT: 5.0, IMAGE: 2.0, NEITHER: 1.0, 3: 9.0}
    said = {b: torch.full((1, 1, 1, 2), v) for b, v in said.items()}
    masks = {TEXT: torch.tensor([[[1.0, 0.0]]]), 3: torch.tensor([[[0.0, 1.0]]])}
    found = foi.disentangled(said, masks, text_scale=2.0, image_scale=3.0).flatten()
    torch.testing.assert_close(found, torch.tensor([4 + 2 * 3.0, 4 + 2 * 7.0]))
    whole = {TEXT: torch.ones(1, 1, 2)}
    torch.testing.assert_close(
        foi.disentangled(said, whole, text_scale=2.0, image_scale=3.0),
        combine(said[TEXT], said[IMAGE], said[NEITHER], text_scale=2.0, image_scale=3.0),
    )


def test_words_are_found_or_guessed_from_the_prompt(models):
    tokenizer = models.instruct.tokenizer
    known = positions(tokenizer, task())
    assert known == [3, 4]  # begin, make, the, dog, happy
    guessed = positions(tokenizer, Task(painted(), "make the dog happy", None, 0))
    assert guessed == [3, 4]
    with pytest.raises(ValueError, match="'cat' is not in"):
        positions(tokenizer, Task(painted(), "make the dog happy", None, 0, words=("cat",)))


def test_a_look_changes_nothing_and_counts_its_rows(models):
    start = begin_edit(models, [task()])
    before = dict(models.instruct.unet.attn_processors)
    seen = look(models, [task()], start, steps=4, first=2, self_stride=2, features=True)
    assert models.instruct.unet.attn_processors == before
    assert seen.rows == 6
    assert seen.self_attention.shape == (1, 64, 64)
    torch.testing.assert_close(seen.self_attention.sum(-1), torch.ones(1, 64))
    record = Record()
    with controlled(models.instruct.unet, record):
        driver.run_editor(models, [task()], start, steps=4, first=2)
    again = look(models, [task()], start, steps=4, first=2)
    torch.testing.assert_close(again.words(), seen.words())
    assert models.editor.pixels([task().image]).shape == (1, 3, 64, 64)


def test_otsus_threshold_parts_two_groups():
    maps = torch.tensor([[[0.0, 0.1, 0.2], [0.8, 0.9, 1.0]], [[0.0, 0, 0], [0, 0, 1.0]]])
    found = remap.otsu(maps)
    assert 0.2 < float(found[0]) < 0.8
    assert 0.0 < float(found[1]) < 1.0
    # against the definition, over all thresholds between the values
    values = maps[0].flatten()

    def between(t):
        low, high = values[values < t], values[values >= t]
        return len(low) * len(high) * (high.mean() - low.mean()) ** 2

    assert between(float(found[0])) == max(between(t) for t in (0.05, 0.15, 0.5, 0.85, 0.95))


def signs(change, foreseen, wrote) -> remap.FirstStep:
    maps = [torch.tensor([one], dtype=torch.float32) for one in (change, foreseen, wrote)]
    return remap.FirstStep(*maps)


def chosen(**settings) -> remap.Settings:
    return remap.Settings(**{"sigma": 0.0, **settings})


def test_evidence_is_the_geometric_mean_in_0_to_1():
    seen = signs([[1.0, 8.0, 0.0]], [[2.0, 1.0, 9.0]], [[4.0, 1.0, 9.0]])
    every = remap.evidence(seen, chosen())
    torch.testing.assert_close(every, torch.tensor([[[1.0, 1.0, 0.0]]]), atol=1e-3, rtol=0)
    lone = remap.evidence(seen, chosen(signs=("change",)))
    torch.testing.assert_close(lone, torch.tensor([[[0.125, 1.0, 0.0]]]))
    both = remap.evidence(seen, chosen(signs=("change", "written")))
    torch.testing.assert_close(both[0, 0, :2], torch.tensor([2 / 8**0.5, 1.0]), atol=1e-3, rtol=0)


def test_an_instruction_about_the_picture_is_told_by_the_median():
    """Of 5, 3, 1, 4 and 2 tenths the median is 0.3."""
    seen = signs([[9.0, 0.0, 0.0, 0.0, 0.0]], [[0.5, 0.3, 0.1, 0.4, 0.2]], [[9.0, 0.0, 0.0, 0, 0]])
    assert remap.is_global(seen, chosen(scope=0.29)).tolist() == [True]
    assert remap.is_global(seen, chosen(scope=0.31)).tolist() == [False]
    assert remap.is_global(seen, chosen(scope=None)).tolist() == [False]
    assert remap.mask(seen, chosen(scope=0.29)).flatten().tolist() == [1, 1, 1, 1, 1]
    assert remap.mask(seen, chosen(scope=0.31)).flatten().tolist() == [1, 0, 0, 0, 0]


def test_a_larger_grow_takes_less():
    seen = signs([[0.0, 0.01, 0.1, 0.7, 1.0]], [[1.0] * 5], [[1.0] * 5])
    areas = [float(remap.mask(seen, chosen(scope=None, grow=g)).mean()) for g in (0.4, 1.0, 1.5)]
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[-1]


def with_noise(models: Models, kind: str) -> Models:
    """The models with another kind of prediction and Stable Diffusion's schedule."""
    pipe = copy.copy(models.instruct)
    pipe.scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=kind,
        clip_sample=False,
    )  # fmt: skip
    return replace(models, instruct=pipe)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_look_shows_what_the_unet_says_of_the_runs_own_latents(models, kind):
    """Also of a UNet that predicts noise, which is looked at once there is a signal."""
    models, one, settings = with_noise(models, kind), task(), chosen(steps=10, strides=None)
    start = begin_edit(models, [one])
    run = driver.EditorRun(models, [one], start, **settings.guidance)
    work = Work(models, [one], start)
    found = remap.look(run, work, settings)
    scheduler = scheduler_of(models.instruct, 10)
    step = remap.step_of_look(scheduler, settings.signal)
    share = scheduler.alphas_cumprod.sqrt()[scheduler.timesteps]
    if kind == "epsilon":
        assert step > 0 and share[step] >= settings.signal > share[step - 1]
    else:
        assert step == 0
    assert run.done == step + 1 and run.rows == 3 * run.done
    states = []
    driver.run_editor(
        models, [one], start, **settings.guidance, first=step + 1, after=lambda _: states.append
    )
    last = states[-1]
    apart = (last.predictions[TEXT] - last.predictions[IMAGE]).abs().mean(dim=1)
    torch.testing.assert_close(found.change, apart)
    told = scheduler.step(
        last.predictions[TEXT], int(last.timestep), last.latents
    ).pred_original_sample
    far = (told - start.clean).abs().mean(dim=1)
    torch.testing.assert_close(found.foreseen, far, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.written.mean(), torch.tensor(1.0))


def test_rows_are_asked_for_while_there_is_image_guidance(models):
    one = task(mask=box())
    for share, rows in ((1.0, 12), (0.5, 10), (0.25, 9)):
        (made,) = ip2p.edit(models, [one], image_until=share, **FAST)
        assert made.unet_calls == rows
    (whole,) = ip2p.edit(models, [one], image_until=0.01, image_scale=7.0, **FAST)
    (same,) = ip2p.edit(models, [one], image_until=1.0, image_scale=1.0, **FAST)
    apart = np.abs(array(whole.image) - array(same.image))
    assert whole.unet_calls == 9 and apart.mean() < 20  # but for its first step it is the same run
    with pytest.raises(ValueError, match="image guidance to the end"):
        foi.edit(models, [one], image_until=0.5, **FAST)


def test_cross_attention_writes_outside_what_it_writes_without_the_text(models):
    unet, n = models.instruct.unet, 2
    tasks = [task(0), task(1)]
    start = begin_edit(models, tasks)
    masks = torch.zeros(n, *start.grid)
    masks[:, :, : start.grid[1] // 2] = 1
    half = {}
    kept = constraints.written_outside(models.editor, masks)
    for name, around in (("plain", nullcontext()), ("kept", kept)):
        with around, outputs(unet, lambda layer: layer.endswith("attn2")) as seen:
            driver.run_editor(models, tasks, start, steps=4, first=1)
            half[name] = dict(seen)
    first = next(iter(half["plain"]))  # later layers see other inputs
    plain, kept = half["plain"][first], half["kept"][first]
    inside = at(masks, grid_of(plain.shape[1], start.grid)).flatten(1)[..., None]
    expected = plain[n : 2 * n] + inside * (plain[:n] - plain[n : 2 * n])
    torch.testing.assert_close(kept[:n], expected)
    torch.testing.assert_close(kept[n:], plain[n:])
    assert not any(layer._forward_hooks for layer in unet.modules())


def test_some_tokens_alone_write_outside_as_without_the_text(models):
    """All tokens: as with the empty prompt; none: as it is; inside: always as it is."""
    unet, tasks = models.instruct.unet, [task(0), task(1)]
    start = begin_edit(models, tasks)
    masks = torch.zeros(2, *start.grid)
    masks[:, :, : start.grid[1] // 2] = 1
    count = models.instruct.tokenizer.model_max_length

    def first_output(around, instruction=None):
        said = tasks if instruction is None else [replace(t, instruction="") for t in tasks]
        with around, outputs(unet, lambda layer: layer.endswith("attn2")) as seen:
            driver.run_editor(models, said, start, steps=4, first=1)
            return next(iter(seen.values()))[:2].clone()

    plain, empty = first_output(nullcontext()), first_output(nullcontext(), "")
    inside = at(masks, grid_of(plain.shape[1], start.grid)).flatten(1)[..., None]
    for share, outside in ((torch.ones, empty), (torch.zeros, plain)):
        tokens = share(2, count, dtype=torch.bool)
        found = first_output(constraints.written_outside(models.editor, masks, tokens))
        torch.testing.assert_close(found, outside + inside * (plain - outside))
    short, long = "make it red", "make the small dog on the left red"
    found = remap.ends(
        [replace(tasks[0], instruction=said) for said in (short, long)], models, "instruction"
    )
    ids = [models.instruct.tokenizer(said).input_ids for said in (short, long)]
    assert found.int().argmax(dim=1).tolist() == [len(one) - 1 for one in ids]
    assert found[:, -1].all() and not found[:, 0].any()
    for own in (dict(tokens="end"), dict(tokens="words"), dict(gate=True)):
        (made,) = remap.edit(models, [tasks[0]], hold=False, scope=None, **own, **FAST)
        assert made.unet_calls == 10
    with controlled(unet, Record()), pytest.raises(ValueError, match="only some tokens"):
        remap.edit(models, [tasks[0]], tokens="end", scope=None, **FAST)


def test_a_matte_is_soft_between_its_levels_and_drops_islands():
    change = np.zeros((16, 16))
    change[2:8, 2:8] = 30.0
    change[4, 4] = 0.0  # a hole
    change[12, 12] = 30.0  # an island
    change[12, 2] = 14.0
    found = matte(change, np.ones((16, 16), bool), low=10, high=24, feather=0.0, least=6)
    assert (found[2:8, 2:8] == 1).all()  # the hole is closed
    assert found[12, 12] < 0.5 and found[12, 2] == pytest.approx(4 / 14)
    assert found[0, 0] == 0
    half = np.zeros((16, 16), bool)
    half[:, :5] = True
    assert matte(change, half, low=10, high=24, feather=2.0, least=6)[:, 5:].max() == 0


def test_an_edit_that_is_the_round_trip_has_changed_nothing(models):
    one = task()
    start = begin_edit(models, [one])
    (trip,) = decode(start.clean, models)
    everything = torch.ones(1, *start.grid)
    assert own_change(models, start, [trip], [one.image], everything).max() == 0
    painted_over = array(trip)
    painted_over[16:48, 16:48] = 255 - painted_over[16:48, 16:48]
    edited = Image.fromarray(painted_over.astype(np.uint8))
    found = own_change(models, start, [edited], [one.image], everything)[0]
    assert found[20:44, 20:44].mean() > 0.7 and found[:8].max() == 0


def test_any_method_can_be_pasted_by_its_own_change(models):
    one = task(mask=box())
    for run, settings in ((ip2p.edit, {}), (wys.edit, dict(region="given"))):
        (plain,) = run(models, [one], **settings, **FAST)
        (pasted,) = run(models, [one], paste_own=True, **settings, **FAST)
        outside = np.asarray(pasted.mask) == 0
        np.testing.assert_array_equal(array(pasted.image)[outside], array(one.image)[outside])
        assert plain.unet_calls == pasted.unet_calls


def test_what_is_written_is_the_distance_of_the_branches_over_its_mean():
    """Two cells of two channels: the branches are 5 and 0 apart, so 2 and 0 times the mean."""
    text = torch.tensor([[[[3.0, 4.0], [1.0, 1.0]]]])
    image = torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])
    found = written(torch.cat([text, image]))
    torch.testing.assert_close(found, torch.tensor([[[2.0, 0.0]]]))
    same = written(torch.cat([text, text]))
    torch.testing.assert_close(same, torch.zeros(1, 1, 2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(signs=()), "signs=.*at least 1 item"),
        (dict(signs=("words",)), "signs=.*'change', 'foreseen' or 'written'"),
        (dict(signal=1.2), "signal=1.2; .*less than or equal to 1"),
        (dict(image_until=0.0), "image_until=0.0; .*greater than 0"),
        (dict(strides=(64,)), "no cross-attention layer has a stride of .64,. latent cells"),
    ],
)
def test_remap_refuses_settings_out_of_range(models, settings, message):
    with pytest.raises(ValueError, match=message):
        remap.edit(models, [task()], **settings, **FAST)


def test_remap_pastes_the_sources_own_pixels_unless_told_not_to(models):
    one = task(mask=box())
    (pasted,) = remap.edit(models, [one], region="given", **FAST)
    (plain,) = remap.edit(models, [one], region="given", paste=False, **FAST)
    far = np.asarray(pasted.mask) == 0
    np.testing.assert_array_equal(array(pasted.image)[far], array(one.image)[far])
    assert (array(plain.image)[far] != array(one.image)[far]).any()
    assert not np.asarray(pasted.mask)[~box()].any()  # within the given region


def test_remap_constrains_nothing_where_the_whole_picture_is_meant(models):
    (whole,) = remap.edit(models, [task()], scope=-1.0, image_until=1.0, **FAST)
    (base,) = ip2p.edit(models, [task()], **FAST)
    assert np.asarray(whole.mask).min() == 255
    assert np.abs(array(whole.image) - array(base.image)).max() <= 1


def test_remapped_attention_is_the_uninstructed_one_outside():
    control = constraints.HoldAttention(torch.tensor([[[1.0, 0.25]]]))
    probs = torch.rand(3, 2, 2, 5).softmax(-1)
    found = control.on_probs(probs, Site("x.attn2", True, 500.0, (1, 2)))
    torch.testing.assert_close(found[0, :, 0], probs[0, :, 0])
    torch.testing.assert_close(found[0, :, 1], 0.25 * probs[0, :, 1] + 0.75 * probs[1, :, 1])
    torch.testing.assert_close(found[1:], probs[1:])
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 2, 2))


@pytest.mark.parametrize("kind", [LCMScheduler, TCDScheduler, EulerAncestralDiscreteScheduler])
@pytest.mark.parametrize("method", [wys, remap])
def test_regions_are_asked_for_under_any_scheduler(kind, method):
    models = Models("tiny", tiny_ip2p(), tiny_sd(), "own")
    models.instruct.scheduler = kind.from_config(models.instruct.scheduler.config)
    (made,) = method.edit(models, [task()], **FAST)
    assert made.mask is not None
    # asking draws nothing of the run's own noise: what is told everything is the baseline
    everywhere = task(mask=np.ones((64, 64), bool))
    own = dict(remap=False, image_until=1.0) if method is remap else {}
    (whole,) = method.edit(models, [everywhere], region="given", paste=False, **own, **FAST)
    (base,) = ip2p.edit(models, [task()], **FAST)
    np.testing.assert_allclose(np.asarray(whole.image), np.asarray(base.image), atol=1)


def test_asking_where_leaves_the_batchs_generators_as_they_are(models):
    models = replace(models, instruct=tiny_ip2p())
    config = models.instruct.scheduler.config
    models.instruct.scheduler = EulerAncestralDiscreteScheduler.from_config(config)
    start = driver.begin_edit(models, [task()])
    before = start.generators[0].get_state()
    wys.relevance(models, [task()], start, level=0.8)
    assert torch.equal(start.generators[0].get_state(), before)


def test_watch_your_steps_asks_with_the_prompt_it_edits_with(models):
    one = replace(task(), caption="a green hat")
    start = driver.begin_edit(models, [one])
    told = wys.relevance(models, [one], start, level=0.8, prompt="caption")
    want = wys.relevance(models, [replace(one, instruction="a green hat")], start, level=0.8)
    assert torch.equal(told, want)
    assert not torch.equal(told, wys.relevance(models, [one], start, level=0.8))
