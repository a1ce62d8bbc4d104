"""Whole-picture styles: pure functions on (row, column, 3) floats in [0, 1], at any size."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import ndimage

Picture = Float[np.ndarray, "row column 3"]
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma


@dataclass(frozen=True)
class Style:
    """`phrase` ends a caption: "a car on the beach, as a pencil sketch"."""

    name: str
    phrase: str
    apply: Callable[[Picture], Picture]


def luma(x: Picture) -> Float[np.ndarray, "row column"]:
    return x @ GREY


def edges(x: Picture) -> Float[np.ndarray, "row column"]:
    """Strength of the outlines, about 0 to 1, the same at any size."""
    grey = ndimage.gaussian_filter(luma(x), len(x) / 160)
    slope = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)) * len(x) / 64
    return np.clip(slope / 1.6, 0, 1)


def tinted(grey: Float[np.ndarray, "row column"], dark: tuple, light: tuple) -> Picture:
    return np.array(dark) + grey[..., None] * (np.array(light) - np.array(dark))


def pencil(x: Picture) -> Picture:
    shade = np.clip(0.72 + 0.28 * luma(x) - 0.85 * edges(x), 0, 1)
    return tinted(shade, (0.22, 0.22, 0.26), (1, 0.99, 0.95))


def sepia(x: Picture) -> Picture:
    return tinted(luma(x), (0.2, 0.11, 0.04), (1.0, 0.91, 0.72))


def black_and_white(x: Picture) -> Picture:
    return tinted(np.clip((luma(x) - 0.5) * 1.25 + 0.5, 0, 1), (0, 0, 0), (1, 1, 1))


def pixel_art(x: Picture) -> Picture:
    """Blocks of 1/16 of the side, eight levels a channel."""
    rows, columns = x.shape[:2]
    r, c = (np.arange(n) * 16 // n for n in (rows, columns))
    blocks = np.zeros((16, 16, 3))
    counts = np.zeros((16, 16, 1))
    np.add.at(blocks, (r[:, None], c[None]), x)
    np.add.at(counts, (r[:, None], c[None]), 1)
    return (np.round(blocks / counts * 7) / 7)[r[:, None], c[None]]


def neon(x: Picture) -> Picture:
    """Dark ground, glowing outlines in the picture's own hues."""
    hue = x / np.maximum(x.max(axis=-1, keepdims=True), 0.15)
    return np.clip(0.16 * x + edges(x)[..., None] * (0.35 + 0.75 * hue) + [0.02, 0.0, 0.08], 0, 1)


def watercolour(x: Picture) -> Picture:
    """Runny, pale, on cream paper."""
    soft = ndimage.gaussian_filter(x, (len(x) / 60, len(x) / 60, 0))
    return np.clip(0.42 + 0.62 * soft - 0.25 * edges(soft)[..., None], 0, 1) * [1.0, 0.985, 0.94]


STYLES = {
    style.name: style
    for style in (
        Style("pencil sketch", "as a pencil sketch", pencil),
        Style("sepia photo", "as a sepia photo", sepia),
        Style("black and white photo", "as a black and white photo", black_and_white),
        Style("pixel art", "as pixel art", pixel_art),
        Style("neon sign", "as a neon sign", neon),
        Style("watercolour", "as a watercolour", watercolour),
    )
}
