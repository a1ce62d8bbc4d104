"""Means, differences, trade-offs and grids of numbers, drawn onto axes that the caller owns.

Tables come in as `cirp.statistics` makes them: one row a point, intervals as `low` and `high`.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cirp.figures.style import CONTROL, MARKERS, PALETTE
from cirp.figures.text import fill
from cirp.statistics.bootstrap import Interval


def forest(
    ax: Axes,
    table: pd.DataFrame,
    *,
    label: str = "metric",
    value: str = "difference",
    unit: str = "difference, with 95 % interval",
    sides: tuple[str, str] | None = None,
) -> None:
    """Paired differences, each an `Interval`, against a line at zero.

    An interval that reaches zero is drawn hollow. A row with `primary` true is in bold. `sides` say
    what a difference to the left and to the right of zero means.
    """
    places = np.arange(len(table))[::-1]
    ax.axvline(0, color="#444444", linewidth=1)
    for place, (_, row) in zip(places, table.iterrows(), strict=True):
        found = row[value]
        crosses = not (found.low > 0 or found.high < 0)
        ax.errorbar(
            found.mean, place, xerr=reach([found]), fmt="o",
            color=PALETTE[0], markerfacecolor="white" if crosses else PALETTE[0],
            capsize=3, linewidth=1.6, markersize=6,
        )  # fmt: skip
    ax.set_yticks(places, table[label])
    for text, bold in zip(ax.get_yticklabels(), table.get("primary", []), strict=False):
        text.set_fontweight("bold" if bold else "normal")
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xlabel(unit)
    ax.grid(axis="y", visible=False)
    if sides:
        for x, side, align in zip((0.0, 1.0), sides, ("left", "right"), strict=True):
            ax.text(x, 1.01, side, transform=ax.transAxes, ha=align, va="bottom", fontsize=9)


def ranks(
    ax: Axes,
    means: pd.Series,
    critical: float,
    *,
    bold: Sequence[str] = (),
    unit: str = "mean rank",
) -> None:
    """Mean ranks, best on top, with bars of half the critical difference to either side.

    Two methods whose bars overlap are not told apart.
    """
    places = np.arange(len(means))[::-1]
    ax.barh(places, critical, left=means - critical / 2, color=PALETTE[5], alpha=0.55, height=0.62)
    ax.plot(means, places, "o", color=PALETTE[0], markersize=5.5)
    ax.set_yticks(places, means.index)
    for text in ax.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() in bold else "normal")
    ax.set_xlim(means.min() - 0.6 * critical - 0.2, means.max() + 0.6 * critical + 0.2)
    ax.set_ylim(-0.6, len(means) - 0.4)
    ax.set_xlabel(unit)
    ax.grid(axis="y", visible=False)


def reach(found: Sequence[Interval]) -> np.ndarray:
    """Return how far each interval reaches below and above its mean, as errorbar wants it."""
    ends = np.array([[one.mean - one.low, one.high - one.mean] for one in found]).T
    return np.nan_to_num(ends, nan=0.0).clip(min=0)


def reach_of(table: pd.DataFrame, metric: str) -> np.ndarray | None:
    """Return `reach` of a column beside `_low` and `_high`; None without them."""
    if f"{metric}_low" not in table:
        return None
    middle = table[metric].to_numpy(dtype=float)
    below = middle - table[f"{metric}_low"].to_numpy(dtype=float)
    above = table[f"{metric}_high"].to_numpy(dtype=float) - middle
    return np.nan_to_num(np.stack([below, above]), nan=0.0).clip(min=0)


def trade_off(
    ax: Axes,
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    controls: Sequence[str] = (),
    labels: tuple[str, str] | None = None,
    better: str = "",
    beside: Mapping[str, tuple[float, float]] | None = None,
    wrap: int = 32,
) -> None:
    """A curve for each method through its settings, in the table's order, with intervals.

    Columns `{x}_low`, `{x}_high`, `{y}_low`, `{y}_high` are drawn where they exist. Methods in
    `controls` are grey and dashed. `better` is a corner, such as "upper left", marked as such.
    `beside` writes names at their curve's last point, (right, up) of it in points of type, in place
    of the legend; their lines have up to `wrap` characters.
    """
    for number, (name, rows) in enumerate(table.groupby("method", sort=False)):
        is_control = name in controls
        colour = CONTROL if is_control else PALETTE[number % (len(PALETTE) - 1)]
        ax.errorbar(
            rows[x],
            rows[y],
            xerr=reach_of(rows, x),
            yerr=reach_of(rows, y),
            color=colour,
            ecolor=mpl.colors.to_rgba(colour, 0.35),
            elinewidth=1.2,
            linestyle="--" if is_control else "-",
            marker=MARKERS[number % len(MARKERS)],
            markersize=5.5,
            label=name,
        )
        if name in (beside or {}):
            right, up = beside[name]
            last = rows.iloc[-1]
            ax.annotate(
                fill(name, wrap), (last[x], last[y]), (right, up), textcoords="offset points",
                fontsize=9.5, color=colour, ha="left" if right >= 0 else "right",
                va="bottom" if up > 0 else "top",
            ).set_in_layout(False)  # fmt: skip
    ax.set_xlabel(labels[0] if labels else x)
    ax.set_ylabel(labels[1] if labels else y)
    if not beside:
        ax.legend(fontsize=9)
    if better:
        _mark_corner(ax, better)


CORNERS = {
    "upper left": (0.02, 0.98, "left", "top", "↖ better"),
    "upper right": (0.98, 0.98, "right", "top", "better ↗"),
    "lower left": (0.02, 0.02, "left", "bottom", "↙ better"),
    "lower right": (0.98, 0.02, "right", "bottom", "better ↘"),
}


def _mark_corner(ax: Axes, corner: str) -> None:
    if corner not in CORNERS:
        raise ValueError(f"better={corner!r}; it must be one of {', '.join(CORNERS)}")
    x, y, across, along, text = CORNERS[corner]
    ax.text(
        x, y, text, transform=ax.transAxes, ha=across, va=along, fontsize=9, color="#555555",
        style="italic",
    )  # fmt: skip


def number_grid(
    ax: Axes,
    table: pd.DataFrame,
    *,
    format: str = ".2f",
    cmap: str = "viridis",
    centre: float | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
    bar: str = "",
) -> None:
    """A heat map of a table with its numbers: layers by heads or times, or two guidance scales.

    Index and columns label the axes and may have names. `centre` (for differences) takes a palette
    that diverges from that value. Missing cells stay empty.
    """
    sns.heatmap(
        table.astype(float),
        ax=ax,
        annot=True,
        fmt=format,
        annot_kws={"fontsize": 8},
        cmap="vlag" if centre is not None else cmap,
        center=centre,
        vmin=limits[0] if limits else None,
        vmax=limits[1] if limits else None,
        linewidths=0.5,
        cbar=bool(bar),
        cbar_kws={"label": bar} if bar else None,
    )
    ax.set_title(title)
    ax.tick_params(axis="x", rotation=0)
    ax.tick_params(axis="y", rotation=0)


def over_time(
    ax: Axes,
    table: pd.DataFrame,
    *,
    x: str = "timestep",
    y: str,
    curve: str | None = None,
    unit: str = "",
) -> None:
    """Lines over the course of denoising, from pure noise at the left to the image at the right.

    Columns `{y}_low` and `{y}_high`, if there are any, are a band.
    """
    groups = table.groupby(curve, sort=False) if curve else [("", table)]
    for number, (name, rows) in enumerate(groups):
        colour = PALETTE[number % len(PALETTE)]
        ax.plot(rows[x], rows[y], color=colour, marker=MARKERS[number % len(MARKERS)],
                markersize=4, label=name)  # fmt: skip
        if f"{y}_low" in rows:
            ax.fill_between(rows[x], rows[f"{y}_low"], rows[f"{y}_high"], color=colour, alpha=0.15)
    ax.invert_xaxis()
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set_xlabel("time step (noise → image)" if x == "timestep" else x)
    ax.set_ylabel(unit or y)
    if curve:
        ax.legend(fontsize=9, title=curve)
