"""What is sent to the explorer's front end: maps as numbers, pictures as PNG, scores by name."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache
from cirp.experiments.drawn import right_answers
from cirp.explorer.runs import Seen
from cirp.methods import METHODS
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import score

PAGE_SEEDS = 4  # noises of each picture that an engine without a kernel has


def maps_message(seen: Seen) -> dict:
    """The maps of one step: a list of layers with their grids, and all numbers as float32."""
    layers, numbers = [], []
    for name, maps in seen.maps.items():
        branches, heads, _, rows, columns = maps.shape
        layers.append(
            {"name": place_of(name), "rows": rows, "columns": columns, "heads": heads,
             "branches": branches}
        )  # fmt: skip
        numbers.append(np.ascontiguousarray(maps, dtype="<f4"))
    return {"layers": layers, "data": b"".join(one.tobytes() for one in numbers)}


def place_of(layer: str) -> str:
    """ "down_blocks.0.attentions.0.transformer_blocks.0.attn2" -> "down 0"."""
    place, number = layer.split("_block")[0], layer.split(".")[1]
    return "mid" if place == "mid" else f"{place} {number}"


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def scores_of(
    models: Models,
    item: EditItem,
    made: Image.Image,
    features: FeatureExtractor,
    labels: Mapping[str, str],
) -> dict[str, float | None]:
    """An edit's scores (`labels`: metric -> what it is called); None for what is not known."""
    if models.editor.controllable:
        (trip,) = cache.edits(models, [item], "round trip", progress=False)
    else:  # the state of so large a model takes longer to tell than the trip to make
        (trip,) = METHODS["round trip"](models, [cache.task(item, 0)], progress=False)
    (right,) = right_answers([item])
    found = score(item, made, features, round_trip=trip.image, answers=right)
    return {
        label: float(found[name]) if np.isfinite(found[name]) else None
        for name, label in labels.items()
    }
