"""Many right answers: what they may differ in, and the distance to the nearest of them."""

import math

import numpy as np
import pytest

from cirp.metrics.answers import (
    CLEAR,
    MOST,
    allowed,
    by_count,
    distances,
    nearest,
    share_done,
    share_off,
)
from cirp.miniature.answers import answers
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.gallery import half
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.scene import region, render

PAIRS = [draw_pair(i, "validation", kind=kind) for kind in EDIT_KINDS for i in range(3)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p.kind}-{p.seed}")
def test_every_answer_says_what_the_target_says_and_leaves_the_rest(pair):
    found = answers(pair, 6)
    assert found[0] == pair.target
    untouched = [t for t in pair.target.things if any(t is s for s in pair.source.things)]
    for scene in found:
        assert scene.labels() == pair.target.labels()
        assert scene.setting == pair.target.setting and scene.style == pair.target.style
        assert all(any(t is s for s in scene.things) for t in untouched)


def test_what_the_instruction_leaves_open_differs():
    for pair in PAIRS:
        found = [render(s) for s in answers(pair, 4)]
        if pair.kind in ("add", "swap object", "change setting"):
            assert len({p.tobytes() for p in found}) == 4
        else:  # a mug that is to be blue is the same mug
            assert len(found) == 1


def test_more_answers_begin_with_the_fewer():
    assert answers(PAIRS[0], 3) == answers(PAIRS[0], 8)[:3]
    with pytest.raises(ValueError, match="count=0"):
        answers(PAIRS[0], 0)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p.kind}-{p.seed}")
def test_right_answers_are_nearer_than_the_source_and_the_source_is_not(pair):
    source, (target, *_) = render(pair.source), [render(s) for s in answers(pair, 4)]
    right = [render(s) for s in answers(pair, 4)]
    for answer in right:
        found = nearest(answer, source, right)
        assert (found["answer_distance"], found["nearer"], found["answer_iou"]) == (0.0, 1.0, 1.0)
        assert found["answer_share"] in (1.0, pytest.approx(math.nan, nan_ok=True))
    idle = nearest(source, source, right)
    assert idle["nearer"] == 0.0 and idle["answer_iou"] < 0.6
    # the region of one answer is the world's own
    assert (allowed(source, [target]) == region(pair.source, pair.target)).all()


def test_the_distance_is_a_mean_over_what_some_answer_changes():
    source = np.zeros((2, 2, 3), np.uint8)
    first, second = source.copy(), source.copy()
    first[0, 0], second[0, 1] = 255, 51
    edited = np.full_like(source, 51)
    assert allowed(source, [first, second]).tolist() == [[True, True], [False, False]]
    # to the first: (204 + 51) / 2 of 255; to the second: (51 + 0) / 2 of 255
    assert distances(edited, source, [first, second]) == pytest.approx([0.5, 0.1])
    assert by_count(edited, source, [first, second], [1, 2]) == pytest.approx({1: 0.5, 2: 0.1})


def test_without_a_region_nothing_is_said():
    same = np.zeros((2, 2, 3), np.uint8)
    assert all(math.isnan(v) for v in nearest(same, same, [same]).values())


def test_half_an_edit_is_not_nearer_however_well_it_is_done():
    source, answer = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    for rows, nearer in ((4, 0.0), (5, 0.0), (6, 0.0), (7, 1.0), (8, 1.0)):  # of 8
        edited = source.copy()
        edited[:rows] = answer[:rows]
        found = nearest(edited, source, [answer])
        assert (found["answer_share"], found["nearer"]) == (rows / 8, nearer)
    for pair in PAIRS:  # the drawn world's own halves
        before, right = render(pair.source), [render(s) for s in answers(pair, 8)]
        where = region(pair.source, pair.target)
        upper = half(where, across=True, first=True)
        before_half = before.copy()
        before_half[upper] = right[0][upper]
        share = share_done(right[0], before, right[0])
        done = share_done(before_half, before, right[0])
        assert not share < 1.0 and not done > 1.0
        if done < MOST:
            assert nearest(before_half, before, right[:1])["nearer"] == 0.0


def test_what_goes_less_than_half_of_the_way_is_not_nearer():
    """A blur brings every pixel nearer, and draws nothing."""
    source, answer = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    for grey, nearer in ((90, 0.0), (100, 0.0), (110, 1.0), (200, 1.0), (44, 0.0)):
        edited = np.full_like(source, grey)
        assert share_done(edited, source, answer) == 1.0
        assert nearest(edited, source, [answer])["nearer"] == nearer
    edited = np.full_like(source, 90)
    edited[:4] = 190  # half of the pixels are as good as there
    assert share_done(edited, source, answer, way=0.5) == 0.5
    assert nearest(edited, source, [answer])["nearer"] == 1.0


def test_how_much_is_off_is_of_what_the_nearest_answer_changes():
    source, answer = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    answer[:4] = 200
    far = np.full_like(source, 255)
    assert share_off(answer, source, [far, answer]) == 0.0
    assert share_off(source, source, [answer]) == 1.0
    edited = answer.copy()
    edited[0, :, 1] -= CLEAR + 1  # clearly, in one channel of one row of four
    edited[1, :] -= CLEAR  # hardly to be told
    edited[7] = 255  # outside of what changes
    assert share_off(edited, source, [answer]) == 0.25
    assert math.isnan(share_off(source, source, [source]))


def test_what_differs_faintly_is_judged_by_the_mean_alone():
    source = np.full((4, 4, 3), 100, np.uint8)
    answer = source + CLEAR
    assert math.isnan(share_done(source, source, answer))
    edited = source.copy()
    edited[:2] = answer[:2]
    assert nearest(edited, source, [answer])["nearer"] == 1.0
    assert nearest(source, source, [answer])["nearer"] == 0.0


def test_the_share_is_that_of_the_nearest_answer_and_worse_pixels_do_not_count():
    source = np.zeros((1, 4, 3), np.uint8)
    answer = np.full_like(source, 100)
    edited = np.array([[[90] * 3, [110] * 3, [0] * 3, [255] * 3]], np.uint8)
    assert share_done(edited, source, answer) == 0.5
    assert nearest(edited, source, [source + 60, answer])["answer_share"] == 0.5
