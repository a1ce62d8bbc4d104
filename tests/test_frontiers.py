"""Dials: as many points for all, valid settings, and a summary that knows better from worse."""

import numpy as np
import pandas as pd
import pytest

from cirp.experiments import cache, frontiers
from cirp.experiments.configurations import BASELINE
from cirp.statistics.bootstrap import PRIMARY


def test_every_method_has_as_many_different_points_as_the_baseline():
    found = frontiers.dials()
    assert {len(dial) for dial in found.values()} == {len(frontiers.SCALES)}
    for name, dial in found.items():
        settings = [str(sorted(cache.completed(*one).items())) for one in dial]
        assert len(set(settings)) == len(settings), name


def drawn(rng, rates, outsides, method, count=300):
    parts = []
    for point, (rate, outside) in enumerate(zip(rates, outsides, strict=True)):
        parts.append(
            pd.DataFrame(
                {
                    "id": [f"e{i}" for i in range(count)],
                    "method": method,
                    "point": point,
                    "success": (rng.random(count) < rate).astype(float),
                    PRIMARY: outside + 0.002 * rng.standard_normal(count),
                }
            )
        )
    return pd.concat(parts)


def test_the_summary_finds_the_better_method_and_no_difference_where_there_is_none():
    rng = np.random.default_rng(0)
    base = drawn(rng, (0.4, 0.8), (0.01, 0.04), BASELINE)
    same = base.assign(method="same")
    calm = base.assign(method="calm", **{PRIMARY: base[PRIMARY] / 2})
    found = frontiers.summary(pd.concat([base, same, calm]), resamples=200).set_index("method")
    assert found.loc["same", "area - baseline"] == 0
    assert found.loc["calm", "area - baseline, low"] > 0
    assert found.loc["calm", "outside at level - baseline, high"] < 0
    assert found.loc["calm", "outside at level"] == pytest.approx(
        found.loc[BASELINE, "outside at level"] / 2
    )
    assert found.loc["same", "most success"] == found.loc[BASELINE, "most success"]


def test_seeds_of_an_image_are_averaged():
    rng = np.random.default_rng(0)
    one = drawn(rng, (0.5,), (0.01,), "a", count=4).assign(seed=0)
    two = one.assign(seed=1, success=1 - one["success"])
    success, outside = frontiers.values(pd.concat([one, two]), "a")
    assert (success == 0.5).all() and success.shape == outside.shape == (1, 4)
