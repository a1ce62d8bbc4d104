"""remap against the baseline and the best rival on edits that nothing was chosen on.

Scales, thresholds and designs were chosen on validation edits, and the test edits have been looked
at since, more than once. These local edits were not: each method runs on them at the one setting
that it is shown at, and remap once more with the true region. What is asked of them stands in
`plan.toml`, from before they were drawn.
"""

from dataclasses import replace

import pandas as pd

from cirp.experiments import aims, configurations, frontiers
from cirp.experiments.engine import Cell, planned
from cirp.experiments.plan import plan
from cirp.figures.sentences import judged
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, by_image, mean_interval, paired_interval

ASKED = tuple(plan().confirmation.methods)
(RIVAL,) = set(ASKED) - {configurations.BASELINE, configurations.OURS}


def cells(steps: int = configurations.STEPS) -> list[Cell]:
    """Return the settings that are shown elsewhere; with the true region, only remap's."""
    return [
        replace(cell, in_slice=True)
        for cell in frontiers.shown(steps)
        if cell.label in ASKED and (cell.label == configurations.OURS or not cell.columns["told"])
    ]


EXPERIMENT = replace(
    frontiers.EXPERIMENT,
    name="confirmation",
    cells=cells,
    items=planned("confirmation", local=True),
)


def reached(table: pd.DataFrame, ours: str = configurations.OURS) -> pd.DataFrame:
    """One row per question of the plan: the interval, and what it says."""
    own = table[~table["told"] & ~table["pasted"]]
    told = by_image(table[table["told"] & ~table["pasted"]], PRIMARY)
    success, outside = by_image(own, SUCCESS), by_image(own, PRIMARY)
    margins = plan().margins
    rows = []
    for other in (configurations.BASELINE, RIVAL):
        done = _paired(success, ours, other)
        change = _paired(outside, ours, other)
        rows += [
            _row(f"edit success minus that of {other}", done, -margins.success),
            _row(f"outside change minus that of {other}", change, 0.0, at_most=True, digits=4),
        ]
    way = aims.closed(outside[configurations.BASELINE], outside[ours], told[ours])
    rows += [
        _row("share of the way to its own oracle's outside change", way, margins.closed),
        _row(
            "overlap of its region with the true one (IoU)",
            mean_interval(by_image(own, "region_iou")[ours].to_numpy(float)), margins.region_iou,
        ),
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _paired(wide: pd.DataFrame, ours: str, other: str):
    return paired_interval(wide[ours].to_numpy(float), wide[other].to_numpy(float))


def _row(asked: str, found, wanted: float, *, at_most: bool = False, digits: int = 3) -> dict:
    return {
        "asked": asked,
        **judged(found[:3], wanted, at_most=at_most, digits=digits, signed="minus" in asked),
    }
