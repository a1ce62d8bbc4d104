"""The frontiers of remap and its rivals once more, on enough edits to tell them apart.

Six methods along the same dials as in `frontiers`, and the baseline pasted by its own change, on
local edits that nothing was chosen on.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from cirp.data.edits import EditItem
from cirp.experiments import configurations, frontiers, records
from cirp.experiments.configurations import BASELINE, OURS, PASTED
from cirp.experiments.drawn import load_miniature_edits, local_edits
from cirp.experiments.engine import Cell, Experiment, planned
from cirp.experiments.plan import plan
from cirp.statistics import frontier
from cirp.statistics.bootstrap import PRIMARY

RIVALS = (BASELINE, BASELINE + PASTED, "Watch Your Steps", "ZONE mask", "DiffEdit", "LIME")
MEASURED = ("area", "outside at level")
COLUMNS = (
    "id", "edit_type", "method", "point", "told", "pasted", "text_scale", "image_scale",
    *records.PROVENANCE, "success", "answer_iou", PRIMARY, "region_iou", "unet_calls",
)  # fmt: skip


def cells(steps: int = configurations.STEPS) -> Iterator[Cell]:
    """Yield every point of every dial; a build computes the baseline's and remap's shown ones."""
    known = configurations.dials(steps)
    for label in (OURS, *RIVALS):
        for point, (method, settings) in enumerate(known[label.removesuffix(PASTED)]):
            own = dict(paste_own=True) if label.endswith(PASTED) else {}
            scales = {name: settings.get(name, np.nan) for name in ("text_scale", "image_scale")}
            yield Cell(
                label, method, {**settings, **own},
                dict(point=point, told=False, pasted=False, **scales),
                in_slice=point == configurations.SHOWN and label in (OURS, *RIVALS[:2]),
            )  # fmt: skip


def sample() -> list[EditItem]:
    """Return two of the edits, without drawing all of them."""
    return local_edits(load_miniature_edits("test", 8, first=plan().splits.dials.first))[:2]


EXPERIMENT = Experiment(
    "dials", cells, planned("dials", local=True), columns=COLUMNS, sample=sample,
    checked=("success", "answer_iou", PRIMARY),
)  # fmt: skip


def apart(
    table: pd.DataFrame, rivals: Sequence[str] = RIVALS, resamples: int = 2000
) -> pd.DataFrame:
    """Return remap's frontier minus each rival's: intervals over images, a row a rival.

    "area" is the success that is reached with no more outside change than a limit, averaged over
    limits up to `frontiers.LIMIT`; "outside at level" the least outside change with half of the
    success that the baseline reaches at most.
    """
    level = frontiers.level_of(frontier.edge_of(*frontiers.values(table, BASELINE)))
    known = frontiers.measures(level)
    found = {}
    for rival in rivals:
        both = frontier.resampled(
            [frontiers.values(table, one) for one in (OURS, rival)], resamples=resamples
        )
        found[rival] = {
            name: frontier.interval(lambda mine, other, m=known[name]: m(mine) - m(other), both)
            for name in MEASURED
        }
    return pd.DataFrame(found).T
