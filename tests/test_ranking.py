"""Ranks by hand, the critical difference by the paper's own example, the test by scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cirp.experiments import aims, configurations, frontiers
from cirp.statistics.bootstrap import by_image
from cirp.statistics.ranking import rank


def test_ranks_by_hand_with_a_tie():
    values = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 2.0], "c": [3.0, 9.0]})
    low = rank(values, higher_is_better=False)
    assert low.ranks.to_dict() == {"a": 1.25, "b": 1.75, "c": 3.0}
    assert list(rank(values, higher_is_better=True).ranks.index) == ["c", "b", "a"]


def test_the_critical_difference_is_that_of_the_papers_example():
    """Demšar 2006, section 3.2.2: four classifiers on 14 data sets have 1.25."""
    rng = np.random.default_rng(0)
    found = rank(pd.DataFrame(rng.random((14, 4)), columns=list("abcd")), higher_is_better=True)
    assert found.critical == pytest.approx(1.25, abs=0.01)


def test_friedmans_p_and_undefined_images():
    rng = np.random.default_rng(1)
    values = pd.DataFrame(rng.random((12, 3)), columns=list("abc"))
    values.loc[3, "b"] = np.nan
    found = rank(values, higher_is_better=False)
    assert (found.n, found.dropped) == (11, 1)
    kept = values.dropna()
    assert found.p == pytest.approx(stats.friedmanchisquare(*kept.to_numpy().T).pvalue)
    assert rank(kept * 0, higher_is_better=False).p == 1.0
    with pytest.raises(ValueError, match="2 methods on 12 images"):
        rank(values[["a", "c"]], higher_is_better=False)


def test_a_clear_winner_is_told_apart_and_twins_are_not():
    rng = np.random.default_rng(2)
    same = rng.random(200)
    values = pd.DataFrame({"winner": same - 1, "x": same, "y": rng.random(200)})
    found = rank(values, higher_is_better=False)
    assert not found.together("winner", "x") and found.together("x", "y")


BASE, TRUTH, OURS = configurations.BASELINE, configurations.TRUTH, configurations.OURS


def rows(method, success, outside, iou=np.nan):
    return [
        {"method": method, "id": f"i{n}", "seed": 0, "success": s, "region_iou": iou,
         "l1_source_outside_excess": o}
        for n, (s, o) in enumerate(zip(success, outside, strict=True))
    ]  # fmt: skip


def example(rival_outside: float) -> pd.DataFrame:
    n = np.linspace(0, 0.01, 20)
    done = [1.0, 0.0] * 10
    return pd.DataFrame(
        rows(BASE, done, 0.10 + n)
        + rows(TRUTH, done, 0.02 + n)
        + rows(OURS, done, 0.04 + n, iou=0.6)
        + rows("rival", done, rival_outside + n)
        + rows("lazy", [0.0] * 20, 0.0 + n)
    )


def test_the_way_closed_is_the_ratio_of_the_means():
    outside = by_image(example(0.05), "l1_source_outside_excess")
    found = aims.closed(outside[BASE], outside[OURS], outside[TRUTH])
    assert found.mean == pytest.approx(0.75) and found.low <= 0.75 <= found.high
    assert aims.closed(outside[BASE], outside[TRUTH], outside[TRUTH]).mean == pytest.approx(1.0)
    assert aims.closed(outside[BASE], outside[BASE], outside[TRUTH]).mean == pytest.approx(0.0)


def test_doing_nothing_is_no_win_and_a_quieter_equal_is():
    worse = aims.rivals(example(0.05)).set_index("method")
    assert not worse.loc["rival", "beats"] and not worse.loc["lazy", "beats"]
    better = aims.rivals(example(0.03)).set_index("method")
    assert better.loc["rival", "beats"] and better.loc["rival", "outside"].mean == pytest.approx(
        -0.01
    )


def planned(rival_outside: float) -> pd.DataFrame:
    """The same as a table of frontiers: every method at one point, ours also told the region."""
    table = example(rival_outside).assign(told=False, pasted=False, edit_type="add")
    shown = {c.label: c.columns["point"] for c in frontiers.shown() if not c.columns["told"]}
    table["method"] = table["method"].replace({"rival": "DiffEdit", "lazy": "LIME"})
    told = table[table["method"] == TRUTH].assign(method=OURS, told=True)
    table = pd.concat([table[table["method"] != TRUTH], told], ignore_index=True)
    return table.assign(point=table["method"].map(shown).fillna(configurations.SHOWN).astype(int))


def test_the_verdict_says_what_was_wanted_and_whether_it_was_met():
    costs = pd.DataFrame(
        {"method": [BASE, OURS], "batch": [1, 1], "time_over_baseline": [1.0, 1.5]}
    )
    found = aims.evaluate(planned(0.03), costs).set_index("aim")
    assert list(found["verdict"]) == ["met", "missed", "missed", "missed", "missed"]
    assert found.iloc[4]["reached"] == "DiffEdit"
    quick = costs.assign(time_over_baseline=0.9)
    better = aims.evaluate(planned(0.05), quick)
    assert list(better["verdict"]) == ["met", "missed", "missed", "met", "met"]
