"""Shifts, zooms and turns of known size are found; where none can be told, none is said."""

import math

import numpy as np
import pytest
from PIL import Image

from cirp.data.edits import load_edits
from cirp.metrics.registration import align, move, register

ITEMS = load_edits("data/edits")


@pytest.mark.parametrize(
    "how",
    [
        dict(dx=3.0, dy=-2.0), dict(dx=1.6, dy=0.7), dict(dx=-7.3, dy=5.1), dict(scale=1.05),
        dict(scale=1.2), dict(scale=0.9), dict(angle=3.0), dict(dx=2.0, scale=1.1, angle=-2.0),
    ],
    ids=str,
)  # fmt: skip
def test_a_known_move_of_an_edited_picture_is_found(how):
    errors, answered = [], 0
    for item in ITEMS[:10]:
        found = register(item.source(), move(item.target(), **how))
        if found.why:
            continue
        answered += 1
        want = dict(dx=0.0, dy=0.0, scale=1.0, angle=0.0) | how
        errors.append(
            (math.hypot(found.dx - want["dx"], found.dy - want["dy"]),
             abs(found.scale - want["scale"]), abs(found.angle - want["angle"]))
        )  # fmt: skip
    median = np.median(errors, axis=0)
    assert answered >= 5
    assert median[0] < 0.4 and median[1] < 0.01 and median[2] < 0.3


def test_an_edit_that_lies_as_its_source_is_not_moved():
    for item in ITEMS[:16]:
        assert register(item.source(), item.target()).why == "lies as the source does", item.id
        assert register(item.source(), item.source()).why == "lies as the source does"


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_not_taken_for_a_shift_of_half_a_pixel(seed):
    rows, columns = np.mgrid[:96, :128]
    pixels = np.stack([1.5 * columns + 20, 2.0 * rows + 10, 0 * rows + 100.0], axis=-1)
    pixels[20:50, 30:70], pixels[60:85, 80:110] = (200, 40, 40), (20, 180, 60)
    noise = np.random.default_rng(seed).uniform(-6, 6, pixels.shape)
    source, noisy = (
        Image.fromarray(one.clip(0, 255).astype(np.uint8)) for one in (pixels, pixels + noise)
    )
    assert register(source, noisy).why == "lies as the source does"


def test_other_sizes_are_compared_at_the_sources():
    item = ITEMS[0]
    large = item.source().resize((256, 256), Image.Resampling.BICUBIC)
    small = move(item.source(), dx=4.0)
    found = register(large, small)
    assert found.dx == pytest.approx(16.0, abs=1.5) and found.dy == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize("period", [4, 8])
def test_blank_and_periodic_pictures_have_no_answer(period):
    blank = Image.new("RGB", (64, 64), "white")
    assert register(blank, blank).why == "blank"
    assert register(ITEMS[0].source(), blank).why == "blank"
    rows, columns = np.indices((64, 64)) // (period // 2)
    board = Image.fromarray((255 * ((rows + columns) % 2)).astype(np.uint8)).convert("RGB")
    other = Image.fromarray(np.roll(np.asarray(board), period // 2, axis=1))
    assert register(board, other).why in ("fits in several places", "lies as the source does")


def test_aligned_is_as_it_was_and_what_comes_from_beyond_the_border_is_not_known():
    source = ITEMS[0].source()
    shifted = move(source, dx=5.0)
    found = register(source, shifted)
    again, known = align(shifted, found, size=source.size)
    apart = np.abs(np.asarray(again, float) - np.asarray(source, float)).mean(axis=-1)
    assert apart[known].mean() < 3 and known.mean() == pytest.approx(1 - 5 / 64, abs=0.04)
    assert not known[:, -4:].any() and known[8:-8, 8:40].all()
