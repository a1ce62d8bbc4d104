"""Edits of the drawn world with all that it knows of them: the right answers, too."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from cirp.data.edits import EditItem, EditRecord, load_edits
from cirp.miniature import export
from cirp.miniature.answers import answers
from cirp.miniature.scene import render

ANSWERS = 32  # right answers that an edit is compared with


def load_drawn(split: str, count: int, *, first: int = 0) -> list[EditItem]:
    """Edits `first` to `first + count` of a split, equally many of each kind."""
    return load_edits(export.drawn_varied(split, count, first=first))


def right_answers(
    items: Sequence[EditItem], count: int = ANSWERS
) -> list[list[UInt8[np.ndarray, "row column 3"]] | None]:
    """Of each item at most `count` right answers; None where the world does not know any."""
    return [
        _drawn(item.record.model_dump_json(), count) if item.record.split else None
        for item in items
    ]


@lru_cache(maxsize=1024)
def _drawn(row: str, count: int) -> list[np.ndarray]:
    pair = export.drawn_pair(EditRecord.model_validate_json(row))
    return [render(scene) for scene in answers(pair, count)]
