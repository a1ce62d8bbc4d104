"""remap against the baseline and the best rival on edits that nothing was chosen on.

Scales, thresholds and designs were chosen on validation edits. These edits were looked at once,
for the design of remap that is here. Each method runs on them at the one setting that it is shown
at, and remap once more with the true region. What is asked of them stands in `plan.toml`.
"""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from cirp.data.edits import EditItem
from cirp.experiments import aims, configurations, frontiers, records
from cirp.experiments.drawn import load_miniature_edits, local_edits
from cirp.experiments.engine import Cell, Experiment, planned
from cirp.experiments.plan import plan
from cirp.figures.sentences import judged
from cirp.metrics.scores import VERDICTS
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, by_image, compare, mean_of

COMPARED = tuple(plan().confirmation.methods)
OTHERS = tuple(name for name in COMPARED if name != configurations.OURS)
COLUMNS = (
    "id", "edit_type", "method", "point", "told", *records.PROVENANCE, "success", "success_soft",
    *VERDICTS, "answer_distance", "answer_iou", PRIMARY, "region_iou", "abstained",
    "unet_calls", "seconds",
)  # fmt: skip


def cells(steps: int = configurations.STEPS) -> list[Cell]:
    """Return the settings that are shown elsewhere; with the true region, only remap's.

    With the true region it runs on a quarter of the edits: what is asked of that is a ratio, which
    those tell well enough.
    """
    return [
        replace(cell, in_slice=True, items=a_quarter if cell.columns["told"] else cell.items)
        for cell in frontiers.shown(steps)
        if cell.label in COMPARED
        and (cell.label == configurations.OURS or not cell.columns["told"])
    ]


def a_quarter(items: Iterable[EditItem]) -> list[EditItem]:
    """Return every fourth block of eight edits, in which each kind is once."""
    return [item for item in items if int(item.id.rsplit("-", 1)[-1]) // 8 % 4 == 1]


def sample() -> list[EditItem]:
    """Return two of the edits, without drawing all of them."""
    return local_edits(load_miniature_edits("test", 8, first=plan().splits.confirmation.first))[:2]


EXPERIMENT = Experiment(
    "confirmation",
    cells,
    planned("confirmation", local=True),
    columns=COLUMNS,
    checked=("success", "success_soft", "answer_distance", "answer_iou", PRIMARY),
    sample=sample,
)


def evaluate(table: pd.DataFrame, ours: str = configurations.OURS) -> pd.DataFrame:
    """One row per question of the plan: the interval, and what it says."""
    own = table[~table["told"]]
    told = by_image(table[table["told"]], PRIMARY)
    outside = by_image(own, PRIMARY)
    margins = plan().margins
    rows = []
    for other in OTHERS:
        done, change = (compare(own, ours, other, metric) for metric in (SUCCESS, PRIMARY))
        rows += [
            _row(f"edit success minus that of {other}", done, -margins.success, spec="+.3f"),
            _row(f"outside change minus that of {other}", change, 0.0, at_most=True, spec="+.4f"),
        ]
    way = aims.closed(outside[configurations.BASELINE], outside[ours], told[ours])
    rows += [
        _row("share of the way to its own oracle's outside change", way, margins.closed),
        _row(
            "overlap of its region with the true one (IoU)",
            mean_of(own, ours, "region_iou"), margins.region_iou,
        ),
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _row(asked: str, found, wanted: float, *, at_most: bool = False, spec: str = ".3f") -> dict:
    return {"asked": asked, **judged(found, wanted, spec, at_most=at_most)}
