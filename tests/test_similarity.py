import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from cirp.metrics import regions, similarity
from cirp.metrics.scores import VERDICTS

SHAPE = (32, 48)  # not square, so that rows and columns cannot be mixed up


@pytest.fixture
def picture():
    return np.random.default_rng(0).uniform(0.2, 0.8, (*SHAPE, 3))


@pytest.fixture
def mask():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10:20, 14:30] = True  # 160 pixels
    return mask


def batch(picture):
    return torch.from_numpy(np.moveaxis(picture, -1, 0))[None]


# Regions


def test_the_guard_band_is_on_neither_side():
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    sides = regions.split(mask, shape=(9, 9), guard=2)
    near = [
        (r, c) for r in range(9) for c in range(9) if (r - 4) ** 2 + (c - 4) ** 2 <= 4
    ]  # the disc of radius 2: 13 pixels
    assert len(near) == 13
    assert sides.inside.sum() == 1 and sides.outside.sum() == 81 - 13
    assert not any(sides.outside[pixel] for pixel in near)


def test_without_a_guard_the_sides_fill_the_image(mask):
    sides = regions.split(mask, shape=SHAPE, guard=0)
    assert np.array_equal(sides.outside, ~mask)
    assert sides.inside_area == 160 / (32 * 48)
    assert sides.inside_area + sides.outside_area == 1


@pytest.mark.parametrize(("side", "guard"), [(64, 2), (512, 16), (20, 1)])
def test_the_default_guard_grows_with_the_image(side, guard):
    assert regions.default_guard((side, 2 * side)) == guard


def test_a_global_edit_has_no_outside(mask):
    for given_mask in (mask, None):
        sides = regions.split(given_mask, shape=SHAPE, is_global=True)
        assert not sides.outside.any()
    assert sides.inside.all()


def test_a_local_edit_without_a_mask_has_no_sides():
    sides = regions.split(None, shape=SHAPE)
    assert not sides.inside.any() and not sides.outside.any()


def test_a_mask_of_another_shape_is_refused(mask):
    with pytest.raises(ValueError, match=r"\(32, 48\) but the image \(48, 32\)"):
        regions.split(mask, shape=(48, 32))
    with pytest.raises(ValueError, match="guard=-1"):
        regions.split(mask, shape=SHAPE, guard=-1)


# Pixels


def test_an_image_equals_itself(picture, mask):
    found = similarity.pixel_metrics(picture, picture, regions.split(mask, shape=SHAPE))
    for where in ("", "_inside", "_outside"):
        assert found[f"l1{where}"] == found[f"mse{where}"] == 0
        assert found[f"ssim{where}"] == pytest.approx(1, abs=1e-12)
        assert found[f"psnr{where}"] == math.inf


def test_a_known_change_by_hand(picture, mask):
    edited = picture.copy()
    edited[mask, 0] += 0.3  # one channel of three
    edited[0, 0] -= 0.1  # one pixel outside
    found = similarity.pixel_metrics(edited, picture, regions.split(mask, shape=SHAPE, guard=3))
    outside = regions.split(mask, shape=SHAPE, guard=3).outside.sum()
    assert found["l1_inside"] == pytest.approx(0.1)
    assert found["mse_inside"] == pytest.approx(0.03)
    assert found["l1_outside"] == pytest.approx(0.1 / outside)
    assert found["mse_outside"] == pytest.approx(0.01 / outside)
    assert found["psnr_inside"] == pytest.approx(10 * math.log10(1 / 0.03))
    assert found["l1"] == pytest.approx((160 * 0.1 + 0.1) / (32 * 48))


def test_whole_image_psnr_and_ssim_are_torchmetrics(picture):
    edited = np.clip(picture + np.random.default_rng(1).normal(0, 0.1, picture.shape), 0, 1)
    found = similarity.pixel_metrics(edited, picture, regions.split(None, shape=SHAPE))
    y, x = batch(edited), batch(picture)
    psnr = peak_signal_noise_ratio(y, x, data_range=1.0)
    ssim = structural_similarity_index_measure(y, x, data_range=1.0)
    assert found["psnr"] == pytest.approx(float(psnr), abs=1e-6)
    assert found["ssim"] == pytest.approx(float(ssim), abs=1e-9)


@given(share=st.integers(1, 40), noise=st.floats(0.01, 0.15))
@settings(max_examples=10)
def test_outside_values_do_not_depend_on_the_size_of_the_mask(share, noise):
    """PSNR outside is that of the noise, however much of the image the mask takes."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :share] = True
    picture = np.full((*SHAPE, 3), 0.5)
    found = similarity.pixel_metrics(picture + noise, picture, regions.split(mask, shape=SHAPE))
    assert found["l1_outside"] == pytest.approx(noise)
    assert found["psnr_outside"] == pytest.approx(-20 * math.log10(noise))


@pytest.mark.parametrize("guard", [0, 2, 8])
def test_nothing_inside_is_seen_outside(picture, mask, guard):
    edited = picture.copy()
    edited[mask] = 1 - edited[mask]
    found = similarity.pixel_metrics(edited, picture, regions.split(mask, shape=SHAPE, guard=guard))
    assert found["l1_outside"] == 0
    assert found["ssim_outside"] == pytest.approx(1, abs=1e-12)
    assert found["ssim_inside"] < 0.5


def test_a_global_edit_has_nan_outside_not_zero(picture):
    sides = regions.split(None, shape=SHAPE, is_global=True)
    found = similarity.pixel_metrics(picture * 0.9, picture, sides)
    assert all(math.isnan(value) for name, value in found.items() if name.endswith("_outside"))
    assert found["l1_inside"] == found["l1"] > 0


def test_images_of_different_size_are_refused(picture):
    with pytest.raises(
        ValueError, match=r"edited image is \(31, 48\) but its reference \(32, 48\)"
    ):
        similarity.pixel_metrics(picture[1:], picture, regions.split(None, shape=SHAPE))


def test_pictures_are_scaled_to_one():
    array = similarity.to_array(Image.new("RGB", (3, 2), (255, 0, 51)))
    assert array.shape == (2, 3, 3) and array.dtype == np.float64
    assert array[0, 0].tolist() == [1.0, 0.0, 0.2]


# Where the change is


def test_leakage_auc_of_known_changes(mask):
    sides = regions.split(mask, shape=SHAPE)
    noise = np.random.default_rng(0).random(SHAPE)
    assert similarity.leakage_auc(mask * 0.5, sides) == 1
    assert similarity.leakage_auc(~mask * 0.5, sides) == 0
    assert similarity.leakage_auc(np.full(SHAPE, 0.5), sides) == 0.5
    # half of the outside ties with all of the inside: 0.5 * 0.5 + 0.5 * 1
    tied = mask.astype(float)
    rows, columns = np.nonzero(sides.outside)
    half = len(rows) // 2
    assert len(rows) % 2 == 0
    tied[rows[:half], columns[:half]] = 1
    assert similarity.leakage_auc(tied, sides) == pytest.approx(0.75)
    assert 0.4 < similarity.leakage_auc(noise, sides) < 0.6


def test_leakage_is_undefined_for_doing_nothing_and_without_an_outside(mask):
    nothing, something = np.zeros(SHAPE), np.ones(SHAPE)
    local = regions.split(mask, shape=SHAPE)
    everything = regions.split(mask, shape=SHAPE, is_global=True)
    for measure in (similarity.leakage_auc, similarity.leakage_share):
        assert math.isnan(measure(nothing, local))
        assert math.isnan(measure(something, everything))


def test_a_uniform_change_leaks_as_much_as_the_outside_has_area(mask):
    sides = regions.split(mask, shape=SHAPE, guard=0)
    assert similarity.leakage_share(np.full(SHAPE, 0.1), sides) == pytest.approx(
        1 - 160 / (32 * 48)
    )


def test_selectivity_rewards_neither_doing_nothing_nor_changing_everything():
    assert similarity.selectivity(0.0, 0.0) == similarity.selectivity(0.3, 0.3) == 0
    assert similarity.selectivity(math.e - 1 / 255, 1 - 1 / 255) == pytest.approx(1)
    assert similarity.selectivity(0.1, 0.2) < 0
    assert math.isnan(similarity.selectivity(0.1, math.nan))


# Features


def test_cosines_by_hand():
    x, y = np.array([3.0, 4.0], dtype=np.float32), np.array([4.0, 3.0], dtype=np.float32)
    assert similarity.cosine(x, y) == pytest.approx(24 / 25, abs=1e-12)
    assert similarity.cosine(x, 7 * x) == pytest.approx(1, abs=1e-12)
    assert math.isnan(similarity.cosine(x, 0 * x))


def test_clip_direction_by_hand():
    east, north = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    up = np.array([0, 0, 1.0])
    # image moves east -> north, text too: parallel; the other way round: antiparallel
    assert similarity.clip_direction(north, east, north, east) == pytest.approx(1)
    assert similarity.clip_direction(north, east, east, north) == pytest.approx(-1)
    # (north - east) . (up - east) / |..||..| = 1 / 2
    assert similarity.clip_direction(north, east, up, east) == pytest.approx(0.5)
    # lengths do not matter
    assert similarity.clip_direction(5 * north, 2 * east, 3 * up, 9 * east) == pytest.approx(0.5)


def test_clip_direction_of_doing_nothing_is_undefined():
    generator = np.random.default_rng(0)
    image, target, source = generator.normal(size=(3, 64)).astype(np.float32)
    jitter = (image * (1 + 1e-7)).astype(np.float32)
    assert math.isnan(similarity.clip_direction(image, image, target, source))
    assert math.isnan(similarity.clip_direction(jitter, image, target, source))
    assert math.isnan(similarity.clip_direction(image, source, target, target))
    assert not math.isnan(similarity.clip_direction(image, source, target, source))


def test_patch_distances_by_hand():
    x = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    y = np.array([[2.0, 0], [0, 5], [-1, 0], [3, 4]])
    distance = similarity.patch_distance(y, x)
    assert distance == pytest.approx([0, 1, 2, 0.4])
    found = similarity.patch_metrics(
        distance, inside=np.array([0, 0.25, 0.75, 0]), outside=np.array([1, 0, 0, 0.9])
    )
    assert found == pytest.approx({"": 0.85, "_inside": 1.75, "_outside": 0.0})
    nowhere = similarity.patch_metrics(distance, inside=np.zeros(4), outside=np.zeros(4))
    assert math.isnan(nowhere["_inside"]) and math.isnan(nowhere["_outside"])


# The judge

SEEN = {"donut": 0.9, "donut:topping=chocolate": 0.5, "donut:topping=vanilla": 0.2, "car": 0.6}


@pytest.mark.parametrize(
    ("gained", "lost", "success", "soft"),
    [
        (["donut"], [], 1, 0.9),
        (["donut:topping=chocolate"], ["donut:topping=vanilla"], 1, 0.65),
        (["donut"], ["car"], 0, 0.65),
        (["donut:topping=vanilla"], [], 0, 0.2),
        ([], ["donut:topping=chocolate"], 0, 0.5),  # exactly one half still counts as seen
    ],
)
def test_success_needs_every_label(gained, lost, success, soft):
    said = similarity.verdicts(SEEN, gained, lost, [])
    assert similarity.success(said) == success
    assert similarity.soft_success(SEEN, gained, lost) == pytest.approx(soft)


def test_success_needs_what_nobody_touched():
    assert similarity.success(similarity.verdicts(SEEN, ["donut"], [], ["donut"])) == 1
    said = similarity.verdicts(SEEN, ["donut"], [], ["donut:topping=vanilla"])
    assert said["gained_seen"] == 1 and said["kept_seen"] == 0
    assert similarity.success(said) == 0


def test_a_spoilt_picture_is_no_success():
    said = similarity.verdicts(SEEN | {"damaged": 0.8}, ["donut"], [], [])
    assert said["whole"] == 0 and similarity.success(said) == 0
    assert similarity.success(similarity.verdicts(SEEN | {"damaged": 0.2}, ["donut"], [], [])) == 1


@pytest.mark.parametrize(
    ("seen", "before", "gained", "said"),
    [
        ({"donut": 0.9, "rabbit": 0.1}, {"donut": 0.1, "rabbit": 0.1}, ["donut"], 1),
        ({"donut": 0.9, "rabbit": 0.8}, {"donut": 0.1, "rabbit": 0.1}, ["donut"], 0),
        ({"donut": 0.9, "rabbit": 0.8}, {"donut": 0.1, "rabbit": 0.7}, ["donut"], 1),  # was there
        ({"donut": 0.9}, {"donut": 0.1}, [], 0),
        ({"donut=glazed": 0.9, "donut": 0.1}, {"donut=glazed": 0.1, "donut": 0.1}, [], 1),
        ({"damaged": 0.9, "donut": 0.1}, {"damaged": 0.1, "donut": 0.1}, [], 1),
    ],
)
def test_nothing_is_added_that_the_source_has_not_and_nobody_asked_for(seen, before, gained, said):
    assert similarity.nothing_added(seen, before, gained) == said
    assert math.isnan(similarity.nothing_added({"damaged": 0.9}, {"damaged": 0.1}, []))


def test_what_comes_no_nearer_to_a_right_answer_is_no_success():
    said = similarity.verdicts(SEEN, ["donut"], [], [])
    assert similarity.success(said | {"nearer": 1.0}) == 1
    assert similarity.success(said | {"nearer": 0.0}) == 0


def test_an_edit_without_labels_is_not_judged():
    assert math.isnan(similarity.success(similarity.verdicts(SEEN, [], [], ["donut"])))
    assert math.isnan(similarity.soft_success(SEEN, [], []))


def test_an_unknown_label_is_named():
    with pytest.raises(ValueError, match="does not know 'bagel'; its labels are donut, "):
        similarity.verdicts(SEEN, ["bagel"], [], [])


def test_preservation_counts_only_where_the_edit_succeeded():
    assert similarity.gated(0.25, 1.0) == 0.25
    assert math.isnan(similarity.gated(0.25, 0.0)) and math.isnan(similarity.gated(0.25, math.nan))


@pytest.mark.parametrize(
    ("metric", "way"),
    [
        ("l1_source_outside_excess", "lower"),
        ("l1_source_inside", None),
        ("psnr_target_inside", "higher"),
        ("clip_i_source", "higher"),
        ("leakage_auc", "higher"),
        ("leakage_share", "lower"),
        ("seconds", None),
    ],
)
def test_which_way_is_better(metric, way):
    assert similarity.better(metric) == way


@pytest.mark.parametrize(
    "said, words",
    [
        ({"success": 1.0}, "done"),
        ({"success": math.nan}, ""),
        ({"success": 0.0, "gained_seen": 0.0, "nearer": 0.0}, "not done: not there"),
        ({"success": 0.0, "gained_seen": 1.0, "nearer": 0.0},
         "not done: too far from a right answer"),
        ({"success": 0.0, "lost_gone": math.nan, "nothing_added": 0.0},
         "not done: something was added"),
    ],
)  # fmt: skip
def test_an_edit_that_is_no_success_says_why(said, words):
    assert similarity.outcome(said) == words


def test_each_verdict_has_its_reason():
    assert set(similarity.REASONS) == set(VERDICTS)
