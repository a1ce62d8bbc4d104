"""How far an edit is from the nearest right answer, where more than one answer is right.

Distance to the one target that happens to be stored punishes a good edit for the car it chose. A
right answer is any picture that does what was asked and nothing else; the drawn world can draw many
(`cirp.miniature.answers`). What is compared lies inside the region that some right answer changes.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from cirp.metrics.tolerance import iou_within

Pixels = UInt8[np.ndarray, "row column 3"]
CHANGED = 8  # of 255: a pixel differs if any channel moves by more
# All chosen on validation edits, where they refuse what is done by halves and no right answer.
CLEAR = 24  # of 255: more than an autoencoder's error; which of two pictures is nearer can be told
MOST = 0.8  # of what had to change clearly has to be nearer, so that half an edit is none
HALF = 0.5  # of it has to go half of the way at least, so that a blurred thing is none


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


def _closest(
    edited: Pixels, source: Pixels, answers: Sequence[Pixels]
) -> tuple[Pixels, float] | None:
    """Return the nearest right answer and how far it is; None if no answer changes anything."""
    found = distances(edited, source, answers)
    if not np.isfinite(found).all():
        return None
    return answers[int(found.argmin())], float(found.min())


def share_done(edited: Pixels, source: Pixels, answer: Pixels, *, way: float = 0.0) -> float:
    """Of the pixels in which an answer clearly differs from the source, how many are nearer to it.

    With `way`, how many went more than that share of the way. 0 for the source itself, NaN where
    nothing differs clearly.
    """
    y, s, a = (picture.astype(np.int16) for picture in (edited, source, answer))
    where = (np.abs(a - s) > CLEAR).any(axis=-1)
    if not where.any():
        return np.nan
    mine, idle = (np.abs(picture - a).sum(axis=-1)[where] for picture in (y, s))
    return float((mine < (1 - way) * idle).mean())


def nearest(edited: Pixels, source: Pixels, answers: Sequence[Pixels]) -> dict[str, float]:
    """`answer_distance` to the nearest right answer, `answer_share`, `answer_iou` and `nearer`.

    `answer_iou` is PaintBench's score against it (`cirp.metrics.tolerance`).
    `nearer` is 1.0 if the source is farther off from its own nearest, `share_done` of the answer
    is at least `MOST`, and half of it at least went half of the way: a mean alone lets pass what is
    done well by half, and what blurs away the old without drawing the new. Doing nothing is never
    nearer than the source, nor is anything that undoes itself.
    """
    closest = _closest(edited, source, answers)
    if closest is None:
        return dict.fromkeys(("answer_distance", "answer_share", "answer_iou", "nearer"), np.nan)
    answer, distance = closest
    idle = distances(source, source, answers).min()
    share, halfway = (share_done(edited, source, answer, way=way) for way in (0.0, 0.5))
    # where nothing is clear, the mean alone counts
    near = distance < idle and not share < MOST and not halfway < HALF
    return {
        "answer_distance": distance, "answer_share": share,
        "answer_iou": iou_within(source, answer, edited), "nearer": float(near),
    }  # fmt: skip


def share_off(edited: Pixels, source: Pixels, answers: Sequence[Pixels]) -> float:
    """Of what the nearest right answer changes, how much of the picture clearly differs from it.

    0 for a right answer itself, NaN if no answer changes anything.
    """
    closest = _closest(edited, source, answers)
    if closest is None:
        return np.nan
    answer, _ = closest
    off = (np.abs(edited.astype(np.int16) - answer) > CLEAR).any(axis=-1)
    return float(off[allowed(source, [answer])].mean())


def by_count(
    edited: Pixels, source: Pixels, answers: Sequence[Pixels], counts: Sequence[int]
) -> dict[int, float]:
    """`answer_distance` with only the first so many answers, the region that of all of them."""
    found = distances(edited, source, answers)
    return {count: float(found[:count].min()) for count in counts}
