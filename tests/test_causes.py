"""Correlations are scipy's and the textbook's; traces are shares."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cirp import causes, contenders


def test_partial_correlation_is_that_of_the_residuals():
    rng = np.random.default_rng(0)
    z = rng.normal(size=200)
    x, y = z + rng.normal(size=200), z + rng.normal(size=200)
    ranks = [stats.rankdata(v) for v in (x, y, z)]
    rest = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    expected = np.corrcoef(*rest)[0, 1]
    assert causes.partial_correlation(x, y, z) == pytest.approx(expected, abs=1e-9)
    assert abs(expected) < 0.2 < causes.rank_correlation(x, y)


def test_a_trace_that_makes_the_change_correlates_and_noise_does_not():
    rng = np.random.default_rng(1)
    n = 60
    found = pd.DataFrame({"id": [f"i{k}" for k in range(n)]})
    for name in causes.TRACES:
        found[name] = rng.random(n)
    change = found["guidance outside"] ** 3
    table = pd.DataFrame(
        {"id": found["id"], "method": contenders.BASELINE, "l1_source_outside_excess": change}
    )
    rows = causes.correlations(found, table, resamples=200).set_index("trace")
    made = rows.loc[causes.TRACES["guidance outside"]]
    assert made["spearman"] == pytest.approx(1.0) and made["n"] == n
    noise = rows.loc[causes.TRACES["attention outside"]]
    assert noise["low"] < 0 < noise["high"]
    assert np.isnan(causes.rank_correlation(np.ones(4), np.arange(4.0)))
