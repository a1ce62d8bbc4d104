"""The baseline over its two guidance scales, on validation edits: where is it at its best?

The book shows the baseline at the pair of scales that no other pair beats by interval here.
"""

from collections.abc import Sequence

from cirp.experiments import records
from cirp.experiments.configurations import PLANE, STEPS
from cirp.experiments.drawn import load_miniature_edits
from cirp.experiments.engine import Cell, Experiment
from cirp.metrics.scores import VERDICTS
from cirp.statistics.bootstrap import PRIMARY

COLUMNS = (
    "id", "edit_type", "method", "text_scale", "image_scale", "seed", "success", *VERDICTS,
    "answer_distance", PRIMARY,
    "l1_source", "clip_i_source", "dinov2_source", "clip_t",
    *(n for n in records.PROVENANCE if n != "seed"),
)  # fmt: skip


def cell(text: float, image: float, steps: int = STEPS) -> Cell:
    """Return the baseline at one pair of scales, which are columns, too."""
    scales = dict(text_scale=text, image_scale=image)
    return Cell(f"text {text:g}, image {image:g}", "ip2p", dict(steps=steps, **scales), scales)


def cells(steps: int = STEPS) -> Sequence[Cell]:
    """Return the plane of both scales."""
    return [cell(t, i, steps) for t in PLANE["text_scale"] for i in PLANE["image_scale"]]


EXPERIMENT = Experiment(
    "guidance", cells, lambda: load_miniature_edits("validation", 96), columns=COLUMNS,
    checked=("success", PRIMARY, "clip_i_source", "dinov2_source", "l1_source"),
)  # fmt: skip
