"""What carries an edit: each group of the prompt's tokens muted, and each kept alone.

The baseline on the local test edits, at two scales of text guidance, for the editors of two seeds
of training. Attention of the text branch to the muted tokens is zero, and the others of a row take
their part.
"""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from cirp.diffusion.pipelines import Models
from cirp.experiments import leak, records
from cirp.experiments.configurations import STEPS
from cirp.experiments.engine import Cell, Experiment, planned
from cirp.methods.held import GROUPS
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, compare, mean_of

WORDS = ("words", "others")
ENDS = ("end", "padding")
MUTED = {  # what is said of it -> the groups of tokens
    "nothing": (),
    "begin of text": ("begin",),
    "important words": ("words",),
    "all words": WORDS,
    "begin of text and all words": ("begin", *WORDS),
    "end of text": ("end",),
    "padding": ("padding",),
    "end of text and padding": ENDS,
    **{
        f"all but {name}": tuple(group for group in GROUPS if group not in kept)
        for name, kept in {
            "begin of text": ("begin",), "all words": WORDS, "end of text": ("end",),
            "padding": ("padding",), "end of text and padding": ENDS,
        }.items()
    },
}  # fmt: skip
TEXT_SCALES, IMAGE_SCALE = (2.5, 7.5), 1.5
COLUMNS = (
    "id", "edit_type", "training_seed", "text_scale", "image_scale", "method",
    *records.PROVENANCE, "success", "answer_iou", PRIMARY, "l1_source_inside",
)  # fmt: skip


def editor(models: Models, training_seed: int) -> Models:
    """Return the shipped editor, or the one that was trained as it was with another seed."""
    if not training_seed:
        return models
    return leak.editors(models, training_seed)[leak.SHIPPED]


def cells(steps: int = STEPS) -> Iterator[Cell]:
    """Yield each group muted, first at the scale that is best, for the shipped editor first."""
    for seed in leak.TRAININGS:
        for scale in TEXT_SCALES:
            for name, groups in MUTED.items():
                yield Cell(
                    f"muted: {name}", "held",
                    dict(steps=steps, text_scale=scale, image_scale=IMAGE_SCALE, mute=groups),
                    dict(training_seed=seed, text_scale=scale, image_scale=IMAGE_SCALE),
                    models=partial(editor, training_seed=seed),
                    in_slice=not seed and scale == TEXT_SCALES[0] and groups in ((), WORDS, ENDS),
                )  # fmt: skip


EXPERIMENT = Experiment(
    "carries", cells, planned("test", local=True), columns=COLUMNS, seeds=2,
    checked=("success", PRIMARY),
)  # fmt: skip


def against_nothing(table: pd.DataFrame) -> pd.DataFrame:
    """Return each editor's, scale's and group's means, and their differences from nothing muted."""
    rows = []
    for (seed, scale), some in table.groupby(["training_seed", "text_scale"], sort=True):
        for name in MUTED:
            label, nothing = f"muted: {name}", "muted: nothing"
            rows.append({
                "training_seed": seed, "text_scale": scale, "muted": name,
                "success": mean_of(some, label, SUCCESS),
                "success - nothing": compare(some, label, nothing, SUCCESS),
                "outside": mean_of(some, label, PRIMARY),
                "outside - nothing": compare(some, label, nothing, PRIMARY),
            })  # fmt: skip
    return pd.DataFrame(rows)
