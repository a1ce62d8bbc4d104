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
from cirp.experiments.drawn import right_answers
from cirp.methods.references import round_trip
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import score_all
from cirp.miniature.gallery import half

Pixels = UInt8[np.ndarray, "row column 3"]
Region = Bool[np.ndarray, "row column"]
SOURCE, TRIP = "source", "source through the autoencoder"
TARGET, TARGET_TRIP = "true target", "true target through the autoencoder"
OTHER = "another edit's target"
FILLS = ("noise", "grey", "border", "blur", "half-drawn")
RING = 3  # pixels around a region from which its border's colour is taken
BLUR = 5.0  # standard deviation in pixels


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
        OTHER: [targets[(i + 1) % len(items)] for i in range(len(items))],
    }
    arrays = [(np.asarray(i.source()), np.asarray(i.target()), i.mask()) for i in items]
    for fill in FILLS:
        found[fill] = [Image.fromarray(filled(*one, fill, seed)) for seed, one in enumerate(arrays)]
    return found


def table(items: Sequence[EditItem], models: Models, features: FeatureExtractor) -> pd.DataFrame:
    """Scores of every control, one row per item and control (column `method`)."""
    found = pictures(items, models)
    right = right_answers(items)
    parts = [
        score_all(items, images, features, round_trips=found[TRIP], answers=right).assign(
            method=name
        )
        for name, images in found.items()
    ]
    return pd.concat(parts, ignore_index=True)
