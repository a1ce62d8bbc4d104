"""Dials: as many points for all, valid settings, and a summary that knows better from worse."""

import numpy as np
import pandas as pd
import pytest

from cirp.chapters import frontiers as chapter
from cirp.experiments import configurations, dials, frontiers
from cirp.experiments.configurations import BASELINE, OURS
from cirp.statistics.bootstrap import PRIMARY


def test_each_method_is_shown_at_one_point_and_the_plane_holds_the_dial():
    shown = [c for c in frontiers.shown() if not c.columns["told"]]
    for label in configurations.dials():
        (own,) = [c for c in shown if c.label == label]
        assert own.items is list, label  # of edits of the whole picture, too
        assert (own.method, own.settings) == configurations.automatic()[label]
    plane = [c for c in frontiers.cells() if c.label == BASELINE]
    assert len(plane) == 16
    scales = {(c.settings["text_scale"], c.settings["image_scale"]) for c in plane}
    assert set(configurations.SCALES) <= scales


def test_pasted_rows_stand_in_only_for_methods_that_have_them():
    rows = [
        dict(id="a", edit_type="add", method=m, point=0, told=False, pasted=p, success=s)
        for m, p, s in (("x", False, 0), ("x", True, 1), ("y", False, 2))
    ]
    table = pd.DataFrame(rows)
    assert frontiers.local(table)["success"].tolist() == [0, 2]
    assert frontiers.local(table, pasted=True)["success"].tolist() == [1, 2]


def drawn(rng, rates, outsides, method, count=300):
    parts = []
    for point, (rate, outside) in enumerate(zip(rates, outsides, strict=True)):
        parts.append(
            pd.DataFrame(
                {
                    "id": [f"e{i}" for i in range(count)],
                    "method": method,
                    "point": point,
                    "edit_type": "add",
                    "told": False,
                    "pasted": False,
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
    assert found.loc["same", "area - baseline"].mean == 0
    assert found.loc["calm", "area - baseline"].low > 0
    assert found.loc["calm", "outside at level - baseline"].high < 0
    assert found.loc["calm", "outside at level"].mean == pytest.approx(
        found.loc[BASELINE, "outside at level"].mean / 2
    )
    assert found.loc["same", "most success"].mean == found.loc[BASELINE, "most success"].mean


def test_remap_is_told_apart_from_each_rival_and_from_none_that_is_the_same():
    rng = np.random.default_rng(0)
    base = drawn(rng, (0.4, 0.8), (0.01, 0.04), BASELINE)
    calm = base.assign(method=OURS, **{PRIMARY: base[PRIMARY] / 2})
    same, best = calm.assign(method="same"), calm.assign(method="a, b", **{PRIMARY: 0.0})
    table = pd.concat([base, calm, same, best])
    found = dials.apart(table, (BASELINE, "same", "a, b"), resamples=200)
    assert found.loc[BASELINE, "area"].low > 0 > found.loc[BASELINE, "outside at level"].high
    assert all(found.loc["same"].map(lambda one: one.mean == one.low == one.high == 0))
    assert found.loc["a, b", "area"].high < 0 < found.loc["a, b", "outside at level"].low
    said = chapter._against(dict(found["area"]))
    assert said.startswith("It is larger than that of InstructPix2Pix; smaller than that of “a, b”")
    assert said.endswith("not significantly different from that of same.")


def test_the_dials_of_the_many_edits_are_those_of_the_few():
    few = {
        (c.label, c.columns["point"]): c.settings
        for c in frontiers.cells()
        if not c.columns["told"]
    }
    for cell in dials.cells():
        if cell.label not in (BASELINE, BASELINE + configurations.PASTED):
            assert cell.settings == few[cell.label, cell.columns["point"]]
    shown = [c for c in dials.cells() if c.in_slice]
    assert len(shown) == 3 and len({(c.label, c.columns["point"]) for c in dials.cells()}) == 42


def test_seeds_of_an_image_are_averaged():
    rng = np.random.default_rng(0)
    one = drawn(rng, (0.5,), (0.01,), "a", count=4).assign(seed=0)
    two = one.assign(seed=1, success=1 - one["success"])
    success, outside = frontiers.values(pd.concat([one, two]), "a")
    assert (success == 0.5).all() and success.shape == outside.shape == (1, 4)
