"""Methods compared along their dials: the least outside change for a given edit success.

One setting of a method is a point (success, outside change). Turning a dial draws a line of points;
what counts is its lower right edge: a point is on the frontier if no other point, nor a mixture of
two, has more success for as little change. Mixtures are honest: some edits are made at one setting
and the rest at the other.

The unit of every interval is the image: resampling draws images, and all points are computed again.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from cirp.statistics.bootstrap import Interval

Values = Float[np.ndarray, "point image"]
Edge = list[tuple[float, float]]  # (success, outside change), from least change to most success


def hull(success: Float[np.ndarray, " point"], outside: Float[np.ndarray, " point"]) -> Edge:
    """Return the lower right edge of the points' convex hull, from least change to most success.

    Doing nothing, (0, 0), is always one of the points: it can be mixed with anything.
    """
    least_change = {0.0: 0.0}
    for x, y in zip(map(float, success), map(float, outside), strict=True):
        least_change[x] = min(y, least_change.get(x, math.inf))
    edge: Edge = []
    for point in sorted(least_change.items()):
        while len(edge) > 1 and _turn(edge[-2], edge[-1], point) <= 0:
            edge.pop()
        edge.append(point)
    least = min(range(len(edge)), key=lambda i: edge[i][1])
    return edge[least:]


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def outside_at(level: float, edge: Edge) -> float:
    """Return the least change at this success, along the edge; NaN above its highest success."""
    xs, ys = zip(*edge, strict=True)
    if level > xs[-1]:
        return math.nan
    return float(np.interp(level, xs, ys))


def success_at(limit, edge: Edge):
    """Return the most success with at most so much change, for one limit or an array of them."""
    xs, ys = zip(*edge, strict=True)
    return np.interp(limit, ys, xs)


def area(limit: float, edge: Edge, points: int = 200) -> float:
    """Mean of `success_at` over all limits from 0 to `limit`: one number for a whole frontier."""
    levels = np.linspace(0, limit, points)
    return float(np.trapezoid(success_at(levels, edge), levels) / limit)


def edge_of(success: Values, outside: Values) -> Edge:
    """Return the edge of the means over images; NaN of an image is left out of its point's mean."""
    return hull(np.nanmean(success, axis=1), np.nanmean(outside, axis=1))


def resampled(
    groups: Sequence[tuple[Values, Values]], *, resamples: int = 2000, seed: int = 0
) -> list[tuple[Edge, ...]]:
    """Return the edge of each group: of the sample first, then of so many draws of its images.

    All groups hold the same images in the same order, so that differences are paired.

    Raises `ValueError` if they do not.
    """
    counts = {values.shape[1] for group in groups for values in group}
    if len(counts) != 1:
        raise ValueError(f"groups of {sorted(counts)} images; a pair needs the same images")
    (n,) = counts
    rng = np.random.default_rng(seed)
    draws = [np.arange(n), *(rng.integers(n, size=n) for _ in range(resamples))]
    return [tuple(edge_of(s[:, some], o[:, some]) for s, o in groups) for some in draws]


def interval(measure: Callable[..., float], edges: Sequence[tuple[Edge, ...]]) -> Interval:
    """Return `measure(edge, edge, ...)`, one edge a group, with its interval over the draws.

    `n` counts the draws in which it is defined, `dropped` the others.
    """
    value, *found = (float(measure(*some)) for some in edges)
    undefined = int(np.isnan(found).sum())
    if undefined == len(found):
        return Interval(value, math.nan, math.nan, 0, undefined, "none")
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Interval(value, float(low), float(high), len(found) - undefined, undefined, "percentile")


def estimate(
    measure: Callable[..., float], groups: Sequence[tuple[Values, Values]], *,
    resamples: int = 2000, seed: int = 0,
) -> Interval:  # fmt: skip
    """`interval` of one measure alone; of several, resample once."""
    return interval(measure, resampled(groups, resamples=resamples, seed=seed))
