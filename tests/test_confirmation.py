"""What the unseen edits are asked, and that the answer follows the interval."""

import numpy as np
import pandas as pd
import pytest

from cirp.chapters import frontiers as chapter
from cirp.experiments import configurations, confirmation, engine
from cirp.experiments.plan import plan


def table(success, outside, count=200, told=0.002):
    """Rows of made-up edits: a mean success and outside change for each method."""
    rng = np.random.default_rng(0)
    wobble = 1e-3 * rng.normal(size=count)
    rows = []
    for method in confirmation.COMPARED:
        for n in range(count):
            own = {"id": f"e{n}", "edit_type": "add", "method": method, "seed": 0}
            row = own | {
                "told": False, "region_iou": 0.75 + wobble[n],
                "success": float(n % 100 < 100 * success[method]),
                "l1_source_outside_excess": outside[method] + wobble[n],
            }  # fmt: skip
            rows.append(row)
            if method == configurations.OURS:
                rows.append(row | {"told": True, "l1_source_outside_excess": told + wobble[n]})
    return pd.DataFrame(rows)


def both(base, ours):
    return dict.fromkeys(confirmation.OTHERS, base) | {configurations.OURS: ours}


def test_each_method_runs_at_the_setting_it_is_shown_at_and_only_ours_is_told():
    cells = list(confirmation.cells())
    told = [cell for cell in cells if cell.columns["told"]]
    assert [cell.label for cell in told] == [configurations.OURS]
    assert {cell.label for cell in cells} == set(confirmation.COMPARED) and len(cells) == 6
    shown = configurations.automatic() | configurations.shared()
    assert all((c.method, c.settings) == shown[c.label] for c in cells if not c.columns["told"])


def test_the_edits_are_the_planned_ones_and_local(monkeypatch):
    drawn = []
    monkeypatch.setattr(engine, "load_miniature_edits", lambda *a, **k: drawn.append((a, k)) or [])
    assert confirmation.EXPERIMENT.items() == []
    split = plan().splits.confirmation
    assert drawn == [(("test", split.count), {"first": split.first})]


def test_less_change_at_equal_success_is_confirmed():
    rows = table(both(0.8, 0.8), both(0.02, 0.004))
    asked = confirmation.evaluate(rows).set_index("asked")
    assert (asked["verdict"] == "met").all()
    # from .02 to .004, and .002 if told: 16 of 18
    closed = asked.loc["share of the way to its own oracle's outside change", "reached"]
    assert closed.startswith("0.889")
    said = chapter.confirmed(rows).data
    assert "changes less outside" in said and "keeps the edit" in said


@pytest.mark.parametrize(
    ("ours", "verdict", "words"),
    [(0.5, "missed", "loses edits"), (0.78, "open", "may lose edits")],
)
def test_fewer_successes_are_said(ours, verdict, words):
    rows = table(both(0.8, ours), both(0.02, 0.03))
    asked = confirmation.evaluate(rows).set_index("asked")["verdict"]
    assert asked[f"edit success minus that of {configurations.BASELINE}"] == verdict
    assert asked[f"outside change minus that of {configurations.BASELINE}"] == "missed"
    assert words in chapter.confirmed(rows).data
