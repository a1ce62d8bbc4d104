"""Drawing with SVG text: one seeded source of natural variation, gradients, and pixels by resvg.

Every drawing lives in a box of 100 x 100 units, y pointing down.
"""

import colorsys
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import resvg_py
from PIL import Image

PALETTE = {  # the colour words of the world, and what they look like
    "red": "#d83a34",
    "orange": "#f08a2c",
    "yellow": "#f3c93c",
    "green": "#4fa653",
    "blue": "#3f78d0",
    "purple": "#8a55c2",
    "pink": "#ef86b0",
    "white": "#f2f0ea",
    "black": "#35343c",
}


def _rgb(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _hex(rgb: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * min(max(c, 0), 1)):02x}" for c in rgb)


def mix(a: str, b: str, share: float) -> str:
    """Return the colour `share` of the way from `a` to `b`, both as #rrggbb."""
    return _hex([x + (y - x) * share for x, y in zip(_rgb(a), _rgb(b), strict=True)])


def lighten(colour: str, amount: float) -> str:
    return mix(colour, "#fffdf5", amount)


def darken(colour: str, amount: float) -> str:
    return mix(colour, "#1d1226", amount)


def turn(colour: str, hue: float, lightness: float = 0.0) -> str:
    """`colour` with its hue turned by `hue` (1 is once around) and its lightness shifted."""
    h, level, s = colorsys.rgb_to_hls(*_rgb(colour))
    return _hex(colorsys.hls_to_rgb((h + hue) % 1, min(max(level + lightness, 0), 1), s))


@dataclass(frozen=True)
class Layer:
    """One piece of a drawing: SVG text, and the name of the part it belongs to."""

    part: str
    svg: str


@dataclass
class Variation:
    """The seeded source of everything that differs between two drawings of one kind.

    Draw every random number before looking at a state (topping, expression, colour), so that a
    change of state changes nothing else.
    """

    seed: int
    prefix: str = "v"
    defs: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.random = random.Random(self.seed)

    def uniform(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def choice(self, options: Sequence):
        return self.random.choice(list(options))

    def jitter(self, colour: str, hue: float = 0.012, lightness: float = 0.035) -> str:
        """`colour`, naturally varied a little."""
        return turn(colour, self.uniform(-hue, hue), self.uniform(-lightness, lightness))

    def _define(self, body: str) -> str:
        name = f"{self.prefix}-{len(self.defs)}"
        self.defs.append(body.replace("ID", name, 1))
        return f"url(#{name})"

    def radial(self, *colours: str, cx=0.36, cy=0.3, r=0.75) -> str:
        """Return a paint: radial gradient, centre first, in shares of the shape's own box."""
        return self._define(
            f'<radialGradient id="ID" cx="{cx}" cy="{cy}" r="{r}">'
            f"{_stops(colours)}</radialGradient>"
        )

    def linear(self, *colours: str, x1=0, y1=0, x2=0, y2=1) -> str:
        """Return a paint: linear gradient, top to bottom unless told otherwise."""
        return self._define(
            f'<linearGradient id="ID" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}">'
            f"{_stops(colours)}</linearGradient>"
        )

    def clip(self, shapes: str) -> str:
        """Return a clip-path value: use as `clip-path="{v.clip('<path .../>')}"`."""
        return self._define(f'<clipPath id="ID">{shapes}</clipPath>')

    def blur(self, deviation: float) -> str:
        """A filter value: use as `filter="{v.blur(2)}"`; the deviation is in units of the box."""
        return self._define(
            f'<filter id="ID" x="-50%" y="-50%" width="200%" height="200%">'
            f'<feGaussianBlur stdDeviation="{deviation}"/></filter>'
        )


def _stops(colours: Sequence[str]) -> str:
    last = max(len(colours) - 1, 1)
    return "".join(
        f'<stop offset="{i / last:.3f}" stop-color="{c}"/>' for i, c in enumerate(colours)
    )


def document(body: str, defs: Sequence[str] = ()) -> str:
    """Return a whole SVG file of the 100 x 100 box."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
        f"<defs>{''.join(defs)}</defs>{body}</svg>"
    )


def pixels(svg: str, size: int) -> np.ndarray:
    """`svg` as (size, size, 4) uint8, straight alpha."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))
