"""Text from outside as a figure can write it: every character with a glyph, or with its name.

DejaVu Sans comes with matplotlib and writes Latin, Greek, Cyrillic, Hebrew and Arabic. What it
lacks is looked for in fonts of the machine; a character that none of them has is written as its
name in brackets, so that nothing is an empty box and nothing is lost.
"""

import unicodedata
from functools import cache
from textwrap import fill as wrapped

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

FIRST = "DejaVu Sans"
# outlines only: matplotlib cannot draw the bitmaps of coloured emoji
OTHERS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "PingFang SC",
    "Hiragino Sans", "Microsoft YaHei", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji",
    "Symbola", "Segoe UI Symbol", "Unifont",
)  # fmt: skip


@cache
def families() -> tuple[str, ...]:
    """Return the fonts of all figures, first the one that is the same on every machine."""
    there = {font.name for font in font_manager.fontManager.ttflist}
    return (FIRST, *(name for name in OTHERS if name in there))


@cache
def _glyphs() -> frozenset[int]:
    found: set[int] = set()
    for family in families():
        found |= set(FT2Font(font_manager.findfont(family)).get_charmap())
    return frozenset(found)


def drawable(text: str) -> str:
    """The text without what no font here can write: names in brackets, invisible marks left out.

    "a 🍓 here" -> "a [strawberry] here", where no font with emoji is installed.
    """
    return "".join(map(_drawn, text))


def _drawn(character: str) -> str:
    if character in "\n\t ":
        return " " if character == "\t" else character
    category = unicodedata.category(character)
    if category in ("Cf", "Cc", "Cs", "Co") or "\ufe00" <= character <= "\ufe0f":
        return ""  # joiners, direction marks, variation selectors
    if ord(character) in _glyphs():
        return character
    name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
    if name.startswith("cjk unified ideograph"):
        name = f"U+{ord(character):04X}"
    return f"[{name}]"


def fill(text: str, width: int) -> str:
    """Wrapped to lines of at most `width` characters, and drawable."""
    return wrapped(drawable(text), width)
