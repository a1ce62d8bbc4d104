"""Intervals and tests for paired comparisons of editing methods; scipy underneath.

The unit is the image. Several seeds of one image are averaged first: they are no independent
evidence. Two methods are compared image by image, on the same images and the same initial noise.

A metric may be undefined (NaN) or infinite (PSNR of equal images) for an image. Such images, or
pairs in which either side is such, are dropped and *counted*: read `dropped` beside every number.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

PRIMARY = "l1_source_outside_excess"
"""The one metric declared before anything was measured: the mean absolute change outside the mask
beyond the autoencoder's own error. It is tested without correction; all others are secondary."""

SUCCESS = "success"
"""Always reported beside PRIMARY, which alone would be won by doing nothing."""

YES_OR_NO = (
    SUCCESS,
    "gained_seen",
    "lost_gone",
    "kept_seen",
    "whole",
    "nothing_added",
    "nearer",
    "answered",
    "exact",
    "done",
    "other_done",
)
"""Metrics that are 0 or 1 of an image and seed."""

RESAMPLES = 9999
NO_BREAK, MINUS = "\u00a0", "\u2212"  # an interval does not break over lines

Values = Float[np.ndarray, " image"]


class Interval(NamedTuple):
    """A mean with its confidence interval.

    `low` and `high` are NaN for fewer than two values. If all values are equal they equal the mean:
    every resample has it; that is no proof of certainty, and `kind` then says "constant". Of
    answers that are yes or no the exact binomial interval is known even then.
    """

    mean: float
    low: float
    high: float
    n: int  # values used
    dropped: int  # values that were NaN or infinite
    kind: str  # "bca", "percentile" (where BCa is undefined), "constant", "exact" or "none"

    def __format__(self, spec: str) -> str:
        """Write the mean and its interval: f"{x:+.3f}" is "+0.115 [+0.046, +0.158]"."""
        spec = spec or ".3f"
        text = f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"
        if math.isnan(self.low):
            text = "-" if math.isnan(self.mean) else f"{self.mean:{spec}}"
        return text.replace(" ", NO_BREAK).replace("-", MINUS) if text != "-" else text

    def says(self, *, above: str, below: str, open: str) -> str:
        """Return the words for a difference: `above` zero, `below` it, or `open`."""
        return above if self.low > 0 else below if self.high < 0 else open


def mean_interval(
    values: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0,
    metric: str = "",
) -> Interval:  # fmt: skip
    """Bootstrap interval of the mean over images.

    `metric` is what the values are of: if they are all yes or all no (`YES_OR_NO`), the interval is
    that of Clopper and Pearson (1934), since no resample differs from them.

    Bias-corrected and accelerated (Efron 1987), as `scipy.stats.bootstrap` does it. The same
    values and seed give the same interval. With few values (n = 10) it is somewhat too narrow.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; it must lie between 0 and 1, such as 0.95")
    kept = values[np.isfinite(values)]
    n, dropped = len(kept), len(values) - len(kept)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, n, dropped, "none")
    mean = float(kept.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, n, dropped, "none")
    if _all_equal(kept):
        if metric in YES_OR_NO and mean in (0, 1):
            exact = stats.binomtest(round(mean * n), n).proportion_ci(confidence)
            return Interval(mean, float(exact.low), float(exact.high), n, dropped, "exact")
        return Interval(mean, mean, mean, n, dropped, "constant")
    for method in ("BCa", "percentile"):
        with np.errstate(all="ignore"):
            low, high = stats.bootstrap(
                (kept,),
                np.mean,
                confidence_level=confidence,
                n_resamples=resamples,
                method=method,
                vectorized=True,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            break
    return Interval(mean, float(low), float(high), n, dropped, method.lower())


def paired_interval(
    a: Values, b: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0,
    metric: str = "",
) -> Interval:  # fmt: skip
    """Bootstrap interval of the mean of a - b over images; a[i] and b[i] are of one image.

    `metric` as in `mean_interval`: answers of which no two differ may still differ in as large a
    share of images as the exact interval of none of n allows, either way.
    """
    difference = _difference(a, b)
    found = mean_interval(difference, confidence=confidence, resamples=resamples, seed=seed)
    if metric in YES_OR_NO and found.kind == "constant" and found.mean == 0:
        most = float(stats.binomtest(0, found.n).proportion_ci(confidence).high)
        return found._replace(low=-most, high=most, kind="exact")
    return found


def paired_permutation(a: Values, b: Values, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p-value of "the mean of a - b is 0", by flipping the signs of the differences.

    Exact while 2**n <= resamples, otherwise from random flips (p is then at least
    2 / (resamples + 1)). NaN without any pair. The smallest p that n pairs can give is 2 / 2**n:
    five images never reach 0.05.
    """
    difference = _difference(a, b)
    difference = difference[np.isfinite(difference)]
    if len(difference) == 0:
        return math.nan
    if len(difference) == 1 or not difference.any():
        return 1.0
    return float(
        stats.permutation_test(
            (difference,),
            np.mean,
            permutation_type="samples",
            n_resamples=resamples,
            vectorized=True,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def holm(p_values: Values) -> Values:
    """Holm's step-down correction (1979); NaNs stay and do not count as tests."""
    adjusted = np.full(len(p_values), math.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def average_seeds(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    unit: str = "id",
    method: str = "method",
    seed: str = "seed",
) -> pd.DataFrame:
    """One row per method and image: means over its seeds, and their number in `seeds`.

    Undefined values are left out of an image's mean; it is NaN only if no seed has one. So the mean
    of `success` is a rate, and of a gated metric the mean over the seeds that succeeded.

    Raises `ValueError` for missing columns, or two rows of one method, image and seed: filter the
    table to one setting per method, or put the setting into the method's name.
    """
    needed = [method, unit, seed, *metrics]
    missing = [column for column in needed if column not in table]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}; it has {', '.join(table)}")
    repeated = table.duplicated([method, unit, seed])
    if repeated.any():
        row = table.loc[repeated, [method, unit, seed]].iloc[0].to_dict()
        raise ValueError(f"two rows of {row}; filter the table to one setting per method")
    groups = table.groupby([method, unit], sort=False)
    means = groups[list(metrics)].mean()
    return means.assign(seeds=groups.size()).reset_index()


def by_image(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Images (rows) by methods (columns); a method's seeds are averaged."""
    return average_seeds(table, [metric]).pivot(index="id", columns="method", values=metric)


def summarise(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    unit: str = "id",
    method: str = "method",
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """One row per method and metric: mean over images, interval, n, dropped. Seeds are averaged."""
    images = average_seeds(table, metrics, unit=unit, method=method)
    rows = []
    for name, group in images.groupby(method, sort=False):
        for metric in metrics:
            interval = mean_interval(
                group[metric].to_numpy(dtype=float), confidence=confidence, resamples=resamples,
                metric=metric,
            )  # fmt: skip
            rows.append({method: name, "metric": metric, **interval._asdict()})
    return pd.DataFrame(rows)


def mean_of(table: pd.DataFrame, method: str, metric: str) -> Interval:
    """Return the mean of a metric over the images of one method; seeds are averaged."""
    images = by_image(table[table["method"] == method], metric)
    return mean_interval(images[method].to_numpy(float), metric=metric)


def compare(table: pd.DataFrame, a: str, b: str, metric: str) -> Interval:
    """Return the mean of method `a` minus method `b`, paired by image; seeds are averaged."""
    images = by_image(table[table["method"].isin([a, b])], metric)
    return paired_interval(images[a].to_numpy(float), images[b].to_numpy(float), metric=metric)


def compare_metrics(
    table: pd.DataFrame,
    a: str,
    b: str,
    metrics: Sequence[str],
    *,
    primary: str = PRIMARY,
    unit: str = "id",
    method: str = "method",
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Compare method `a` with method `b`, paired by image: a row a metric, the primary one first.

    `table` has one row per method, image and seed. Columns of the result: `metric`, `primary`,
    `mean_a`, `mean_b` (over the pairs used), `difference` (the `Interval` of the mean of a - b),
    `p` of the permutation test, `p_holm` (Holm's correction over the secondary metrics; the primary
    one keeps its p), `n` pairs, `dropped` images (undefined on either side, or present on one
    only).

    Raises `ValueError` for an unknown method or metric, and if `primary` is not among `metrics`.
    """
    if primary not in metrics:
        raise ValueError(
            f"the primary metric {primary!r} is not among {', '.join(metrics)}; add it"
        )
    known = list(dict.fromkeys(table[method]))
    for name in (a, b):
        if name not in known:
            raise ValueError(f"no rows of method {name!r}; the table has {', '.join(known)}")
    chosen = table[table[method].isin([a, b])]
    images = average_seeds(chosen, metrics, unit=unit, method=method)

    ordered = [primary, *(metric for metric in dict.fromkeys(metrics) if metric != primary)]
    rows = []
    for metric in ordered:
        wide = images.pivot(index=unit, columns=method, values=metric)
        left, right = wide[a].to_numpy(dtype=float), wide[b].to_numpy(dtype=float)
        used = np.isfinite(_difference(left, right))
        interval = paired_interval(
            left, right, confidence=confidence, resamples=resamples, metric=metric
        )
        rows.append(
            {
                "metric": metric,
                "primary": metric == primary,
                "mean_a": float(left[used].mean()) if used.any() else math.nan,
                "mean_b": float(right[used].mean()) if used.any() else math.nan,
                "difference": interval,
                "p": paired_permutation(left, right, resamples=resamples),
                "n": interval.n,
                "dropped": interval.dropped,
            }
        )
    result = pd.DataFrame(rows)
    corrected = result["p"].to_numpy(dtype=float, copy=True)
    corrected[1:] = holm(corrected[1:])
    result.insert(result.columns.get_loc("p") + 1, "p_holm", corrected)
    return result


def _difference(a: Values, b: Values) -> Values:
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and counted as dropped
        return a - b


def _all_equal(values: Values) -> bool:
    """Equal up to rounding: differences like 0.3 - 0.2 and 0.2 - 0.1 are one number."""
    spread = values.max() - values.min()
    return bool(spread <= 1e-12 * max(1.0, float(np.abs(values).max())))
