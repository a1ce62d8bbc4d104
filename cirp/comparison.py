"""Figures and tables that lay all methods side by side."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import contenders, figures
from cirp.data import EditItem
from cirp.plates import OUTSIDE, SUCCESS, points
from cirp.sampling import Edit
from cirp.statistics import average_seeds, mean_interval, paired_interval


def gallery(items: Sequence[EditItem], made: Mapping[str, Sequence[Edit]]) -> Figure:
    """A row per edit, a column per method; the line is the region each method worked with."""
    names = list(made)
    fig, axes = figures.grid(len(items), len(names) + 2, side=1.15)
    axes = np.atleast_2d(axes)
    for row, item in enumerate(items):
        truth = item.mask()
        figures.show(axes[row, 0], item.source(), "input" if row == 0 else "", mask=truth)
        for column, name in enumerate(names, start=1):
            one = made[name][row]
            region = None if one.mask is None else np.asarray(one.mask) > 127
            if region is not None and (region.all() or not region.any()):
                region = None
            title = _folded(name) if row == 0 else ""
            figures.show(axes[row, column], one.image, title, mask=region)
        if (target := item.target()) is not None:
            figures.show(axes[row, -1], target, "exact\nanswer" if row == 0 else "")
    for ax in axes[0]:
        ax.title.set_fontsize(8)
    return fig


def _folded(name: str, width: int = 14) -> str:
    lines = [""]
    for word in name.split():
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def plane(table: pd.DataFrame, told: pd.DataFrame, controls: pd.DataFrame) -> Figure:
    """Success against excess outside change: one numbered point a method, hollow with true mask."""
    fig, (ax, key) = plt.subplots(1, 2, figsize=(9.6, 5.2), width_ratios=(3, 1.55))
    key.set_axis_off()
    rows = points(table, (SUCCESS, OUTSIDE))
    true = points(told, (SUCCESS, OUTSIDE)).set_index("method")
    lines = []
    for number, row in rows.iterrows():
        colour = figures.PALETTE[number % len(figures.PALETTE)]
        special = row["method"] in (contenders.BASELINE, contenders.OURS)
        ax.errorbar(
            row[SUCCESS], row[OUTSIDE],
            xerr=[[row[SUCCESS] - row[f"{SUCCESS}_low"]], [row[f"{SUCCESS}_high"] - row[SUCCESS]]],
            yerr=[[row[OUTSIDE] - row[f"{OUTSIDE}_low"]], [row[f"{OUTSIDE}_high"] - row[OUTSIDE]]],
            fmt="D" if special else "o", color=colour, markersize=8 if special else 6,
            alpha=0.9, elinewidth=0.8 if not special else 1.6,
        )  # fmt: skip
        ax.annotate(
            str(number + 1), (row[SUCCESS], row[OUTSIDE]), xytext=(5, 5),
            textcoords="offset points", fontsize=9, weight="bold" if special else "normal",
        )  # fmt: skip
        lines.append((f"{number + 1}  {row['method']}", colour))
        name = f"{row['method']}, true mask"
        if name in true.index:
            ax.plot(
                [row[SUCCESS], true.loc[name, SUCCESS]], [row[OUTSIDE], true.loc[name, OUTSIDE]],
                color=colour, linewidth=0.7, alpha=0.6,
            )  # fmt: skip
            ax.plot(
                true.loc[name, SUCCESS], true.loc[name, OUTSIDE], "o", color=colour,
                markerfacecolor="white", markersize=5,
            )  # fmt: skip
    still = points(controls, (SUCCESS, OUTSIDE))
    ax.plot(still[SUCCESS], still[OUTSIDE], "s", color=figures.CONTROL, markersize=6)
    for _, row in still.iterrows():
        ax.annotate(
            row["method"], (row[SUCCESS], row[OUTSIDE]), xytext=(5, -10),
            textcoords="offset points", fontsize=7.5, color=figures.CONTROL,
        )  # fmt: skip
    if contenders.TRUTH in true.index:
        best = true.loc[contenders.TRUTH]
        ax.plot(best[SUCCESS], best[OUTSIDE], "*", color="#222222", markersize=13)
        lines.append((f"★  {contenders.TRUTH}", "#222222"))
    for place, (text, colour) in enumerate(lines):
        key.text(0.0, 0.98 - 0.06 * place, text, color=colour, fontsize=9, va="top")
    key.text(0.0, 0.0, "hollow: the same method\ntold the true region", fontsize=8.5, va="bottom")
    ax.set_xlabel("edit success (judge)  → better")
    ax.set_ylabel("excess outside change (L1)  ↓ better")
    return fig


def standing(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Each method against the baseline, paired by image, and how near it comes to the true mask.

    `closed` is the share of the distance between the baseline's excess outside change and that of
    latent blending with the true mask. A ratio of means over images that have both.
    """
    both = pd.concat([table, truth[truth["method"] == contenders.TRUTH]], ignore_index=True)
    images = average_seeds(both, [SUCCESS, OUTSIDE, "region_iou", "unet_calls", "seconds"])
    wide = {
        metric: images.pivot(index="id", columns="method", values=metric)
        for metric in (SUCCESS, OUTSIDE)
    }
    base = contenders.BASELINE
    gap = (wide[OUTSIDE][base] - wide[OUTSIDE][contenders.TRUTH]).mean()
    cost = images.groupby("method")[["unet_calls", "seconds"]].mean()
    rows = []
    for name in dict.fromkeys(both["method"]):
        row = {"method": name}
        for metric in (SUCCESS, OUTSIDE):
            values = wide[metric][name].to_numpy(dtype=float)
            mean = mean_interval(values)
            row[metric] = mean.mean
            if name != base:
                found = paired_interval(values, wide[metric][base].to_numpy(dtype=float))
                row |= {f"{metric} - baseline": found.mean, f"{metric}_low": found.low,
                        f"{metric}_high": found.high}  # fmt: skip
        row["closed"] = float((wide[OUTSIDE][base] - wide[OUTSIDE][name]).mean() / gap)
        row["region IoU"] = images.loc[images["method"] == name, "region_iou"].mean()
        row["UNet rows / baseline"] = cost.loc[name, "unet_calls"] / cost.loc[base, "unet_calls"]
        row["seconds / baseline"] = cost.loc[name, "seconds"] / cost.loc[base, "seconds"]
        rows.append(row)
    return pd.DataFrame(rows)


def scatter(traces: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Guidance and attention outside the region against the baseline's excess outside change."""
    base = table[table["method"] == contenders.BASELINE].groupby("id")[OUTSIDE].mean()
    both = traces.set_index("id").join(base).dropna()
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
    for ax, name, label in zip(
        axes,
        ("guidance outside", "mean |guidance| outside"),
        ("share of |e(I,T) - e(I,0)| outside", "mean |e(I,T) - e(I,0)| outside"),
        strict=True,
    ):
        ax.scatter(both[name], both[OUTSIDE], s=26, color=figures.BASELINE, alpha=0.8)
        ax.set_xlabel(label)
    axes[0].set_ylabel("excess outside change (L1)")
    return fig
