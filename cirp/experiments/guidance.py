"""The baseline over its two guidance scales: the frontier that every method has to beat.

`cirp guidance` runs InstructPix2Pix at every point of a plane of text and image scales, on edits of
one split. On validation edits it says which point the book's main editor is shown at; on test edits
it is the baseline's frontier.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models, load
from cirp.experiments import cache, records
from cirp.experiments.configurations import PLANE, STEPS
from cirp.experiments.drawn import load_drawn
from cirp.metrics.features import load_features
from cirp.metrics.scores import VERDICTS
from cirp.miniature.grammar import WHOLE_PICTURE
from cirp.statistics.bootstrap import PRIMARY

TEXT, IMAGE = PLANE["text_scale"], PLANE["image_scale"]
COLUMNS = (
    "id", "edit_type", "method", "text_scale", "image_scale", "seed", "success", *VERDICTS,
    "answer_distance", PRIMARY,
    "l1_source", "clip_i_source", "dinov2_source", "clip_t",
    *(n for n in records.PROVENANCE if n != "seed"),
)  # fmt: skip


def points(
    text: Sequence[float] = TEXT, image: Sequence[float] = IMAGE, steps: int = STEPS
) -> dict[str, tuple[str, Mapping]]:
    """Every point of the plane as a labelled method with settings."""
    return {
        f"text {t:g}, image {i:g}": ("ip2p", dict(steps=steps, text_scale=t, image_scale=i))
        for t in text
        for i in image
    }


def measured(
    models: Models, items: Sequence[EditItem], places: Mapping, features, *, batch_size: int = 24
) -> pd.DataFrame:
    """One row per point and edit; the scales are columns."""
    table = cache.table(models, items, places, features, batch_size=batch_size)
    settings = table["settings"].map(json.loads)
    table["text_scale"] = settings.map(lambda s: s["text_scale"])
    table["image_scale"] = settings.map(lambda s: s["image_scale"])
    return table[list(COLUMNS)]


def is_local(table: pd.DataFrame) -> pd.Series:
    """Rows of edits that have an outside."""
    return ~table["edit_type"].isin(WHOLE_PICTURE)


def best(table: pd.DataFrame) -> tuple[float, float]:
    """The scales (text, image) of most success over local edits; of equals, the least change."""
    means = (
        table[is_local(table)]
        .groupby(["text_scale", "image_scale"])[["success", PRIMARY]]
        .mean()
        .sort_values(["success", PRIMARY], ascending=[False, True])
    )
    return tuple(float(scale) for scale in means.index[0])


def main(
    split: str, count: int, first: int, models: str, shard: int, shards: int, out: Path
) -> None:
    """InstructPix2Pix over the plane of its guidance scales."""
    loaded = load(models)
    items = load_drawn(split, count, first=first)
    if shards > 1:
        some = cache.fitted(items[shard::shards], loaded)
        for method, settings in points().values():
            cache.edits(loaded, some, method, settings=settings, batch_size=24)
        return
    table = measured(loaded, items, points(), load_features(models))
    records.write(out, table, digits=5)
    text, image = best(table)
    local = table[is_local(table)]
    plane = local.pivot_table(index="text_scale", columns="image_scale", values="success")
    print(plane.round(3).to_string())
    print(f"most success at text {text:g}, image {image:g}")
