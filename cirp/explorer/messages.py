"""What is sent to the explorer's front end: maps as numbers, pictures as PNG."""

import io

import numpy as np
from PIL import Image

from cirp.explorer.runs import Seen


def maps_message(seen: Seen) -> dict:
    """The maps of one step: a list of layers with their grids, and all numbers as float32."""
    layers, numbers = [], []
    for name, maps in seen.maps.items():
        layers.append({"name": short(name), "rows": maps.shape[1], "columns": maps.shape[2]})
        numbers.append(np.ascontiguousarray(maps, dtype="<f4"))
    return {"layers": layers, "data": b"".join(one.tobytes() for one in numbers)}


def short(layer: str) -> str:
    """ "down_blocks.0.attentions.0.transformer_blocks.0.attn2" -> "down 0"."""
    place, number = layer.split("_block")[0], layer.split(".")[1]
    return "mid" if place == "mid" else f"{place} {number}"


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
