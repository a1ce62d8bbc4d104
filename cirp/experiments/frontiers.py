"""Every method along its own dial, on the same test edits: who changes least for equal success?

A single setting is an accident of taste: a stronger guidance edits more and strays more, a tighter
mask the reverse. So each method has the same number of points (`configurations.dials`), all named
before a test edit was looked at. What is compared is the edge of its points
(`cirp.statistics.frontier`) against the baseline's, image by image. The baseline also has a plane
of its own, every pair of its two guidance scales, and each method stands once more with the true
region in place of the one it finds.

Local edits and edits of the whole picture are never averaged together: the latter have no outside.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache, configurations, records
from cirp.experiments.drawn import load_drawn, local_edits
from cirp.experiments.guidance import is_local
from cirp.experiments.plan import plan
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import VERDICTS
from cirp.statistics import frontier
from cirp.statistics.bootstrap import PRIMARY

# Its gradient steps make a visible difference of the rounding of another batch size, so that a
# slice computed by itself is no check of it.
NOT_IN_SLICE = ("attention refocusing",)
LIMIT = 0.03  # excess outside change (L1) up to which an edge's success is averaged
COLUMNS = (
    "id", "edit_type", "method", "point", "told", "pasted", "text_scale", "image_scale",
    *records.PROVENANCE, "success", "success_soft", *VERDICTS, "answer_distance", PRIMARY,
    "l1_source", "l1_target", "l1_target_inside", "ssim_source_outside_excess",
    "feature_distance_dinov2_source_outside_excess", "clip_i_source", "clip_i_target",
    "dinov2_source", "clip_t", "clip_direction", "region_iou", "abstained", "unet_calls", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One method at one setting.

    `everywhere`: of edits of the whole picture, too; `shown`: galleries show the method at it.
    """

    label: str
    point: int
    told: bool
    everywhere: bool
    shown: bool
    method: str
    settings: dict


def cells(steps: int = configurations.STEPS) -> Iterator[Cell]:
    """All that is run on the test edits."""
    base = configurations.found(steps)[configurations.BASELINE]
    for point, one in enumerate(configurations.plane(steps)):
        yield Cell(configurations.BASELINE, point, False, True, one == base, *one)
    for label, dial in configurations.dials(steps).items():
        if label != configurations.BASELINE:
            for point, one in enumerate(dial):
                shown = point == configurations.SHOWN
                yield Cell(label, point, False, shown, shown, *one)
    for label, one in configurations.told(steps).items():
        yield Cell(label, configurations.SHOWN, True, False, True, *one)
    for label, one in configurations.controls(steps).items():
        yield Cell(label, 0, False, True, True, *one)


def items() -> list[EditItem]:
    """The planned test edits; drawn if need be."""
    split = plan().splits.test
    return load_drawn("test", split.count, first=split.first)


def _of(cell: Cell, some: Sequence[EditItem]) -> list[EditItem]:
    return list(some) if cell.everywhere else local_edits(some)


def fill(models: Models, items: Sequence[EditItem], chosen: Sequence[int]) -> None:
    """Compute and keep every edit of the chosen items."""
    fill_with(models, [items[i] for i in chosen], cells())


def fill_with(models: Models, some: Sequence[EditItem], cells: Iterable[Cell]) -> None:
    """Compute and keep these edits by these methods and settings."""
    some = cache.fitted(some, models)
    for cell in cells:
        print(f"{cell.label} {cell.point} {'told' if cell.told else ''}", flush=True)
        cache.edits(
            models, _of(cell, some), cell.method, settings=cell.settings, batch_size=24,
            progress=False,
        )  # fmt: skip


def measured(
    models: Models, items: Sequence[EditItem], chosen: Sequence[int], features: FeatureExtractor,
    *, shown: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """One row per edit, method, point, whether told the true region, and whether pasted.

    Pasting the source's pixels outside of a region is free for whoever has one: methods that do not
    do it themselves stand once more with it done. `shown`: the slice of a quick build,
    only the point that a method is shown at.
    """
    some = [items[i] for i in chosen]
    wanted = (c for c in cells() if not shown or (c.shown and c.label not in NOT_IN_SLICE))
    return rows_of(models, some, wanted, features)


def rows_of(
    models: Models, some: Sequence[EditItem], cells: Iterable[Cell], features: FeatureExtractor
) -> pd.DataFrame:
    """The rows of these edits by these methods and settings; see `measured`."""
    parts = []
    for cell in cells:
        mine = _of(cell, some)
        if not mine:
            continue
        one = {cell.label: (cell.method, cell.settings)}
        part = cache.table(models, mine, one, features, batch_size=24, progress=False)
        scales = {name: cell.settings.get(name, np.nan) for name in ("text_scale", "image_scale")}
        own = dict(point=cell.point, told=cell.told, **scales)
        parts.append(part.assign(pasted=False, **own)[list(COLUMNS)])
        over = _pasted(models, mine, cell, part, features)
        if over is not None:
            parts.append(over.assign(pasted=True, **own)[list(COLUMNS)])
    return pd.concat(parts, ignore_index=True)


def _pasted(
    models: Models, some: Sequence[EditItem], cell: Cell, part: pd.DataFrame, features
) -> pd.DataFrame | None:
    """The rows of `part` with the source's pixels outside the method's region; None without one."""
    if cache.completed(cell.method, cell.settings).get("paste"):
        return None
    fitted = cache.fitted(some, models)
    made = cache.edits(models, fitted, cell.method, settings=cell.settings, progress=False)
    if any(edit.mask is None for edit in made):
        return None
    over = [
        Image.composite(edit.image, item.source(), edit.mask)
        for edit, item in zip(made, fitted, strict=True)
    ]
    trips = [edit.image for edit in cache.edits(models, fitted, "round trip", progress=False)]
    scored = cache.scored(
        fitted, over, features, method=cell.label, seeds=(0,), trips=trips
    ).set_index(part.index)
    return part.assign(**{name: scored[name] for name in scored})


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
    keys = {(c.label, c.point, c.told) for c in cells() if c.shown}
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
    """The methods of which there is more than one point."""
    points = local(table).groupby("method", sort=False)["point"].nunique()
    return list(points.index[points > 1])


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
    level = frontier.edge_of(*theirs)[-1][0] / 2
    measures = {
        "most success": lambda edge: edge[-1][0],
        "area": lambda edge: frontier.area(LIMIT, edge),
        "outside at level": lambda edge: frontier.outside_at(level, edge),
    }
    rows = []
    for method in with_dials(table):
        edges = frontier.resampled(
            [values(table, method, pasted=pasted), theirs], resamples=resamples
        )
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
