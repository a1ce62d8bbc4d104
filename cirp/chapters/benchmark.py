"""The chapter on the benchmark: who stands where."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.experiments import configurations
from cirp.figures.tables import named
from cirp.statistics import ranking
from cirp.statistics.bootstrap import by_image


def rank_figure(table: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    """A panel a metric (name -> "higher" or "lower" is better): mean ranks over images.

    Methods whose bars overlap are not told apart at 5 % (Friedman and Nemenyi).
    """
    fig, axes = plt.subplots(1, len(metrics), figsize=(5.0 * len(metrics), 5.4))
    for ax, (metric, better) in zip(np.atleast_1d(axes), metrics.items(), strict=True):
        found = ranking.rank(by_image(table, metric), higher_is_better=better == "higher")
        own = (configurations.BASELINE, configurations.OURS)
        label = f"{named(metric)}\nmean rank, {found.n} images"
        figures.ranks(ax, found.ranks, found.critical, bold=own, unit=label)
    return fig


def finders_figure(ranked: pd.DataFrame) -> Figure:
    """`board` as dots with intervals; grey is what knows nothing, hollow what is told."""
    fig, ax = plt.subplots(figsize=(6.8, 0.3 * len(ranked) + 0.9))
    colours = {
        "finds it": figures.BASELINE,
        "knows nothing": figures.CONTROL,
        "knows it": "#222222",
    }
    for place, (_, row) in zip(range(len(ranked))[::-1], ranked.iterrows(), strict=True):
        colour = figures.NOISY if row["method"] == configurations.OURS else colours[row["kind"]]
        reach = [[row["IoU"] - row["low"]], [row["high"] - row["IoU"]]]
        ax.errorbar(
            row["IoU"], place, xerr=reach, fmt="o" if row["kind"] == "finds it" else "s",
            color=colour, markerfacecolor=colour if row["kind"] != "knows it" else "white",
            capsize=3, linewidth=1.6, markersize=6,
        )  # fmt: skip
    ax.set_yticks(range(len(ranked))[::-1], ranked["method"])
    for text in ax.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() == configurations.OURS else "normal")
    ax.set_xlim(0, None)
    ax.set_xlabel("overlap with the true region (mean IoU, 95 % interval)")
    ax.grid(axis="y", visible=False)
    return fig
