"""A scene as plain values, its picture and its exact masks.

Coordinates are shares of a 100 x 100 box, y down; `size` pixels are only chosen when drawing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

import cirp.miniature.drawings  # noqa: F401  (registers the kinds)
import cirp.miniature.settings  # noqa: F401  (registers the settings)
from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.styles import STYLES
from cirp.miniature.svg import Layer, Variation, document, pixels

SIZE = 64  # pixels, what the miniature's models see
CHANGED = 8  # of 255: a pixel differs if any channel moves by more than this


@dataclass(frozen=True)
class Thing:
    """One object: what it is, how it is, where it stands, and the seed of its natural variation."""

    kind: str
    states: tuple[tuple[str, str], ...]  # (attribute, state)
    x: float  # its middle
    y: float  # its foot
    size: float  # side of its box
    flip: bool
    seed: int
    held: "Thing | None" = None  # a small thing in its paws; x, y, size are then the holder's


@dataclass(frozen=True)
class Scene:
    """A setting, one to three things back to front, the light, and the style of the picture."""

    setting: str
    seed: int
    things: tuple[Thing, ...]
    light: tuple[str, float] = ("#ffffff", 0.0)  # a tint over everything, and how strong
    style: str = ""

    def everything(self) -> Iterator[Thing]:
        """All things, the held ones too."""
        for thing in self.things:
            yield thing
            if thing.held:
                yield thing.held

    def labels(self) -> frozenset[str]:
        """Return what the judge should see: kinds, states, setting, style."""
        names = {f"setting:{self.setting}"}
        if self.style:
            names.add(f"style:{self.style}")
        for thing in self.everything():
            names.add(thing.kind)
            names.update(f"{thing.kind}:{name}={state}" for name, state in thing.states)
        return frozenset(names)


def all_labels() -> list[str]:
    """Every label a scene can have, sorted."""
    labels = [f"setting:{name}" for name in SETTINGS] + [f"style:{name}" for name in STYLES]
    for kind in KINDS.values():
        labels.append(kind.name)
        labels += [f"{kind.name}:{a.name}={state}" for a in kind.attributes for state in a.states]
    return sorted(labels)


def _paint(layers: list[Layer], paint: str, part: str) -> str:
    """The layers as they are (`paint` empty), or as a silhouette in white; `part` "" means all."""
    if not paint:
        return "".join(layer.svg for layer in layers)
    whites = [paint == "white" and part in ("", layer.part) for layer in layers]
    return "".join(
        f'<g filter="url(#{"white" if white else "black"})">{layer.svg}</g>'
        for white, layer in zip(whites, layers, strict=True)
    )


def _draw(thing: Thing, prefix: str, wanted: "tuple[Thing, str] | None") -> tuple[str, list[str]]:
    """One thing as SVG text in the scene's box, with its definitions.

    `wanted` (thing, part) draws silhouettes instead: white where it is that part, black elsewhere.
    """
    kind = KINDS[thing.kind]
    v = Variation(thing.seed, prefix)
    layers = kind.draw(v, **dict(thing.states))
    paint, part = "", ""
    if wanted:
        paint, part = ("white", wanted[1]) if wanted[0] is thing else ("black", "")
    hands = [layer for layer in layers if layer.part == "hands"]
    body = _paint([layer for layer in layers if layer.part != "hands"], paint, part)
    defs = v.defs
    if thing.held:
        x, y, size = kind.hold
        inner, more = _draw(thing.held, prefix + "h", wanted)
        scale = size / 100
        place = f"translate({x - size / 2:.2f} {y - size / 2:.2f}) scale({scale})"
        body += f'<g transform="{place}">{inner}</g>'
        defs = defs + more
    body += _paint(hands, paint, part)
    if prefix.endswith("h"):
        return body, defs
    scale = thing.size / 100
    left, top = thing.x - thing.size / 2, thing.y - thing.size
    mirror = f"translate({2 * thing.x:.2f} 0) scale(-1 1) " if thing.flip else ""
    return (
        f'<g transform="{mirror}translate({left:.2f} {top:.2f}) scale({scale:.4f})">{body}</g>',
        defs,
    )


_SILHOUETTES = [
    f'<filter id="{name}" x="-20%" y="-20%" width="140%" height="140%"><feColorMatrix values="'
    f'{f"0 0 0 0 {level} " * 3}0 0 0 1 0"/></filter>'
    for name, level in (("white", 1), ("black", 0))
]
_SHADOW = (
    '<radialGradient id="shadow"><stop offset="0" stop-color="#1d1226" stop-opacity="0.42"/>'
    '<stop offset="0.6" stop-color="#1d1226" stop-opacity="0.24"/>'
    '<stop offset="1" stop-color="#1d1226" stop-opacity="0"/></radialGradient>'
)


def svg(scene: Scene) -> str:
    """Return the scene as an SVG file, before its style."""
    v = Variation(scene.seed, "s")
    body, defs = [SETTINGS[scene.setting].draw(v)], [_SHADOW, *v.defs]
    for i, thing in enumerate(scene.things):
        if not KINDS[thing.kind].flies:
            body.append(
                f'<ellipse cx="{thing.x + 1.5:.2f}" cy="{thing.y - 0.8:.2f}" '
                f'rx="{thing.size * 0.5:.2f}" ry="{thing.size * 0.1:.2f}" fill="url(#shadow)"/>'
            )
        drawn, more = _draw(thing, f"t{i}", None)
        body.append(drawn)
        defs += more
    tint, strength = scene.light
    if strength:
        body.append(f'<rect width="100" height="100" fill="{tint}" opacity="{strength}"/>')
    return document("".join(body), defs)


def render(scene: Scene, size: int = SIZE) -> UInt8[np.ndarray, "size size 3"]:
    """Return the picture."""
    picture = pixels(svg(scene), size)[..., :3]
    if scene.style:
        picture = STYLES[scene.style].apply(picture.astype(np.float64) / 255)
        picture = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return picture


def mask(
    scene: Scene, thing: Thing, part: str = "", size: int = SIZE
) -> Bool[np.ndarray, "size size"]:
    """Where `thing` (or its `part`) is seen; what stands before it is left out.

    `thing` is one of `scene.everything()`, the very same object.
    """
    if not any(thing is other for other in scene.everything()):
        raise ValueError(f"{thing.kind!r} is not in this scene")
    body, defs = ['<rect width="100" height="100" fill="#000"/>'], list(_SILHOUETTES)
    for i, other in enumerate(scene.things):
        drawn, more = _draw(other, f"t{i}", (thing, part))
        body.append(drawn)
        defs += more
    return pixels(document("".join(body), defs), size)[..., 0] >= 128


def region(source: Scene, target: Scene, size: int = SIZE) -> Bool[np.ndarray, "size size"]:
    """Where the two pictures differ: the only place that should change."""
    a, b = (render(scene, size).astype(np.int16) for scene in (source, target))
    return (np.abs(a - b) > CHANGED).any(axis=-1)
