"""The contenders are what they say, and the table of standings is right by hand."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cirp import figures
from cirp.chapters import benchmark as chapter
from cirp.chapters import methods
from cirp.data.edits import EditItem, EditRecord
from cirp.diffusion.tasks import Edit
from cirp.experiments import cache, configurations

ALL = {**configurations.found(), **configurations.told(), **configurations.controls()}


@pytest.mark.parametrize("label", ALL)
def test_every_contender_is_a_method_with_settings_it_knows(label):
    method, settings = ALL[label]
    whole = cache.completed(method, settings)
    assert whole.get("steps", configurations.STEPS) == configurations.STEPS
    assert ("true mask" in label) == (whole.get("region") == "given")


def test_every_method_with_a_region_is_compared_told_and_untold():
    found = {method for method, _ in configurations.found().values()}
    told = {method for method, _ in configurations.told().values()}
    assert told == found - {"ip2p"}
    local = {n for n in cache.METHODS if cache.completed(n, {}).get("region") == "found"}
    assert local == told


def row(name, item, success, outside, **more):
    return {
        "method": name, "id": item, "seed": 0, "success": success,
        "l1_source_outside_excess": outside, "region_iou": 0.5, "unet_calls": 60, "seconds": 1.0,
    } | more  # fmt: skip


def test_standings_pair_by_image_and_say_how_much_of_the_way_is_closed():
    base, truth = configurations.BASELINE, configurations.TRUTH
    items = [f"i{n}" for n in range(6)]
    rows = []
    for n, item in enumerate(items):
        rows.append(row(base, item, 1.0, 0.10 + 0.01 * n))
        rows.append(row("half", item, 1.0, 0.06 + 0.01 * n, unet_calls=120, seconds=3.0))
        rows.append(row("useless", item, 0.0, 0.10 + 0.01 * n))
    told = pd.DataFrame([row(truth, item, 1.0, 0.02 + 0.01 * n) for n, item in enumerate(items)])
    found = methods.standing(pd.DataFrame(rows), told).set_index("method")
    assert found.loc["half", "closed"] == pytest.approx(0.5)
    assert found.loc[truth, "closed"] == pytest.approx(1.0)
    assert found.loc["useless", "closed"] == pytest.approx(0.0)
    assert found.loc["half", "l1_source_outside_excess - baseline"] == pytest.approx(-0.04)
    assert found.loc["useless", "success - baseline"] == pytest.approx(-1.0)
    assert found.loc["half", "UNet rows / baseline"] == pytest.approx(2.0)


def test_the_overlap_of_regions_by_hand():
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    found = Image.fromarray(np.eye(4, dtype=np.uint8) * 255)
    assert cache.overlap(found, truth) == pytest.approx(2 / 10)
    assert np.isnan(cache.overlap(None, truth)) and np.isnan(cache.overlap(found, None))


def test_the_gallery_outlines_regions_but_not_whole_pictures(tmp_path):
    figures.use_style()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    record = EditRecord(source_file_name="a.png", instruction="make it blue", id="a")
    items = [EditItem(record, tmp_path)]
    half = np.zeros((16, 16), np.uint8)
    half[:8] = 255
    made = {
        "with region": [Edit(items[0].source(), "x", {}, 3, 0.1, Image.fromarray(half))],
        "whole": [Edit(items[0].source(), "x", {}, 3, 0.1, Image.new("L", (16, 16), 255))],
    }
    fig = methods.gallery(items, made)
    lines = [len(ax.collections) for ax in fig.axes]
    assert lines == [0, 2, 0, 0]  # white over black


def test_extremes_are_the_best_and_the_worst_against_the_baseline():
    rows = []
    for item, ours, outside in (("a", 1.0, 0.1), ("b", 0.2, 0.1), ("c", 0.5, 0.9)):
        rows.append(row(configurations.BASELINE, item, 0, 0.1, success_soft=0.5))
        rows.append(row("x", item, 0, outside, success_soft=ours))
    table = pd.DataFrame(rows)
    assert methods.extremes(table, "x", ["a", "b", "c"]) == ["a", "c"]
    assert methods.extremes(table, "x", ["a", "b"]) == ["a", "b"]
    assert methods.extremes(table, "x", ["of another folder"]) == ["of another folder"] * 2


def test_kinds_are_told_apart_and_the_truth_stands_beside():
    rows = [
        row(name, f"{kind}{n}", n, 0.1, edit_type=kind)
        for name in (configurations.BASELINE, "x")
        for kind in ("add", "remove")
        for n in (0, 1)
    ]
    told = pd.DataFrame([row("x, true mask", "add0", 1, 0.0, edit_type="add")])
    found = methods.by_kind(pd.DataFrame(rows), told, ["x"])
    assert found.loc["add", ("x", "success")] == 0.5
    assert found.loc["add", ("x, true mask", "success")] == 1
    assert np.isnan(found.loc["remove", ("x, true mask", "success")])


def test_a_better_method_stands_above_and_bars_are_as_wide_as_the_critical_difference():
    rng = np.random.default_rng(0)
    rows = [
        row(name, f"i{n}", 0, float(rng.random() + shift))
        for name, shift in (("good", 0), ("bad", 5), ("worse", 9))
        for n in range(12)
    ]
    fig = chapter.rank_figure(pd.DataFrame(rows), {"l1_source_outside_excess": "lower"})
    ax = fig.axes[0]
    places = {t.get_text(): y for t, y in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert places["good"] > places["bad"] > places["worse"]
    (width,) = {round(bar.get_width(), 6) for bar in ax.patches}
    assert width == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 12)), abs=1e-3)  # Nemenyi, k = 3
