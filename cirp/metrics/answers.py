"""How far an edit is from the nearest right answer, where more than one answer is right.

Distance to the one target that happens to be stored punishes a good edit for the car it chose. A
right answer is any picture that does what was asked and nothing else; the drawn world can draw many
(`cirp.miniature.answers`). What is compared lies inside the region that some right answer changes.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

Pixels = UInt8[np.ndarray, "row column 3"]
CHANGED = 8  # of 255: a pixel differs if any channel moves by more


def allowed(source: Pixels, answers: Sequence[Pixels]) -> Bool[np.ndarray, "row column"]:
    """Where at least one right answer differs from the source."""
    moved = np.stack(answers).astype(np.int16) - source.astype(np.int16)
    return (np.abs(moved) > CHANGED).any(axis=-1).any(axis=0)


def distances(
    edited: Pixels, source: Pixels, answers: Sequence[Pixels]
) -> Float[np.ndarray, " answer"]:
    """Mean absolute difference, 0 to 1, to each answer inside of what they change; NaN if none."""
    where = allowed(source, answers)
    if not where.any():
        return np.full(len(answers), np.nan)
    y = edited[where].astype(np.float64)
    return np.array([np.abs(y - a[where]).mean() / 255 for a in answers])


def nearest(edited: Pixels, source: Pixels, answers: Sequence[Pixels]) -> dict[str, float]:
    """`answer_distance`: to the nearest right answer. `nearer`: 1.0 if the source is farther off.

    Doing nothing is never nearer than the source, nor is anything that undoes itself.
    """
    mine = distances(edited, source, answers).min()
    idle = distances(source, source, answers).min()
    known = np.isfinite(mine) and np.isfinite(idle)
    return {"answer_distance": float(mine), "nearer": float(mine < idle) if known else np.nan}


def by_count(
    edited: Pixels, source: Pixels, answers: Sequence[Pixels], counts: Sequence[int]
) -> dict[int, float]:
    """`answer_distance` with only the first so many answers, the region that of all of them."""
    found = distances(edited, source, answers)
    return {count: float(found[:count].min()) for count in counts}
