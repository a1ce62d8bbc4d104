"""The chapter on causes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.experiments import configurations
from cirp.statistics.bootstrap import PRIMARY


def scatter(traces: pd.DataFrame, table: pd.DataFrame, *, bins: int = 10) -> Figure:
    """Guidance outside the region against the baseline's excess outside change, and its trend.

    The trend is the mean of `bins` groups of equally many edits.
    """
    base = table[table["method"] == configurations.BASELINE].groupby("id")[PRIMARY].mean()
    both = traces.set_index("id")[["guidance outside", "mean |guidance| outside"]]
    both = both.join(base).dropna()
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
    for ax, name, label in zip(
        axes,
        ("guidance outside", "mean |guidance| outside"),
        ("share of the text's change that is outside", "the text's change per cell outside"),
        strict=True,
    ):
        ax.scatter(both[name], both[PRIMARY], s=14, color=figures.BASELINE, alpha=0.35, lw=0)
        order = both.sort_values(name)
        groups = [
            order.iloc[i] for i in np.array_split(np.arange(len(order)), min(bins, len(order)))
        ]
        middles = [(group[name].mean(), group[PRIMARY].mean()) for group in groups]
        ax.plot(*zip(*middles, strict=True), color=figures.NOISY, marker="o", ms=4, lw=1.6)
        ax.set_xlabel(label)
    axes[0].set_ylabel("excess outside change (L1)")
    return fig
