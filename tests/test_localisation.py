import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import jaccard_score

from cirp.attention.localisation import (
    average_precision,
    baselines,
    best_iou,
    energy_inside,
    iou,
    peak_to_mean,
    pointing,
    roc_auc,
    scores,
)

HEAT = np.array([[4.0, 3.0, 0.0], [2.0, 1.0, 0.0]])
MASK = np.array([[True, False, False], [True, False, False]])
EVEN = np.ones((2, 3))

SHAPES = st.tuples(st.integers(2, 6), st.integers(2, 6))
# Few different values, so that ties are common.
HEATS = SHAPES.flatmap(
    lambda shape: hnp.arrays(float, shape, elements=st.integers(0, 4).map(float))
)


def masks_for(heat, seed):
    mask = np.random.default_rng(seed).random(heat.shape) < 0.4
    mask.flat[0], mask.flat[-1] = True, False  # neither empty nor everything
    return mask


def test_iou_by_hand():
    assert iou(HEAT, MASK, threshold=0.5) == 2 / 3  # 4, 3, 2 are in; 4 and 2 are in the mask
    assert iou(HEAT, MASK, threshold=1.0) == 1 / 2
    assert iou(HEAT, MASK, threshold=0.01) == 2 / 4


def test_best_iou_by_hand():
    assert best_iou(HEAT, MASK) == (2 / 3, 0.5)


@given(HEATS, st.integers(0, 99))
def test_best_iou_is_the_best_of_all_thresholds(heat, seed):
    mask = masks_for(heat, seed)
    best, threshold = best_iou(heat, mask)
    tried = [jaccard_score(mask.ravel(), (heat >= value).ravel()) for value in np.unique(heat)]
    assert best == pytest.approx(max(tried))
    if threshold > 0:
        assert iou(heat, mask, threshold=threshold) == pytest.approx(best)


def test_pointing_by_hand():
    assert pointing(HEAT, MASK) == 1
    assert pointing(HEAT, ~MASK) == 0
    assert pointing(EVEN, MASK) == 1 / 3  # any pixel may be the maximum: the share of the area


def test_pointing_near_the_mask_counts_within_the_tolerance():
    heat, mask = np.zeros((5, 5)), np.zeros((5, 5), dtype=bool)
    heat[2, 3], mask[2, 0] = 1.0, True
    assert pointing(heat, mask, tolerance=2.9) == 0
    assert pointing(heat, mask, tolerance=3.0) == 1


def test_energy_by_hand():
    assert energy_inside(HEAT, MASK) == 6 / 10
    assert energy_inside(EVEN, MASK) == pytest.approx(1 / 3)


def test_ranks_by_hand():
    # Inside 4 and 2, outside 3, 1, 0, 0: 4 beats four, 2 beats three, of eight pairs.
    assert roc_auc(HEAT, MASK) == 7 / 8
    assert average_precision(HEAT, MASK) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_a_map_that_knows_nothing_scores_chance():
    row = scores(EVEN, MASK)
    assert row["roc_auc"] == 0.5 and row["average_precision"] == pytest.approx(1 / 3)
    assert row["energy_gain"] == pytest.approx(0) and row["pointing"] == 1 / 3
    assert row["best_iou"] == row["iou"] == 1 / 3 and row["peak_to_mean"] == 1


def test_the_mask_itself_scores_best():
    row = scores(MASK.astype(float), MASK)
    for name in ("iou", "best_iou", "pointing", "energy_inside", "roc_auc", "average_precision"):
        assert row[name] == 1
    assert row["energy_gain"] == 1 - row["area"] == pytest.approx(2 / 3)


@given(HEATS, st.integers(0, 99), st.floats(0.1, 10))
def test_scores_do_not_depend_on_the_scale_of_the_map(heat, seed, scale):
    mask = masks_for(heat, seed)
    assert scores(heat * scale, mask) == pytest.approx(scores(heat, mask), nan_ok=True)


def test_torch_and_numpy_give_the_same():
    assert scores(torch.tensor(HEAT), torch.tensor(MASK)) == scores(HEAT, MASK)


@pytest.mark.parametrize("mask", [np.zeros((2, 3), dtype=bool), np.ones((2, 3), dtype=bool)])
def test_a_mask_with_one_side_has_no_ranking(mask):
    row = scores(HEAT, mask)
    assert math.isnan(row["roc_auc"]) and math.isnan(row["average_precision"])
    assert math.isnan(row["best_iou"]) == (not mask.any())


def test_a_map_of_zeros_has_no_energy():
    row = scores(np.zeros((2, 3)), MASK)
    assert math.isnan(row["energy_inside"]) and math.isnan(row["peak_to_mean"])
    assert row["roc_auc"] == 0.5 and row["iou"] == 0


def test_peak_to_mean_by_hand():
    assert peak_to_mean(HEAT) == pytest.approx(4 / (10 / 6))


def test_the_centre_baseline_is_round_in_cells_of_the_sides_and_peaks_in_the_middle():
    maps = baselines((5, 9), seed=0)
    centre = maps["centre"]
    assert np.unravel_index(centre.argmax(), centre.shape) == (2, 4)
    np.testing.assert_allclose(centre, centre[::-1, ::-1])
    row_sigma = 5 / 4  # one row is 1 / row_sigma standard deviations
    assert centre[1, 4] == pytest.approx(math.exp(-((1 / row_sigma) ** 2) / 2))


def test_the_random_baseline_has_the_seed_and_scores_chance():
    one, same, other = (baselines((64, 64), seed=seed)["random"] for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()
    mask = np.zeros((64, 64), dtype=bool)
    mask[10:40, 20:50] = True
    assert roc_auc(one, mask) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold={threshold}"):
        iou(HEAT, MASK, threshold=threshold)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"map is \(2, 3\) but the mask \(3, 2\)"):
        roc_auc(HEAT, MASK.T)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_map_that_cannot_be_scored_is_refused(bad):
    heat = HEAT.copy()
    heat[0, 0] = bad
    with pytest.raises(ValueError, match="finite and not negative"):
        scores(heat, MASK)
