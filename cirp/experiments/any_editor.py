"""Outputs of any editor are aligned, searched for their region, and repaired.

Three tables. `registration` moves the baseline's outputs by known amounts and asks what `register`
finds. `repair` and `repair_unseen` give outputs to `keep` and score them before and after: of
several methods on the test edits, and of the baseline on a quarter of the confirmation's edits.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from cirp.experiments import cache, configurations, confirmation, records
from cirp.experiments.drawn import right_answers
from cirp.experiments.engine import Cell, Experiment, Job, planned
from cirp.metrics import regions, similarity
from cirp.metrics.registration import move, register
from cirp.metrics.repair import keep
from cirp.metrics.scores import VERDICTS, score_all
from cirp.statistics.bootstrap import PRIMARY

OUTSIDE = "l1_source_outside"
MOVES = {  # pixels of 64 to the right and down, scale, degrees
    "not moved": {},
    "shifted by 3 and -2": dict(dx=3.0, dy=-2.0),
    "shifted by 1.6 and 0.7": dict(dx=1.6, dy=0.7),
    "shifted by -7.3 and 5.1": dict(dx=-7.3, dy=5.1),
    "zoomed by 1 %": dict(scale=1.01),
    "zoomed by 5 %": dict(scale=1.05),
    "zoomed by 20 %": dict(scale=1.2),
    "shrunk by 10 %": dict(scale=0.9),
    "turned by 3 degrees": dict(angle=3.0),
    "shifted, zoomed and turned": dict(dx=2.0, scale=1.1, angle=-2.0),
}


def measure_moves(job: Job, cell: Cell) -> pd.DataFrame:
    """Measure how far off the alignment of moved outputs is: a row an edit; NaN: no answer."""
    items = cache.fitted(job.items, job.models)
    made = cache.edits(job.models, items, cell.method, settings=cell.settings, progress=False)
    want = dict(dx=0.0, dy=0.0, scale=1.0, angle=0.0) | MOVES[cell.label]
    rows = []
    for item, one in zip(items, made, strict=True):
        output = move(one.image, **want) if MOVES[cell.label] else one.image
        found = register(item.source(), output)
        error = (
            math.hypot(found.dx - want["dx"], found.dy - want["dy"]),
            abs(found.scale - want["scale"]), abs(found.angle - want["angle"]),
        )  # fmt: skip
        off, scale, angle = error if found.moved else (math.nan,) * 3
        rows.append({
            "id": item.id, "answered": float(found.moved), "off": off, "off_scale": scale,
            "off_angle": angle, "why": found.why,
        })  # fmt: skip
    return pd.DataFrame(rows)


def measure_repair(job: Job, cell: Cell) -> pd.DataFrame:
    """Score outputs as they are and as `keep` leaves them: two rows an edit.

    What `keep` refuses, since it seems to be an edit of the whole picture, stays as it is.
    """
    items = cache.fitted(cell.items(job.items), job.models)
    made = cache.edits(
        job.models, items, cell.method, settings=cell.settings, batch_size=24, progress=False
    )
    if job.features is None:
        return pd.DataFrame()
    outputs = [one.image for one in made]
    repaired, found = [], []
    for item, output in zip(items, outputs, strict=True):
        try:
            kept = keep(item.source(), output)
            refused, image, region = False, kept.image, kept.region
        except ValueError:
            refused, image, region = True, output, np.ones(output.size[::-1], dtype=bool)
        repaired.append(image)
        own = regions.split(region, shape=region.shape)
        change = similarity.change(*map(similarity.to_array, (output, item.source())))
        found.append({
            "refused": refused,
            "region_iou": regions.iou(region, item.mask()),
            "outside_of_found": regions.average(change, own.outside),
        })  # fmt: skip
    trips = [one.image for one in cache.edits(job.models, items, "round trip", progress=False)]
    known = dict(round_trips=trips, answers=right_answers(items))
    parts = [
        pd.concat(
            [score_all(items, images, job.features, **known), pd.DataFrame(found)], axis=1
        ).assign(kept=kept, seed=job.seeds[0])
        for kept, images in ((False, outputs), (True, repaired))
    ]
    return pd.concat(parts, ignore_index=True)


def moves(steps: int = configurations.STEPS) -> list[Cell]:
    """Return the baseline once for each move."""
    method, settings = configurations.automatic(steps)[configurations.BASELINE]
    return [Cell(name, method, settings) for name in MOVES]


def methods(steps: int = configurations.STEPS) -> list[Cell]:
    """Return every method as it is shown; a build computes the baseline and remap again."""
    again = (configurations.BASELINE, configurations.OURS)
    known = configurations.automatic(steps)
    return [Cell(name, *known[name], in_slice=name in again) for name in known]


LOCAL = planned("test", local=True)
REGISTRATION = Experiment(
    "registration", moves, LOCAL, measure=measure_moves, code="registration 1 {method}",
    scored=False,
    # not the angle: a picture's rounding with another number of threads moves it by .01 degrees
    checked=("answered", "off", "off_scale"),
)  # fmt: skip
REPAIR = Experiment(
    "repair", methods, LOCAL, measure=measure_repair, code="repair 1 {method}",
    checked=("success", "answer_iou", OUTSIDE, PRIMARY, "region_iou", "outside_of_found"),
    columns=(
        "id", "edit_type", "method", "kept", *records.PROVENANCE, "success", *VERDICTS,
        "answer_iou", OUTSIDE, PRIMARY, "l1_source_inside", "region_iou", "outside_of_found",
        "refused",
    ),
)  # fmt: skip
UNSEEN = replace(
    REPAIR,
    name="repair_unseen",
    cells=lambda steps: [cell for cell in methods(steps) if cell.label == configurations.BASELINE],
    items=lambda: confirmation.a_quarter(confirmation.EXPERIMENT.items()),
    sample=confirmation.sample,
)
EXPERIMENTS = (REGISTRATION, REPAIR, UNSEEN)
