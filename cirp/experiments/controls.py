"""What no measure of success may be fooled by, and what it has to let pass.

Controls are pictures, not methods: the source as it is and through the autoencoder, the exact
answer and the same through the autoencoder, another edit's answer, and the source with its true
region filled with what is no answer to anything.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task
from cirp.experiments import records
from cirp.experiments.drawn import load_miniature_edits, right_answers
from cirp.experiments.engine import Cell, Experiment, Job
from cirp.experiments.plan import plan
from cirp.methods.references import round_trip
from cirp.metrics.answers import share_off
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


def pictures(items: Sequence[EditItem], models: Models, control: str) -> list[Image.Image]:
    """Return one control of every item, which must have a target and a mask."""
    if control in (SOURCE, TRIP):
        found = [item.source() for item in items]
    else:
        found = [item.target() for item in items]
    if control == OTHER:
        return [found[_other(i, len(items))] for i in range(len(items))]
    if control in FILLS:
        return [
            Image.fromarray(
                filled(np.asarray(i.source()), np.asarray(t), i.mask(), control, seed_of(i))
            )
            for i, t in zip(items, found, strict=True)
        ]
    return round_trips(found, models) if control in (TRIP, TARGET_TRIP) else found


def measure(job: Job, cell: Cell) -> pd.DataFrame:
    """Judge one control of every edit: whether it passes, and why."""
    rows = []
    for start in range(0, len(job.items), AT_ONCE):
        items = job.items[start : start + AT_ONCE]
        images = pictures(items, job.models, cell.label)
        job.features.judge(images)  # in batches; it remembers
        for item, image, known in zip(items, images, right_answers(items), strict=True):
            said = verdict(item, image, job.features, known)
            rows.append(
                {"id": item.id, "edit_type": item.record.edit_type}
                | {column: said[column] for column in (SUCCESS, *VERDICTS)}
                | {"off": share_off(np.asarray(image), np.asarray(item.source()), known)}
            )
    return pd.DataFrame(rows)


def items(count: int = SPLIT.count) -> list[EditItem]:
    """Return the first edits that controls are made of: many, since passing is to be rare."""
    return load_miniature_edits("test", count, first=SPLIT.first)


def cells(_: int = 0) -> list[Cell]:
    """Return a cell for each control."""
    how = {"ring": RING, "blur": BLUR}
    return [Cell(one, "", how) for one in (SOURCE, TRIP, TARGET, TARGET_TRIP, OTHER, *FILLS)]


EXPERIMENT = Experiment(
    "controls", cells, items, measure=measure, code="controls 2", checked=("success",),
    sample=lambda: items(16),
)  # fmt: skip


def seed_of(item: EditItem) -> int:
    """Of the noise that fills its region: the same in whatever company it is measured."""
    return int(records.short_hash(item.id), 16) % 2**32


def without_valid_answers(table: pd.DataFrame) -> pd.DataFrame:
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
            rows.append({"control": name, "kind": kind, "passes": found})
    return pd.DataFrame(rows)


def _other(place: int, count: int) -> int:
    """Of the next kind among the eight that are drawn in turn: the same in a slice of them."""
    turn = len(EDIT_KINDS)
    after = place + 1
    return after if after % turn and after < count else place // turn * turn
