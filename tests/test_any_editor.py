"""Moves are measured against what was moved; the repair's rows are those of `keep`."""

import numpy as np
import pandas as pd
import pytest

from cirp.chapters import any_editor as chapter
from cirp.data.edits import load_edits
from cirp.experiments import any_editor, cache, configurations
from cirp.experiments.any_editor import OUTSIDE
from cirp.experiments.drawn import local_edits
from cirp.experiments.engine import Cell, Job
from cirp.figures.sentences import verdict
from cirp.metrics.repair import keep
from tests.conftest import Blank


@pytest.fixture
def job(models, items):
    some = local_edits(items)
    return Job(models, Blank(), some, some)


def test_a_move_that_was_made_is_what_the_error_is_measured_against(models):
    some = local_edits(load_edits("data/edits", 8))
    job = Job(models, None, some, some)
    rows = {
        name: any_editor.measure_moves(job, Cell(name, "nothing"))
        for name in ("not moved", "shifted by 3 and -2")
    }
    assert (rows["not moved"]["answered"] == 0).all() and rows["not moved"]["off"].isna().all()
    moved = rows["shifted by 3 and -2"]
    assert len(moved) == len(job.items)
    assert (moved["answered"] == 1).any() and moved["off"].median() < 0.5


def test_rows_are_of_the_outputs_and_of_what_keep_leaves(job):
    rows = any_editor.measure_repair(job, Cell("x", "ip2p", {"steps": 1}))
    before, after = (rows[rows["kept"] == kept].set_index("id") for kept in (False, True))
    made = cache.edits(job.models, job.items, "ip2p", settings={"steps": 1}, progress=False)
    assert len(before) == len(after) == len(job.items)
    for item, one in zip(job.items, made, strict=True):
        change = np.abs(np.asarray(one.image, float) - np.asarray(item.source(), float)) / 255
        assert before.loc[item.id, "l1_source"] == pytest.approx(change.mean(), abs=1e-6)
        truth = item.mask()
        try:
            kept = keep(item.source(), one.image)
        except ValueError:
            assert before.loc[item.id, "refused"]
            assert after.loc[item.id, "l1_source"] == before.loc[item.id, "l1_source"]
        else:
            assert not before.loc[item.id, "refused"]
            if truth is not None:
                iou = (kept.region & truth).sum() / (kept.region | truth).sum()
                assert before.loc[item.id, "region_iou"] == pytest.approx(iou)
            away = np.asarray(kept.image, float) - np.asarray(item.source(), float)
            assert after.loc[item.id, "l1_source"] == pytest.approx(np.abs(away).mean() / 255)


def made_up(after, success_after, count=400):
    rng = np.random.default_rng(0)
    rows = []
    for n in range(count):
        wobble = 1e-3 * rng.normal()
        for kept, outside, share in ((False, 0.02, 0.8), (True, after, success_after)):
            rows.append({
                "id": f"e{n}", "method": configurations.BASELINE, "seed": 0, "kept": kept,
                OUTSIDE: outside + wobble * outside, "success": float(n % 100 < 100 * share),
                "outside_of_found": 0.8 * outside + wobble * outside, "region_iou": 0.7,
                "refused": False,
            })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("after", "share", "verdicts"),
    [(0.001, 0.8, ["met", "met"]), (0.01, 0.5, ["missed", "missed"])],
)
def test_what_was_asked_follows_the_interval(after, share, verdicts):
    table = made_up(after, share)
    asked = chapter.wanted(table)
    assert asked["verdict"].tolist() == verdicts
    gone = chapter.removed(table, configurations.BASELINE)
    assert gone.mean == pytest.approx(1 - after / 0.02)
    assert verdict(gone.low, gone.high, chapter.FALLS) == verdicts[0]
    said = chapter.finding(table)
    assert f"removes {gone.mean:.0%}" in said.data
    assert ("as often" if share == 0.8 else "less often") in said.data


def test_agreement_says_by_how_much_a_found_region_is_too_kind():
    rows = chapter.agreement(made_up(0.001, 0.8))["value [95 %]"]
    assert rows["difference"].startswith("\u22120.0040")
    assert rows["rank correlation of both"].startswith("1.000")
    table = chapter.by_method(made_up(0.001, 0.8))
    assert table.loc[configurations.BASELINE, "outside before"] == "0.0200"
    assert table.loc[configurations.BASELINE, "outside after"] == "0.0010"
