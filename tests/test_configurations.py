"""The contenders are what they say, and what is said of them is right by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cirp import figures
from cirp.chapters import frontiers as chapter
from cirp.chapters import methods
from cirp.data.edits import EditItem, EditRecord
from cirp.diffusion.tasks import Edit
from cirp.experiments import aims, cache, configurations, engine, frontiers

ALONE = {**configurations.automatic(), **configurations.controls()}


@pytest.mark.parametrize(
    ("told", "method", "settings"),
    [(False, *one) for one in ALONE.values()]
    + [(True, *o) for o in configurations.with_true_region().values()],
)
def test_every_contender_is_a_method_with_settings_it_knows(told, method, settings):
    whole = cache.completed(method, settings)
    assert whole.get("steps", configurations.STEPS) == configurations.STEPS
    assert told == (whole.get("region") == "given")


def test_every_method_with_a_region_is_compared_told_and_untold():
    found = {method for method, _ in configurations.automatic().values()}
    told = {method for method, _ in configurations.with_true_region().values()}
    assert told == found - {"ip2p", "noisy"}
    local = {n for n in cache.METHODS if cache.completed(n, {}).get("region") == "found"}
    assert local == told


SHOWN = {c.label: c.columns["point"] for c in frontiers.shown() if not c.columns["told"]}


def row(name, item, success, outside, *, told=False, **more):
    return {
        "method": name, "id": item, "seed": 0, "success": success, "edit_type": "add",
        "l1_source_outside_excess": outside, "region_iou": 0.5, "told": told, "pasted": False,
        "point": SHOWN.get(name, configurations.SHOWN),
    } | more  # fmt: skip


def test_every_dial_has_as_many_different_points_as_the_baseline_and_shows_one_of_them():
    found = configurations.dials()
    assert {len(dial) for dial in found.values()} == {len(configurations.SCALES)}
    shown = configurations.automatic()
    for name, dial in found.items():
        settings = [str(sorted(cache.completed(*one).items())) for one in dial]
        assert len(set(settings)) == len(settings), name
        assert shown[name] in dial, name


def test_a_method_closes_the_way_to_itself_told_the_region():
    base, ours = configurations.BASELINE, configurations.OURS
    rows = []
    for n in range(8):
        rows.append(row(base, f"i{n}", 1.0, 0.10 + 0.01 * n))
        rows.append(row(ours, f"i{n}", 1.0, 0.06 + 0.01 * n))
        rows.append(row(ours, f"i{n}", 1.0, 0.02 + 0.01 * n, told=True))
    table = pd.DataFrame(rows)
    assert aims.closing(table, ours).mean == pytest.approx(0.5)
    found = methods.compared(table, [ours])
    assert found.loc[ours, "outside change, minus the baseline's"].startswith("\u22120.0400")
    assert found.loc[ours, "edit success, minus the baseline's"].startswith("+0.00")


def test_the_overlap_of_regions_by_hand():
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    found = Image.fromarray(np.eye(4, dtype=np.uint8) * 255)
    assert engine.overlap(found, truth) == pytest.approx(2 / 10)
    assert np.isnan(engine.overlap(None, truth)) and np.isnan(engine.overlap(found, None))


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


def test_a_method_is_shown_where_it_gains_and_where_it_loses_most():
    base, ours = configurations.BASELINE, configurations.OURS
    rows = []
    for item, success, soft, alike in (  # a, b: both succeed; c, e: the baseline alone
        ("a", 1.0, 0.9, 0.2), ("b", 1.0, 0.8, 0.1), ("c", 0.0, 0.1, 0.9), ("e", 0.0, 0.3, 0.9),
    ):  # fmt: skip
        for name, done, likely, gain in ((base, 1.0, 1.0, 0.0), (ours, success, soft, alike)):
            scores = dict(success=done, success_soft=likely, ssim_source_outside_excess=gain)
            rows.append(row(name, item, 0, 0.1) | scores)
    items = {
        name: EditItem(EditRecord(source_file_name="a.png", instruction="x", id=name), Path("."))
        for name in "abcde"
    }
    table = pd.DataFrame(rows)
    for given, best, worst in (
        ("abce", "a", "c"),
        ("ab", "a", "b"),
        ("ce", "c", "c"),
        ("d", "d", "d"),
    ):
        found = methods.extremes(table, ours, [items[name] for name in given])
        assert [item.id for item in found] == [best, worst]


def test_kinds_are_told_apart_and_the_truth_stands_beside():
    ours = configurations.OURS
    rows = [
        row(name, f"{kind}{n}", n, 0.1, edit_type=kind)
        for name in (configurations.BASELINE, ours)
        for kind in ("add", "remove")
        for n in (0, 1)
    ]
    rows.append(row(ours, "add0", 1, 0.0, told=True))
    found = methods.by_kind(pd.DataFrame(rows), [ours])
    assert found.loc[("edit success", ours), "add"] == 0.5
    assert found.loc[("edit success", f"{ours}, given the region"), "add"] == 1
    assert np.isnan(found.loc[("edit success", f"{ours}, given the region"), "remove"])


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
