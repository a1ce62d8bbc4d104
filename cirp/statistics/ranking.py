"""Mean ranks of several methods on the same images, and which of them are told apart.

After Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", section 3.2.2:
Friedman's test of "all are alike", then Nemenyi's critical difference for every pair.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats


class Ranking(NamedTuple):
    """Two methods whose mean ranks differ by less than `critical` are not told apart."""

    ranks: pd.Series  # mean rank of each method, the best first; 1 is the best there is
    critical: float
    p: float  # of Friedman's test
    n: int  # images ranked on
    dropped: int  # images on which some method is undefined

    def together(self, a: str, b: str) -> bool:
        """Whether these two methods are not told apart."""
        return bool(abs(self.ranks[a] - self.ranks[b]) < self.critical)


def rank(values: pd.DataFrame, *, higher_is_better: bool, confidence: float = 0.95) -> Ranking:
    """Rank the methods (columns) on every image (row); equal values share their mean rank.

    Raises `ValueError` for fewer than three methods or two images, which Friedman's test needs.
    """
    kept = values.dropna()
    n, k = kept.shape
    if k < 3 or n < 2:
        raise ValueError(f"{k} methods on {n} images; give at least three methods and two images")
    signed = -kept.to_numpy(dtype=float) if higher_is_better else kept.to_numpy(dtype=float)
    ranks = pd.Series(stats.rankdata(signed, axis=1).mean(axis=0), index=kept.columns)
    equal = bool((signed == signed[:, :1]).all())  # the test is undefined where nothing differs
    p = 1.0 if equal else float(stats.friedmanchisquare(*signed.T).pvalue)
    # Nemenyi's q is that of the studentised range over the square root of two
    q = stats.studentized_range.ppf(confidence, k, np.inf) / np.sqrt(2)
    critical = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    return Ranking(ranks.sort_values(kind="stable"), critical, p, n, len(values) - n)
