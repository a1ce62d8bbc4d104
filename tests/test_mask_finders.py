"""Overlaps worked out by hand; uninformative guesses of the true area."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from cirp.chapters import frontiers as chapter
from cirp.data.edits import load_edits
from cirp.experiments import configurations, frontiers, mask_finders
from cirp.experiments.drawn import local_edits
from cirp.experiments.engine import Job
from cirp.experiments.mask_finders import CENTRE, GRID, RANDOM, WHOLE
from cirp.miniature import export


def test_guesses_have_the_true_area_and_sit_where_they_say():
    truth = np.zeros((8, 8), bool)
    truth[0, :4] = True
    found = mask_finders.guesses(truth, seed=0)
    assert found[WHOLE].all()
    assert found[CENTRE].sum() == found[RANDOM].sum() == 4
    assert found[CENTRE][3:5, 3:5].all()
    assert not np.array_equal(found[RANDOM], mask_finders.guesses(truth, seed=1)[RANDOM])


def test_overlaps_of_guesses_on_drawn_edits(models, tmp_path):
    local = local_edits(load_edits(export.drawn("test", 8, work=tmp_path)))
    assert 0 < len(local) < 8
    job = Job(models, None, local)
    rows = mask_finders.EXPERIMENT.rows(job, mask_finders.EXPERIMENT.cells(0))
    whole = rows[rows["method"] == WHOLE].set_index("id")["region_iou"]
    for item in local:  # of everything, the overlap is the true mask's share of the area
        assert whole[item.id] == pytest.approx(item.mask().mean())


def recorded():
    shown = {c.label: c.columns["point"] for c in frontiers.shown() if not c.columns["told"]}
    rows = []
    for n, (ours, lime) in enumerate([(0.6, 0.2), (0.4, 0.2), (0.9, 0.9)]):
        kind = ("add", "remove", "restyle")[n]
        for method, iou, told in (
            (configurations.OURS, ours, False), ("LIME", lime, False),
            (configurations.BASELINE, np.nan, False), (configurations.TRUTH, 0.8, True),
            (configurations.OURS, 0.8, True), ("do nothing", np.nan, False),
        ):  # fmt: skip
            rows.append(
                dict(id=f"i{n}", edit_type=kind, method=method, seed=0, region_iou=iou, told=told,
                     pasted=False, point=shown.get(method, configurations.SHOWN))
            )  # fmt: skip
    guesses = [
        dict(id=f"i{n}", method=name, seed=0, region_iou=0.1) for n in (0, 1)
        for name in (WHOLE, CENTRE, RANDOM)
    ]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(guesses)


def test_the_board_counts_local_edits_and_orders_by_their_mean():
    ranked = mask_finders.board(*recorded())
    assert ranked["method"].tolist()[:3] == [GRID, configurations.OURS, "LIME"]
    assert set(ranked["method"][3:]) == {WHOLE, CENTRE, RANDOM}
    means = ranked.set_index("method")["IoU"]
    assert means[configurations.OURS] == pytest.approx(0.5)  # the global edit's 0.9 does not count
    assert means["LIME"] == pytest.approx(0.2) and means[GRID] == pytest.approx(0.8)
    assert set(ranked.loc[ranked["kind"] == "uninformative", "method"]) == {WHOLE, CENTRE, RANDOM}
    ax = chapter.finders_figure(ranked).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ranked["method"].tolist()
    plt.close("all")


def test_overlap_by_kind_of_edit():
    found = mask_finders.by_kind(*recorded(), ["LIME", configurations.OURS])
    assert found.columns.tolist() == ["LIME", configurations.OURS, WHOLE]
    assert found.loc["add"].tolist() == pytest.approx([0.2, 0.6, 0.1])
    assert "restyle" not in found.index
