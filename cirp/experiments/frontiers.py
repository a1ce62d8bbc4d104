"""Every method along its own dial, on the same test edits: who changes least for equal success?

A single setting is an accident of taste: a stronger guidance edits more and strays more, a tighter
mask the reverse. So each method has the same number of points (`configurations.dials`), all named
before a test edit was looked at. What is compared is the edge of its points
(`cirp.statistics.frontier`) against the baseline's, image by image. The baseline also has a plane
of its own, every pair of its two guidance scales, and each method stands once more with the true
region in place of the one it finds.

Pasting the source's pixels outside of a region is free for whoever has one: methods that do not do
it themselves stand once more with it done. Local edits and edits of the whole picture are never
averaged together: the latter have no outside.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd

from cirp.experiments import configurations, records
from cirp.experiments.drawn import is_local, local_edits
from cirp.experiments.engine import Cell, Experiment, planned, scores
from cirp.metrics.scores import VERDICTS
from cirp.statistics import frontier
from cirp.statistics.bootstrap import PRIMARY

# Its gradient steps make a visible difference of the rounding of another batch size, so that a
# slice computed by itself is no check of it.
NOT_IN_SLICE = ("attention refocusing",)
LIMIT = 0.03  # excess outside change (L1) up to which an edge's success is averaged
COLUMNS = (
    "id", "edit_type", "method", "point", "told", "pasted", "text_scale", "image_scale",
    *records.PROVENANCE, "success", "success_soft", *VERDICTS, "answer_distance", "answer_iou",
    PRIMARY,
    "l1_source", "l1_target", "l1_target_inside", "ssim_source_outside_excess",
    "feature_distance_dinov2_source_outside_excess", "clip_i_source", "clip_i_target",
    "dinov2_source", "clip_t", "clip_direction", "region_iou", "abstained", "unet_calls", "seconds",
)  # fmt: skip


def _cells(steps: int) -> Iterator[tuple[Cell, bool]]:
    """Yield every cell, and whether it is the one setting at which galleries show its method."""

    def cell(label: str, point: int, told: bool, one: tuple[str, Mapping], shown: bool, items=list):
        method, settings = one
        scales = {name: settings.get(name, np.nan) for name in ("text_scale", "image_scale")}
        return Cell(
            label, method, settings, dict(point=point, told=told, **scales), items,
            in_slice=shown and label not in NOT_IN_SLICE,
        ), shown  # fmt: skip

    base = configurations.automatic(steps)[configurations.BASELINE]
    for point, one in enumerate(configurations.plane(steps)):
        yield cell(configurations.BASELINE, point, False, one, one == base)
    for label, dial in configurations.dials(steps).items():
        if label != configurations.BASELINE:
            for point, one in enumerate(dial):
                shown = point == configurations.SHOWN
                yield cell(label, point, False, one, shown, list if shown else local_edits)
    for label, one in configurations.with_true_region(steps).items():
        yield cell(label, configurations.SHOWN, True, one, True, local_edits)
    for label, one in configurations.controls(steps).items():
        yield cell(label, 0, False, one, True)
    for label, one in configurations.shared(steps).items():
        yield cell(label, 0, False, one, True, local_edits)


def cells(steps: int = configurations.STEPS) -> list[Cell]:
    """Return every cell that is run on the test edits."""
    return [cell for cell, _ in _cells(steps)]


def shown(steps: int = configurations.STEPS) -> list[Cell]:
    """Return the cells at the one setting at which each method is shown."""
    return [cell for cell, is_shown in _cells(steps) if is_shown]


EXPERIMENT = Experiment(
    "frontiers", cells, planned("test"), columns=COLUMNS, measure=partial(scores, paste=True),
    sample=lambda: planned("test", local=True)()[:1],  # of 34 cells; other tables run two edits
)  # fmt: skip


def local(table: pd.DataFrame, *, told: bool = False, pasted: bool = False) -> pd.DataFrame:
    """Rows of local edits, of methods by themselves or of the same told the true region.

    `pasted`: with the source's pixels outside a method's region, for all that have one.
    """
    some = table[is_local(table) & (table["told"] == told)]
    if not pasted:
        return some[~some["pasted"]]
    keys = some.loc[some["pasted"], ["method", "point"]].drop_duplicates()
    can = set(map(tuple, keys.to_numpy()))
    own = zip(some["method"], some["point"], strict=True)
    return some[some["pasted"] | np.array([key not in can for key in own], dtype=bool)]


def at_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the one point that each method is shown at."""
    keys = {(c.label, c.columns["point"], c.columns["told"]) for c in shown()}
    own = zip(table["method"], table["point"], table["told"], strict=True)
    return table[[key in keys for key in own]]


def dial(table: pd.DataFrame, method: str, *, pasted: bool = False) -> pd.DataFrame:
    """A method's own points over local edits; of the baseline's plane as many as a dial has."""
    mine = local(table, pasted=pasted)
    mine = mine[mine["method"] == method]
    if method != configurations.BASELINE or "text_scale" not in mine:
        return mine
    own = zip(mine["text_scale"], mine["image_scale"], strict=True)
    return mine[[scales in configurations.SCALES for scales in own]]


def values(
    table: pd.DataFrame, method: str, *, pasted: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Success and outside change of a method's dial, (point, image); seeds are averaged."""
    wide = dial(table, method, pasted=pasted).pivot_table(
        index="point", columns="id", values=["success", PRIMARY], aggfunc="mean", dropna=False
    )
    return wide["success"].to_numpy(dtype=float), wide[PRIMARY].to_numpy(dtype=float)


def with_dials(table: pd.DataFrame) -> list[str]:
    """Return the methods of which there is more than one point."""
    points = local(table).groupby("method", sort=False)["point"].nunique()
    return list(points.index[points > 1])


def measures(level: float) -> dict[str, Callable[[frontier.Edge], float]]:
    """Return what is measured of an edge, by name; `level` is a success that every edge reaches."""
    return {
        "most success": lambda edge: edge[-1][0],
        "area": lambda edge: frontier.area(LIMIT, edge),
        "outside at level": lambda edge: frontier.outside_at(level, edge),
    }


def level_of(edge: frontier.Edge) -> float:
    """Return half of the highest success of the baseline's edge, at which others are compared."""
    return edge[-1][0] / 2


def summary(
    table: pd.DataFrame,
    *,
    base: str = configurations.BASELINE,
    pasted: bool = False,
    resamples: int = 2000,
) -> pd.DataFrame:
    """One row per method: its edge in numbers, and the difference from the baseline's.

    `level` is half of the baseline's highest success, so that every edge has a value there;
    `outside at level` is the least change with that much success. Intervals are over images, and
    paired: both edges are computed from the same resampled images.
    """
    theirs = values(table, base)
    level = level_of(frontier.edge_of(*theirs))
    rows = []
    for method in with_dials(table):
        edges = frontier.resampled(
            [values(table, method, pasted=pasted), theirs], resamples=resamples
        )
        row: dict[str, object] = {"method": method, "level": level}
        for name, measure in measures(level).items():
            found = {name: frontier.interval(lambda mine, _, m=measure: m(mine), edges)}
            if method != base:
                found[f"{name} - baseline"] = frontier.interval(
                    lambda mine, base, m=measure: m(mine) - m(base), edges
                )
            row |= found
        rows.append(row)
    return pd.DataFrame(rows)
