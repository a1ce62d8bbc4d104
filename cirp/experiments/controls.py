"""What no measure of success may be fooled by, and what it has to let pass.

Controls are pictures, not methods: the source as it is and through the autoencoder, the exact
answer and the same through the autoencoder, another edit's answer, and the source with its true
region filled with what is no answer to anything.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task
from cirp.experiments import records
from cirp.experiments.drawn import load_drawn, right_answers
from cirp.experiments.plan import plan
from cirp.methods.references import round_trip
from cirp.metrics.answers import share_off
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import VERDICTS, verdict
from cirp.miniature.gallery import half
from cirp.miniature.grammar import EDIT_KINDS
from cirp.statistics.bootstrap import SUCCESS, mean_interval

Pixels = UInt8[np.ndarray, "row column 3"]
Region = Bool[np.ndarray, "row column"]
SOURCE, TRIP = "source", "source through the autoencoder"
TARGET, TARGET_TRIP = "true target", "true target through the autoencoder"
OTHER = "another edit's target"
FILLS = ("noise", "grey", "border", "blur", "half-drawn")
RING = 3  # pixels around a region from which its border's colour is taken
BLUR = 5.0  # standard deviation in pixels
SPLIT = plan().splits.controls
AT_ONCE = 80  # items, a multiple of the kinds
CODE = "controls 2"  # raise it when a control changes


def filled(source: Pixels, target: Pixels, region: Region, fill: str, seed: int) -> Pixels:
    """The source with its true region spoilt; "half-drawn" has the target's upper half of it."""
    picture = source.copy()
    rng = np.random.default_rng(seed)
    if fill == "noise":
        picture[region] = rng.integers(0, 256, (int(region.sum()), 3))
    elif fill == "grey":
        picture[region] = 128
    elif fill == "border":
        picture[region] = _border(source, region)
    elif fill == "blur":
        soft = ndimage.gaussian_filter(source.astype(np.float64), (BLUR, BLUR, 0))
        picture[region] = soft[region].round().astype(np.uint8)
    elif fill == "half-drawn":
        upper = half(region, across=True, first=True)
        picture[upper] = target[upper]
    else:
        raise ValueError(f"unknown fill {fill!r}; there are {', '.join(FILLS)}")
    return picture


def _border(source: Pixels, region: Region) -> np.ndarray:
    ring = ndimage.binary_dilation(region, iterations=RING) & ~region
    return source[ring if ring.any() else np.ones_like(region)].mean(axis=0).round()


def round_trips(images: Sequence[Image.Image], models: Models) -> list[Image.Image]:
    """Pictures through the autoencoder and back."""
    tasks = [Task(image, "", None, 0) for image in images]
    return [edit.image for edit in round_trip(models, tasks, batch_size=32, progress=False)]


def pictures(items: Sequence[EditItem], models: Models) -> Mapping[str, list[Image.Image]]:
    """Every control of every item, which must have a target and a mask."""
    sources, targets = ([getattr(i, side)() for i in items] for side in ("source", "target"))
    found = {
        SOURCE: sources,
        TRIP: round_trips(sources, models),
        TARGET: targets,
        TARGET_TRIP: round_trips(targets, models),
        OTHER: [targets[_other(i, len(items))] for i in range(len(items))],
    }
    arrays = [(np.asarray(i.source()), np.asarray(i.target()), i.mask()) for i in items]
    for fill in FILLS:
        found[fill] = [
            Image.fromarray(filled(*one, fill, seed_of(item)))
            for item, one in zip(items, arrays, strict=True)
        ]
    return found


def items(count: int = SPLIT.count) -> list[EditItem]:
    """The first edits that are measured for the book: many, since passing is to be rare."""
    return load_drawn("test", count, first=SPLIT.first)


def fill(models: Models, items: Sequence[EditItem], chosen: Sequence[int]) -> None:
    """There is nothing to keep: no editor is run."""


def measured(
    models: Models, items: Sequence[EditItem], chosen: Sequence[int], features: FeatureExtractor,
    *, shown: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """One row per edit and control: whether it passes, and why. `shown` changes nothing."""
    some, rows = [items[i] for i in chosen], []
    tied = _tied(models, features)
    for start in range(0, len(some), AT_ONCE):
        part = some[start : start + AT_ONCE]
        right = right_answers(part)
        found = pictures(part, models)
        for name, images in found.items():
            features.judge(images)  # in batches; it remembers
            for item, image, known in zip(part, images, right, strict=True):
                said = verdict(item, image, features, known)
                off = share_off(np.asarray(image), np.asarray(item.source()), known)
                rows.append(
                    {"id": item.id, "edit_type": item.record.edit_type, "method": name}
                    | {column: said[column] for column in (SUCCESS, *VERDICTS)}
                    | {"off": off} | tied | {"item": records.item_hash(item)}
                )  # fmt: skip
    return pd.DataFrame(rows)


def _tied(models: Models, features: FeatureExtractor) -> dict[str, object]:
    settings = {"ring": RING, "blur": BLUR}
    return records.provenance(models, settings=settings, seed=0, code=CODE, features=features)


def already(models: Models, features: FeatureExtractor, count: int) -> pd.DataFrame | None:
    """The book's own table if it is of so many edits, these models and instruments; else None."""
    table = records.recorded("controls")
    if table is None or table["id"].nunique() != count:
        return None
    facts = {name: value for name, value in _tied(models, features).items() if name != "item"}
    return table if records.same(table, facts).all() else None


def seed_of(item: EditItem) -> int:
    """Of the noise that fills its region: the same in whatever company it is measured."""
    return int(records.short_hash(item.id), 16) % 2**32


def counterfeits(table: pd.DataFrame) -> pd.DataFrame:
    """Without the fills that happen to be right answers, but for what can hardly be told.

    On flat ground the border's colour is what was behind the thing that is taken away.
    """
    right = table["method"].isin(FILLS) & (table["off"] < plan().primary.counterfeit)
    return table[~right]


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """A row a control and kind of edit ("" for all): how often it passes, with its interval."""
    rows = []
    for name, mine in table.groupby("method", sort=False):
        for kind, some in (("", mine), *mine.groupby("edit_type")):
            found = mean_interval(some[SUCCESS].to_numpy(float), metric=SUCCESS)
            rows.append({"control": name, "kind": kind, "passes": found.mean, "low": found.low,
                         "high": found.high, "n": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def _other(place: int, count: int) -> int:
    """Of the next kind among the eight that are drawn in turn: the same in a slice of them."""
    turn = len(EDIT_KINDS)
    after = place + 1
    return after if after % turn and after < count else place // turn * turn
