"""What the world knows about its things and settings; the drawings register here."""

from collections.abc import Callable
from dataclasses import dataclass

from cirp.miniature.svg import PALETTE, Layer, Variation


@dataclass(frozen=True)
class Attribute:
    """Something about a thing that an edit can change while the rest stays.

    `phrase` builds the caption from {noun} and {state}; `part` names the layers it changes
    ("" means the whole thing); `edit` is the kind of edit that changes it.
    """

    name: str
    states: tuple[str, ...]
    phrase: str
    part: str = ""
    edit: str = "change part"  # or "change colour", "change expression"


def colour(*names: str) -> Attribute:
    """Return the colour of the whole thing, in words of the palette."""
    unknown = set(names) - set(PALETTE)
    if unknown:
        raise ValueError(f"unknown colours {sorted(unknown)}; the palette has {', '.join(PALETTE)}")
    return Attribute("colour", names, "{state} {noun}", edit="change colour")


Draw = Callable[..., list[Layer]]


@dataclass(frozen=True)
class Kind:
    """A kind of thing: how it is named, what can vary by word, and how it is drawn."""

    name: str
    family: str
    attributes: tuple[Attribute, ...]
    draw: Draw
    size: float  # natural size relative to the others, 1 is typical
    hold: tuple[float, float, float] | None  # x, y, size of a thing it can hold, in its own box
    holdable: bool
    flies: bool  # hangs in the air instead of standing on the ground


KINDS: dict[str, Kind] = {}


def drawing(
    name: str,
    family: str,
    *attributes: Attribute,
    size: float = 1.0,
    hold: tuple[float, float, float] | None = None,
    holdable: bool = False,
    flies: bool = False,
) -> Callable[[Draw], Draw]:
    """Register `draw(v, **states) -> layers` under its noun. Layers come back to front."""

    def register(draw: Draw) -> Draw:
        if name in KINDS:
            raise ValueError(f"{name!r} is drawn twice")
        KINDS[name] = Kind(name, family, attributes, draw, size, hold, holdable, flies)
        return draw

    return register


@dataclass(frozen=True)
class Setting:
    """A place: `phrase` ends a caption ("on the beach"), `ground` is where things stand (y)."""

    name: str
    phrase: str
    ground: tuple[float, float]
    draw: Callable[[Variation], str]


SETTINGS: dict[str, Setting] = {}


def setting(name: str, phrase: str, ground: tuple[float, float]) -> Callable:
    """Register `draw(v) -> svg` that fills the whole 100 x 100 box."""

    def register(draw):
        if name in SETTINGS:
            raise ValueError(f"{name!r} is set twice")
        SETTINGS[name] = Setting(name, phrase, ground, draw)
        return draw

    return register
