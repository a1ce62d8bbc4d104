"""Edits of the drawn world with all that it knows of them: the right answers, too."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from cirp.data.edits import EditItem, load_edits
from cirp.miniature import export
from cirp.miniature.answers import answers
from cirp.miniature.grammar import WHOLE_PICTURE
from cirp.miniature.pairs import Pair
from cirp.miniature.scene import render

ANSWERS = 32  # right answers that an edit is compared with


def load_miniature_edits(split: str, count: int, *, first: int = 0) -> list[EditItem]:
    """Edits `first` to `first + count` of a split, equally many of each kind."""
    return load_edits(export.drawn(split, count, first=first))


def local_edits(items: Iterable[EditItem]) -> list[EditItem]:
    """Return the edits that have an outside."""
    return [item for item in items if item.record.edit_type not in WHOLE_PICTURE]


def is_local(table: pd.DataFrame) -> pd.Series:
    """Mark the rows of edits that have an outside."""
    return ~table["edit_type"].isin(WHOLE_PICTURE)


def right_answers(
    items: Sequence[EditItem], count: int = ANSWERS
) -> list[list[UInt8[np.ndarray, "row column 3"]] | None]:
    """Of each item at most `count` right answers; None where the world does not know any."""
    rows = (item.record for item in items)
    return [_rendered(export.drawn_pair(row), count) if row.split else None for row in rows]


@lru_cache(maxsize=1024)
def _rendered(pair: Pair, count: int) -> list[np.ndarray]:
    return [render(scene) for scene in answers(pair, count)]
