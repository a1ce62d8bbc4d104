"""Every method along its own dial, on the same local edits: who changes least for equal success?

A single setting is an accident of taste: a stronger guidance edits more and strays more, a tighter
mask the reverse. So each method has the same number of points, its own knob at three values and
text guidance at two, all of them named here before a test edit is looked at. What is compared is
the edge of its points (`cirp.statistics.frontier`), against the baseline's, image by image.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache, configurations, factorial
from cirp.methods import METHODS
from cirp.metrics.features import FeatureExtractor
from cirp.statistics import frontier
from cirp.statistics.bootstrap import PRIMARY

TEXT = (2.5, 5.0)  # beside an image scale
TEXT_ALONE = (4.0, 7.5)  # of methods that edit with the text-to-image model
IMAGE = 1.5
LIMIT = 0.05  # excess outside change (L1) up to which an edge's success is averaged
KNOBS: Mapping[str, tuple[dict, dict, dict]] = {
    "Prompt-to-Prompt": (dict(self_replace=0.2), {}, dict(self_replace=0.8)),
    "FoI (re-implementation)": (dict(threshold=0.1), {}, dict(threshold=0.4)),
    "LIME": (dict(points=8), {}, dict(clusters=5)),
    "DenseDiffusion": (dict(cross_weight=0.5), {}, dict(cross_weight=2.0)),
    "attention refocusing": (dict(step_size=(30.0, 20.0)), {}, dict(step_size=(300.0, 200.0))),
    "ASG": (dict(abstain=1.1), {}, dict(abstain=1.1, high_image=2.5)),
    "LEDITS++ mask": (dict(quantile=0.5), dict(quantile=0.7), {}),
    "LOCATEdit mask": (dict(threshold=0.4), dict(threshold=0.5), dict(threshold=0.6)),
    "ZONE mask": (dict(threshold=0.4), {}, dict(threshold=0.6)),
    "Watch Your Steps": (dict(threshold=0.3), {}, dict(threshold=0.7)),
    "DiffEdit": (dict(threshold=0.3), {}, dict(threshold=0.7)),
    "latent blending, words' mask": (dict(threshold=0.3), {}, dict(threshold=0.6)),
    configurations.OURS: (dict(grow=0.7), {}, dict(grow=1.4)),
}
SCALES = ((1.5, 1.5), (2.5, 1.5), (2.5, 2.0), (4.0, 1.5), (4.0, 2.5), (7.5, 1.5))  # the baseline's


def dials(steps: int = configurations.STEPS) -> dict[str, list[tuple[str, dict]]]:
    """Of each method its points: the method's name and settings. The baseline has as many."""
    usual = configurations.found(steps, chosen={})
    base, shared = usual[configurations.BASELINE]
    found = {
        configurations.BASELINE: [
            (base, {**shared, "text_scale": t, "image_scale": i}) for t, i in SCALES
        ]
    }
    for name, own in KNOBS.items():
        method, settings = usual[name]
        if "image_scale" in METHODS[method].settings.model_fields:
            scales = [dict(text_scale=t, image_scale=IMAGE) for t in TEXT]
        else:
            scales = [dict(text_scale=t) for t in TEXT_ALONE]
        found[name] = [(method, {**settings, **knob, **scale}) for knob in own for scale in scales]
    return found


def table(
    models: Models,
    items: Sequence[EditItem],
    features: FeatureExtractor,
    *,
    points: Mapping[str, Sequence[tuple[str, Mapping]]] | None = None,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """One row per edit, method, point of its dial and seed.

    Raises `ValueError` for edits of the whole picture: they have no outside.
    """
    factorial.check_local(items)
    parts = []
    for name, dial in (points or dials()).items():
        for number, one in enumerate(dial):
            part = cache.table(models, items, {name: one}, features, seeds=seeds)
            parts.append(part.assign(point=number))
    return pd.concat(parts, ignore_index=True)


def values(table: pd.DataFrame, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Success and outside change of a method, (point, image); seeds of one image are averaged."""
    mine = table[table["method"] == method]
    wide = mine.pivot_table(
        index="point", columns="id", values=["success", PRIMARY], aggfunc="mean", dropna=False
    )
    return wide["success"].to_numpy(dtype=float), wide[PRIMARY].to_numpy(dtype=float)


def summary(
    table: pd.DataFrame, *, base: str = configurations.BASELINE, resamples: int = 2000
) -> pd.DataFrame:
    """One row per method: its edge in numbers, and the difference from the baseline's.

    `level` is half of the baseline's highest success, so that every edge has a value there;
    `outside at level` is the least change with that much success. Intervals are over images, and
    paired: both edges are computed from the same resampled images.
    """
    theirs = values(table, base)
    level = frontier.edge_of(*theirs)[-1][0] / 2
    measures = {
        "most success": lambda edge: edge[-1][0],
        "area": lambda edge: frontier.area(LIMIT, edge),
        "outside at level": lambda edge: frontier.outside_at(level, edge),
    }
    rows = []
    for method in table["method"].unique():
        edges = frontier.resampled([values(table, method), theirs], resamples=resamples)
        row: dict[str, object] = {"method": method, "level": level}
        for name, measure in measures.items():
            found = {name: frontier.interval(lambda mine, _, m=measure: m(mine), edges)}
            if method != base:
                found[f"{name} - baseline"] = frontier.interval(
                    lambda mine, base, m=measure: m(mine) - m(base), edges
                )
            for column, one in found.items():
                row |= {column: one.value, f"{column}, low": one.low, f"{column}, high": one.high}
        rows.append(row)
    return pd.DataFrame(rows)
