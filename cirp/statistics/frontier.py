"""Methods compared along their dials: the least outside change for a given edit success.

One setting of a method is a point (success, outside change). Turning a dial draws a line of points;
what counts is its lower right edge: a point is on the frontier if no other point, nor a mixture of
two, has more success for as little change. Mixtures are honest: some edits are made at one setting
and the rest at the other.

The unit of every interval is the image: resampling draws images, and all points are computed again.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "point image"]


class Estimate(NamedTuple):
    """A number of the sample, and the 95 % percentile interval over resampled images."""

    value: float
    low: float
    high: float
    undefined: float  # share of resamples in which it is not defined


def hull(
    success: Float[np.ndarray, " point"], outside: Float[np.ndarray, " point"]
) -> list[tuple[float, float]]:
    """The lower right edge of the points' convex hull, from least change to most success.

    Doing nothing, (0, 0), is always one of the points: it can be mixed with anything.
    """
    least_change = {0.0: 0.0}
    for x, y in zip(map(float, success), map(float, outside), strict=True):
        least_change[x] = min(y, least_change.get(x, math.inf))
    edge: list[tuple[float, float]] = []
    for point in sorted(least_change.items()):
        while len(edge) > 1 and _turn(edge[-2], edge[-1], point) <= 0:
            edge.pop()
        edge.append(point)
    least = min(range(len(edge)), key=lambda i: edge[i][1])
    return edge[least:]


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def outside_at(level: float, edge: Sequence[tuple[float, float]]) -> float:
    """The least change at this success, along the edge; NaN above its highest success."""
    xs, ys = zip(*edge, strict=True)
    if level > xs[-1]:
        return math.nan
    return float(np.interp(level, xs, ys))


def success_at(limit: float, edge: Sequence[tuple[float, float]]) -> float:
    """The most success with at most so much change."""
    xs, ys = zip(*edge, strict=True)
    return float(np.interp(limit, ys, xs))


def area(limit: float, edge: Sequence[tuple[float, float]], points: int = 200) -> float:
    """Mean of `success_at` over all limits from 0 to `limit`: one number for a whole frontier."""
    levels = np.linspace(0, limit, points)
    return float(np.trapezoid([success_at(x, edge) for x in levels], levels) / limit)


def edge_of(success: Values, outside: Values) -> list[tuple[float, float]]:
    """The edge of the means over images; NaN of an image is left out of its point's mean."""
    return hull(np.nanmean(success, axis=1), np.nanmean(outside, axis=1))


def estimate(
    measure, groups: Sequence[tuple[Values, Values]], *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """`measure(edge, edge, ...)` of one frontier for each group, with an interval over images.

    All groups hold the same images in the same order, so that differences are paired.

    Raises `ValueError` if they do not.
    """
    counts = {values.shape[1] for group in groups for values in group}
    if len(counts) != 1:
        raise ValueError(f"groups of {sorted(counts)} images; a pair needs the same images")
    (n,) = counts
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        some = rng.integers(n, size=n)
        found.append(measure(*(edge_of(s[:, some], o[:, some]) for s, o in groups)))
    found = np.array(found, dtype=float)
    value = float(measure(*(edge_of(s, o) for s, o in groups)))
    if np.isnan(found).all():
        return Estimate(value, math.nan, math.nan, 1.0)
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Estimate(value, float(low), float(high), float(np.isnan(found).mean()))
