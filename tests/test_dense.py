"""Scores move as the formula says, in the text branch, early, and towards the region."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cirp.attention.control import Control, controlled
from cirp.attention.site import IMAGE, NEITHER, TEXT, Site
from cirp.diffusion.tasks import Task
from cirp.methods import dense, ip2p
from cirp.methods.dense import Modulate, layout, membership, modulated
from tests.conftest import painted

FAST = dict(steps=4, progress=False)


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def left(width: int = 64, height: int = 64) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[:, : width // 4] = True
    return mask


def task(seed: int = 0, key: str = "one", **other) -> Task:
    return Task(
        painted(seed=seed), "make the dog happy", "a happy dog", seed, key, words=("dog",),
        mask=left(), **other,
    )  # fmt: skip


# A 2 x 2 layout whose first cell is the region, and a prompt of 3 tokens of which 1 is the word's.
SEGMENTS = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 1, 1]]])
MEMBERS = torch.tensor([[[0.0, 1, 0], [0, 0, 0]]])
SCORES = torch.tensor([[2.0, 0, 1], [2, 0, 1], [1, 1, 1], [-1, 3, 0]])[None, None]


def test_cross_attention_by_hand():
    """w = 1, xi = 1; S is 3/4 in the region and 1/4 outside it."""
    moved = modulated(SCORES, SEGMENTS, MEMBERS, 1000.0, weight=1.0)
    expected = torch.tensor(
        [
            [0.5, 1.5, 0.25],  # 2 - 3/4 2, 0 + 3/4 2 (the word), 1 - 3/4 1
            [1.5, 0.0, 0.75],  # no token belongs here: 2 - 1/4 2, 0, 1 - 1/4 1
            [1.0, 1.0, 1.0],
            [-1.0, 2.0, -0.25],
        ]
    )
    torch.testing.assert_close(moved[0, 0], expected)


def test_self_attention_by_hand():
    """Queries gain keys of their own segment and lose the others; w = 1/2."""
    scores = torch.tensor([[4.0, 0, 2, 2]]).repeat(4, 1)[None, None]
    moved = modulated(scores, SEGMENTS, SEGMENTS, 1000.0, weight=0.5)
    torch.testing.assert_close(moved[0, 0, 0], torch.tensor([4, 0, 1.25, 1.25]))  # 2 - 3/8 2
    torch.testing.assert_close(moved[0, 0, 1], torch.tensor([3.5, 0.5, 2.25, 2.25]))  # by 1/8


def test_the_shift_is_the_fifth_power_of_time_and_vanishes():
    full, half, end = (
        modulated(SCORES, SEGMENTS, MEMBERS, t, weight=1.0) - SCORES for t in (1000.0, 500.0, 1e-2)
    )
    torch.testing.assert_close(half, full / 32)
    assert end.abs().max() < 1e-20
    linear = modulated(SCORES, SEGMENTS, MEMBERS, 500.0, weight=1.0, degree=1.0) - SCORES
    torch.testing.assert_close(linear, full / 2)


@pytest.mark.parametrize("inside", [0.0, 1.0])
def test_an_even_layout_moves_nothing(inside):
    segments = layout(torch.full((1, 4, 4), inside), (2, 2))
    moved = modulated(SCORES, segments, MEMBERS, 1000.0, weight=1.0)
    assert torch.equal(moved, SCORES)


def test_layouts_and_members_by_hand():
    masks = torch.zeros(1, 4, 6)
    masks[0, :2, :2] = 1
    (inside, outside) = layout(masks, (2, 3))[0]
    assert inside.tolist() == [1, 0, 0, 0, 0, 0] and outside.tolist() == [0, 1, 1, 1, 1, 1]
    members = membership([[2, 3], [1]], 5, masks)
    assert members[0].tolist() == [[0, 0, 1, 1, 0], [0] * 5]
    assert members[1].tolist() == [[0, 1, 0, 0, 0], [0] * 5]


def test_only_text_rows_are_changed_and_only_until_the_last_timestep():
    masks = torch.zeros(2, 2, 2)
    masks[:, 0, 0] = 1
    how = dict(cross_weight=1.0, self_weight=0.3, degree=5.0, last=700.0)
    control = Modulate(masks, [[1], [2]], **how)
    site = Site("layer", True, 999.0, (2, 2), (TEXT, IMAGE, NEITHER), 2)
    scores = torch.randn(6, 3, 4, 7)
    before = scores.clone()
    moved = control.on_scores(scores, site)
    assert torch.equal(scores, before)  # not in place
    assert torch.equal(moved[2:], scores[2:])
    assert (moved[:2] != scores[:2]).any(dim=(1, 2, 3)).all()
    gained = (moved - scores)[:2, :, 0]  # the region's query
    assert (gained[0, :, 1] >= 0).all() and (gained[0, :, [0, 2, 3, 4, 5, 6]] <= 0).all()
    assert (gained[1, :, 2] >= 0).all() and (gained[1, :, [0, 1, 3, 4, 5, 6]] <= 0).all()
    assert control.wants(replace(site, timestep=700.0))
    assert not control.wants(replace(site, timestep=699.0))


class Mass(Control):
    """What the word's token gets of the text rows' probabilities inside the region, early."""

    reads_only = True

    def __init__(self, position: int) -> None:
        self.position, self.seen, self.times = position, [], []

    def on_probs(self, probs, site):
        inside = probs[site.rows(TEXT)].unflatten(2, (16, -1)) if probs.shape[2] == 256 else None
        if inside is not None and site.timestep > 700:
            self.seen.append(inside[..., :4, self.position].mean().item())
            self.times.append(site.timestep)
        return probs


def test_the_words_gain_attention_in_the_region(models):
    gains = []
    for weight in (0.0, 1.0):
        seen = Mass(3)  # begin, make, the, dog
        dense.edit(
            models, [task()], cross_weight=weight, self_weight=0.0, region="given",
            controls=(seen,), **FAST,
        )  # fmt: skip
        gains.append(np.mean(seen.seen))
    assert gains[1] > 1.2 * gains[0]


def test_weights_of_zero_are_the_baseline(models):
    (plain,) = ip2p.edit(models, [task()], **FAST)
    (same,) = dense.edit(models, [task()], cross_weight=0.0, self_weight=0.0, **FAST)
    np.testing.assert_array_equal(array(plain.image), array(same.image))
    for only in (dict(cross_weight=0.0), dict(self_weight=0.0)):
        (moved,) = dense.edit(models, [task()], region="given", **only, **FAST)
        assert (array(plain.image) != array(moved.image)).any()


def test_abstaining_is_the_baseline(models):
    (plain,) = ip2p.edit(models, [task()], **FAST)
    (same,) = dense.edit(models, [task()], abstain=1e9, **FAST)
    assert same.abstained and array(same.mask).min() == 255
    assert np.abs(array(plain.image) - array(same.image)).max() <= 1


def test_an_image_is_the_same_in_any_batch_and_counts_are_right(models):
    tasks = [task(0, "a"), task(1, "b")]
    together = dense.edit(models, tasks, look_steps=2, **FAST)
    for one, made in zip(tasks, together, strict=True):
        (alone,) = dense.edit(models, [one], look_steps=2, **FAST)
        assert np.abs(array(alone.image) - array(made.image)).max() <= 1
        assert made.unet_calls == 3 * 2 + 3 * 4
    (given,) = dense.edit(models, tasks[:1], region="given", **FAST)
    assert given.unet_calls == 3 * 4
    assert (array(given.mask) == 255 * left()).all()


@pytest.mark.parametrize("size", [(96, 64), (40, 72)])
def test_images_need_not_be_square(models, size):
    one = replace(task(), image=painted(*size), mask=left(*size))
    for region in ("found", "given"):
        (made,) = dense.edit(models, [one], region=region, **FAST)
        assert max(made.image.size) == models.resolution and made.mask.size == made.image.size


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(region="given"), "has no mask"),
        (dict(share=0.0), "share=0.0"),
        (dict(cross_weight=-1.0), "cross_weight=-1.0"),
        (dict(degree=float("nan")), "degree=nan"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(models, settings, words):
    class Never(Control):
        def wants(self, site):
            raise AssertionError("the UNet ran")

    with controlled(models.instruct.unet, Never()), pytest.raises(ValueError, match=words):
        dense.edit(models, [replace(task(), mask=None)], **(FAST | settings))
