"""Correlations are scipy's and the textbook's; traces are shares."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from cirp.data.edits import load_edits
from cirp.editing.masks import given
from cirp.experiments import cache, configurations, traces
from cirp.experiments.engine import Cell, Job

CELL = Cell("baseline", "ip2p", {"steps": 2, "text_scale": 2.5})


def test_partial_correlation_is_that_of_the_residuals():
    rng = np.random.default_rng(0)
    z = rng.normal(size=200)
    x, y = z + rng.normal(size=200), z + rng.normal(size=200)
    ranks = [stats.rankdata(v) for v in (x, y, z)]
    rest = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    expected = np.corrcoef(*rest)[0, 1]
    assert traces.partial_correlation(x, y, z) == pytest.approx(expected, abs=1e-9)
    assert abs(expected) < 0.2 < traces.rank_correlation(x, y)


def test_a_trace_that_makes_the_change_correlates_and_noise_does_not():
    rng = np.random.default_rng(1)
    n = 60
    found = pd.DataFrame({"id": [f"i{k}" for k in range(n)]})
    for name in traces.TRACES:
        found[name] = rng.random(n)
    change = found["guidance outside"] ** 3
    table = pd.DataFrame(
        {"id": found["id"], "method": configurations.BASELINE, "l1_source_outside_excess": change}
    )
    rows = traces.correlations(found, table, resamples=200).set_index("trace")
    made = rows.loc[traces.TRACES["guidance outside"]]
    assert made["spearman"].mean == pytest.approx(1.0) and made["n"] == n
    noise = rows.loc[traces.TRACES["attention outside"]]
    assert noise["spearman"].low < 0 < noise["spearman"].high
    assert np.isnan(traces.rank_correlation(np.ones(4), np.arange(4.0)))


def test_traces_tell_outside_from_inside(models, monkeypatch):
    """Attention all inside, change all outside, on a mask of a known area."""
    items = load_edits("data/edits")
    local = [item for item in items if not item.record.is_global][:3]

    def seen(models, tasks, start, **_):
        inside = given(tasks, start.grid)
        return SimpleNamespace(words=lambda: inside, change=3.0 * (1 - inside))

    monkeypatch.setattr(traces, "look", seen)
    fitted = cache.fitted(local, models)
    found = traces.measure(Job(models, None, fitted), CELL)
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

    monkeypatch.setattr(traces, "look", even)
    found = traces.measure(Job(models, None, items), CELL)
    for name in ("attention outside", "guidance outside"):
        np.testing.assert_allclose(found[name], found["area outside"], rtol=1e-6)
