"""Correlations are scipy's and the textbook's; traces are shares."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from cirp.data.edits import load_edits
from cirp.editing.masks import given
from cirp.experiments import cache, configurations, gates


def test_partial_correlation_is_that_of_the_residuals():
    rng = np.random.default_rng(0)
    z = rng.normal(size=200)
    x, y = z + rng.normal(size=200), z + rng.normal(size=200)
    ranks = [stats.rankdata(v) for v in (x, y, z)]
    rest = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    expected = np.corrcoef(*rest)[0, 1]
    assert gates.partial_correlation(x, y, z) == pytest.approx(expected, abs=1e-9)
    assert abs(expected) < 0.2 < gates.rank_correlation(x, y)


def test_a_trace_that_makes_the_change_correlates_and_noise_does_not():
    rng = np.random.default_rng(1)
    n = 60
    found = pd.DataFrame({"id": [f"i{k}" for k in range(n)]})
    for name in gates.TRACES:
        found[name] = rng.random(n)
    change = found["guidance outside"] ** 3
    table = pd.DataFrame(
        {"id": found["id"], "method": configurations.BASELINE, "l1_source_outside_excess": change}
    )
    rows = gates.correlations(found, table, resamples=200).set_index("trace")
    made = rows.loc[gates.TRACES["guidance outside"]]
    assert made["spearman"] == pytest.approx(1.0) and made["n"] == n
    noise = rows.loc[gates.TRACES["attention outside"]]
    assert noise["low"] < 0 < noise["high"]
    assert np.isnan(gates.rank_correlation(np.ones(4), np.arange(4.0)))


def test_interventions_are_paired_with_the_first_gate():
    rows = []
    for n in range(30):
        for method, done, change in (
            ("plain", n % 2, 0.2 + 0.01 * n),
            ("gated", 0, 0.1 + 0.01 * n),
        ):
            rows.append(dict(id=f"i{n}", method=method, seed=0, success=done,
                             l1_source_outside_excess=change))  # fmt: skip
    found = gates.interventions(pd.DataFrame(rows), {"plain": "none", "gated": "by truth"})
    found = found.set_index("text guidance")
    assert found.loc["none", "edit success"] == "0.500"
    assert found.loc["none", "edit success - not gated"] == ""
    assert found.loc["by truth", "excess outside change - not gated"].startswith("-0.100 [-0.100")
    assert found.loc["by truth", "edit success - not gated"].startswith("-0.500 [")


def test_traces_tell_outside_from_inside(models, monkeypatch):
    """Attention all inside, change all outside, on a mask of a known area."""
    items = load_edits("data/edits")
    local = [item for item in items if not item.record.is_global][:3]

    def seen(models, tasks, start, **_):
        inside = given(tasks, start.grid)
        return SimpleNamespace(words=lambda: inside, change=3.0 * (1 - inside))

    monkeypatch.setattr(gates, "look", seen)
    fitted = cache.fitted(local, models)
    found = gates.traces(models, fitted, seed=0, steps=2)
    assert found["id"].tolist() == [item.id for item in local]
    np.testing.assert_allclose(found["attention outside"], 0.0)
    np.testing.assert_allclose(found["guidance outside"], 1.0)
    np.testing.assert_allclose(found["mean |guidance| outside"], 3.0)
    for item, area in zip(fitted, found["area outside"], strict=True):
        grid = given([cache.task(item, 0)], (16, 16))
        assert area == pytest.approx(1 - grid.mean().item())


def test_an_even_map_has_the_outsides_share_of_area(models, monkeypatch):
    items = [i for i in load_edits("data/edits") if not i.record.is_global][:2]

    def even(models, tasks, start, **_):
        ones = torch.ones(len(tasks), *start.grid)
        return SimpleNamespace(words=lambda: ones, change=ones)

    monkeypatch.setattr(gates, "look", even)
    found = gates.traces(models, cache.fitted(items, models), seed=0, steps=2)
    for name in ("attention outside", "guidance outside"):
        np.testing.assert_allclose(found[name], found["area outside"], rtol=1e-6)
