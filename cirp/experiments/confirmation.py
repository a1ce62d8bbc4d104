"""remap against the baseline and the best rival on edits that nothing was chosen on.

Scales, thresholds and designs were chosen on validation edits, and the test edits have been looked
at since, more than once. These local edits were not: each method runs on them at the one setting
that it is shown at, and remap once more with the true region. What is asked of them stands in
`plan.toml`, from before they were drawn.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import aims, configurations, frontiers
from cirp.experiments.drawn import load_drawn, local_edits
from cirp.experiments.plan import plan
from cirp.figures.sentences import judged
from cirp.metrics.features import FeatureExtractor
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, by_image, mean_interval, paired_interval

ASKED = tuple(plan().confirmation.methods)
(RIVAL,) = set(ASKED) - {configurations.BASELINE, configurations.OURS}


def cells() -> Iterator[frontiers.Cell]:
    """The settings that are shown elsewhere; of the true region only remap's."""
    for cell in frontiers.cells():
        told = cell.told and cell.label != configurations.OURS
        if cell.shown and cell.label in ASKED and not told:
            yield cell


def items() -> list[EditItem]:
    """The planned local edits; drawn if need be."""
    split = plan().splits.confirmation
    return local_edits(load_drawn("test", split.count, first=split.first))


def fill(models: Models, items: Sequence[EditItem], chosen: Sequence[int]) -> None:
    """Compute and keep every edit of the chosen items."""
    frontiers.fill_with(models, [items[i] for i in chosen], cells())


def measured(
    models: Models, items: Sequence[EditItem], chosen: Sequence[int], features: FeatureExtractor,
    *, shown: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """One row per edit, method, and whether told the true region; a slice is of few items alone."""
    return frontiers.rows_of(models, [items[i] for i in chosen], cells(), features)


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
