"""Did a method reach what it set out to: keep the edit, drop the rest, find the region, be first?

Everything is paired by image; intervals are 95 % bootstrap intervals over images.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from cirp.experiments import configurations
from cirp.statistics.bootstrap import (
    PRIMARY,
    SUCCESS,
    Interval,
    by_image,
    mean_interval,
    paired_interval,
)

KEPT, CLOSED, FOUND = -0.02, 0.8, 0.7  # what was wanted of remap before it was measured


def closed(outside: pd.DataFrame, method: str, *, resamples: int = 9999, seed: int = 0) -> Interval:
    """How much of the way from the baseline's outside change to the yardstick's a method goes.

    The yardstick is latent blending with the true mask. A ratio of means over the images on which
    all three are defined; the interval resamples images (percentiles, as for any ratio).
    """
    names = [configurations.BASELINE, method, configurations.TRUTH]
    kept = outside[names].dropna().to_numpy(dtype=float)
    base, own, best = kept.T

    def ratio(way: np.ndarray, whole: np.ndarray, axis: int = -1):
        return way.mean(axis=axis) / whole.mean(axis=axis)

    low, high = stats.bootstrap(
        (base - own, base - best), ratio, paired=True, vectorized=True, method="percentile",
        n_resamples=resamples, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(
        float(ratio(base - own, base - best)), float(low), float(high), len(kept),
        len(outside) - len(kept), "percentile",
    )  # fmt: skip


def rivals(table: pd.DataFrame, ours: str = configurations.OURS) -> pd.DataFrame:
    """Every other method minus ours; `beats` is better on one axis and not worse on the other.

    Better and worse are intervals that leave zero out.
    """
    success, outside = by_image(table, SUCCESS), by_image(table, PRIMARY)
    rows = []
    for name in success.columns.drop(ours):
        done = paired_interval(success[name].to_numpy(), success[ours].to_numpy())
        change = paired_interval(outside[name].to_numpy(), outside[ours].to_numpy())
        gains = (done.low > 0, change.high < 0)
        losses = (done.high < 0, change.low > 0)
        rows.append(
            {"method": name, "success": done.mean, "success_low": done.low,
             "success_high": done.high, "outside": change.mean, "outside_low": change.low,
             "outside_high": change.high, "beats": any(gains) and not any(losses)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def reached(table: pd.DataFrame, ours: str = configurations.OURS) -> pd.DataFrame:
    """One row per aim: what was wanted, what was reached with its interval, and whether it was met.

    `table` holds the baseline, the yardstick, `ours` and its rivals; whoever was told the true
    region is no rival.
    """
    success, outside = by_image(table, SUCCESS), by_image(table, PRIMARY)
    kept = paired_interval(
        success[ours].to_numpy(dtype=float), success[configurations.BASELINE].to_numpy(dtype=float)
    )
    way = closed(outside, ours)
    region = mean_interval(by_image(table, "region_iou")[ours].to_numpy(dtype=float))
    others = rivals(table[~table["method"].str.endswith("true mask")], ours)
    better = list(others.loc[others["beats"], "method"])
    aims: Mapping[str, tuple[Interval, float]] = {
        "edit success minus the baseline's": (kept, KEPT),
        "share of the excess outside change closed": (way, CLOSED),
        "overlap of its region with the true one (IoU)": (region, FOUND),
    }
    rows = [
        {"aim": aim, "wanted": f"at least {wanted:g}",
         "reached": f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]",
         "met": "yes" if found.mean >= wanted else "no"}
        for aim, (found, wanted) in aims.items()
    ]  # fmt: skip
    rows.append(
        {"aim": "methods better on one axis and not worse on the other", "wanted": "none",
         "reached": ", ".join(better) or "none", "met": "no" if better else "yes"}
    )  # fmt: skip
    return pd.DataFrame(rows)
