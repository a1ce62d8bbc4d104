"""Did remap reach what it set out to, as the plan wrote it down before a test edit was looked at?

Everything is on the local test edits and paired by image; "met" and "missed" are said only where
the whole 95 % interval is on one side of what was wanted.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from cirp.experiments import configurations, frontiers
from cirp.experiments.plan import plan
from cirp.figures.sentences import judged
from cirp.statistics import frontier
from cirp.statistics.bootstrap import (
    PRIMARY,
    SUCCESS,
    Interval,
    by_image,
    compare,
    mean_of,
    paired_interval,
)


def closed(
    base: pd.Series, own: pd.Series, best: pd.Series, *, resamples: int = 9999, seed: int = 0
) -> Interval:
    """How much of the way from the baseline's outside change to its own oracle's a method goes.

    The oracle is the same method told the true region. A ratio of means over the images on which
    all three are defined; the interval resamples images (percentiles, as for any ratio).
    """
    every = pd.concat([base, own, best], axis=1).astype(float)
    kept = every.dropna().to_numpy().T

    def ratio(way: np.ndarray, whole: np.ndarray, axis: int = -1):
        return way.mean(axis=axis) / whole.mean(axis=axis)

    way, whole = kept[0] - kept[1], kept[0] - kept[2]
    low, high = stats.bootstrap(
        (way, whole), ratio, paired=True, vectorized=True, method="percentile",
        n_resamples=resamples, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(
        float(ratio(way, whole)), float(low), float(high), kept.shape[1],
        len(every) - kept.shape[1], "percentile",
    )  # fmt: skip


def closing(table: pd.DataFrame, method: str) -> Interval:
    """`closed` of a method at the point it is shown at; `table` is that of `frontiers`.

    NaN if the method told the true region does not change less than the baseline by its interval:
    there is no way to go then.
    """
    shown = by_image(frontiers.at_shown(frontiers.local(table)), PRIMARY)
    told = by_image(frontiers.local(table, told=True), PRIMARY)[method]
    base = shown[configurations.BASELINE]
    whole = paired_interval(base.to_numpy(float), told.to_numpy(float))
    if not whole.low > 0:
        return whole._replace(mean=math.nan, low=math.nan, high=math.nan)
    return closed(base, shown[method], told)


def rivals(table: pd.DataFrame, ours: str = configurations.OURS) -> pd.DataFrame:
    """Every other method minus ours; `beats` is better on one axis and not worse on the other.

    Better and worse are intervals that leave zero out.
    """
    rows = []
    for name in dict.fromkeys(table.loc[table["method"] != ours, "method"]):
        done, change = (compare(table, name, ours, metric) for metric in (SUCCESS, PRIMARY))
        gains = (done.low > 0, change.high < 0)
        losses = (done.high < 0, change.low > 0)
        rows.append(
            {"method": name, "success": done, "outside": change,
             "beats": any(gains) and not any(losses)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def most_success(table: pd.DataFrame, method: str) -> Interval:
    """Return the most success on a method's dial minus the most on the baseline's, paired."""
    groups = [frontiers.values(table, name) for name in (method, configurations.BASELINE)]
    return frontier.estimate(lambda mine, base: mine[-1][0] - base[-1][0], groups)


def evaluate(
    table: pd.DataFrame, costs: pd.DataFrame, ours: str = configurations.OURS
) -> pd.DataFrame:
    """One row per aim: what was wanted, what was reached with its interval, and the verdict.

    `table` is that of `frontiers`, `costs` what `cirp cost methods` measured.
    """
    margins = plan().margins
    shown = frontiers.at_shown(frontiers.local(table))
    kept = most_success(table, ours)
    found: Mapping[str, tuple[Interval, float]] = {
        "most edit success minus the baseline's": (kept, -margins.success),
        "share of the way to its own oracle's outside change": (
            closing(table, ours), margins.closed,
        ),
        "overlap of its region with the true one (IoU)": (
            mean_of(shown, ours, "region_iou"),
            margins.region_iou,
        ),
    }  # fmt: skip
    rows = [{"aim": aim, **judged(span, wanted)} for aim, (span, wanted) in found.items()]
    for batch, time in (
        costs[costs["method"] == ours].set_index("batch")["time_over_baseline"].items()
    ):
        met = time <= margins.seconds
        rows.append(
            {"aim": f"time over the baseline's, batches of {batch}",
             "wanted": f"at most {margins.seconds:g}", "reached": f"{time:.2f}",
             "verdict": "met" if met else "missed"}
        )  # fmt: skip
    controls = shown["method"].isin(configurations.controls())
    others = rivals(shown[~controls], ours)
    better = list(others.loc[others["beats"], "method"])
    rows.append(
        {"aim": "methods better on one axis and not worse on the other", "wanted": "none",
         "reached": ", ".join(better) or "none", "verdict": "missed" if better else "met"}
    )  # fmt: skip
    return pd.DataFrame(rows)
