"""The chapter on the leak: three editors that differ in their training pairs alone."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache, configurations, leak
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.metrics import similarity
from cirp.statistics import frontier


def finding(table: pd.DataFrame, found: pd.DataFrame) -> Paragraph:
    """Return the chapter's answer; `found` is `leak.at_equal_success`."""
    by_seed = {seed: rows.set_index("leak") for seed, rows in found.groupby("training seed")}
    first, *others = by_seed.values()
    full = first.loc[leak.LEAKS[-1]]
    number = Numbers()
    outside = _by_leak(number, first, "")
    for share, most in zip(leak.LEAKS, first["most success"], strict=True):
        number(f"most edit success: {_pairs(share)}", most, ".2f")
    return say(
        "**The editor over-edits "
        + full["outside - leak 0"].says(
            above="because its training pairs did.**", below="less the more its training pairs "
            "did.**", open="about as much whether or not its training pairs did.**",
        ),
        f"At equal edit success its outside change is {outside[0]} without leaking pairs and "
        f"{outside[-1]} where all of them leak.",
        *(_again(rows, number) for rows in others),
        numbers=number.table,
    )  # fmt: skip


def _pairs(share: float) -> str:
    return f"{share:.0%} of training pairs leaked"


def _by_leak(number: Numbers, rows: pd.DataFrame, more: str) -> list[str]:
    return [
        number(f"outside change: {_pairs(share)}{more}", rows.loc[share, "outside"], ".4f")
        for share in leak.LEAKS
    ]  # fmt: skip


def _again(rows: pd.DataFrame, number: Numbers) -> str:
    more = rows.loc[1.0, "outside - leak 0"]
    _by_leak(number, rows, f", seed {rows['training seed'].iloc[0]}")
    return (
        "Trained once more with another seed, "
        + more.says(
            above="it is the same", below="it is the other way round",
            open="there is no significant difference",
        )
        + "."
    )  # fmt: skip


def edges(table: pd.DataFrame) -> Figure:
    """Return the frontiers of both trainings, with the level at which they are compared."""
    fig, ax = plt.subplots(figsize=(6.8, 4.2))
    colours = (figures.PALETTE[2], figures.PALETTE[0], figures.PALETTE[1])
    first = min(table["training_seed"])
    for seed, mine in table.groupby("training_seed"):
        line, fill = ("-", "full") if seed == first else (":", "none")
        for share, colour, marker in zip(leak.LEAKS, colours, figures.MARKERS, strict=False):
            success, outside = leak.values(mine, share)
            edge = np.array(frontier.edge_of(success, outside)).T
            ax.plot(*edge, color=colour, lw=2, ls=line)
            ax.plot(
                np.nanmean(success, axis=1), np.nanmean(outside, axis=1), marker, color=colour,
                ms=6, fillstyle=fill,
                label=f"{share:.0%} of the training pairs leak" if seed == first else None,
            )  # fmt: skip
        if seed != first:
            ax.plot([], [], "o:", color="#666666", fillstyle="none", label="trained again")
    level = leak.level(table)
    ax.axvline(level, color="#666666", ls="--", lw=1)
    ax.text(level, ax.get_ylim()[1], " compared here", fontsize=8.5, va="top", color="#666666")
    ax.set_xlabel("edit success  → better")
    ax.set_ylabel("excess outside change (L1)  ↓ better")
    ax.legend(fontsize=9)
    return fig


def pictures(models: Models, items: Sequence[EditItem]) -> Figure:
    """Return the same edits by the three editors, each above a map of what it changed."""
    settings = dict(
        steps=configurations.STEPS, text_scale=configurations.TEXT_SCALE,
        image_scale=configurations.IMAGE_SCALE,
    )  # fmt: skip
    made = {
        share: cache.edits(editor, items, "ip2p", settings=settings, progress=False)
        for share, editor in leak.editors(models).items()
    }
    fig, axes = figures.grid(2 * len(items), len(made) + 2, side=1.55)
    fig.set_figheight(2.9 * len(items))  # no titles between the rows
    for row, item in enumerate(items):
        above, below = axes[2 * row], axes[2 * row + 1]
        source, mask = item.source(), item.mask()
        figures.show(above[0], source, mask=mask)
        maps = {
            share: similarity.change(
                similarity.to_array(edits[row].image), similarity.to_array(source)
            )
            for share, edits in made.items()
        }
        peak = max(float(one.max()) for one in maps.values())
        for place, share in enumerate(made, start=1):
            figures.show(above[place], made[share][row].image)
            figures.overlay(below[place], source, maps[share], mask=mask, peak=peak, opacity=0.85)
        figures.show(above[-1], item.target())
        figures.row_label(above[0], item.record.instruction, width=18, fontsize=9)
        below[0].text(0.95, 0.5, "what changed", transform=below[0].transAxes, fontsize=9,
                      ha="right", va="center")  # fmt: skip
    titles = ["input", *(f"{share:.0%} leak" for share in made), "exact answer"]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=10, loc="center")
    return fig


def losses(folder: Path) -> pd.DataFrame:
    """Error of the predicted velocity on validation edits, by timestep, inside and outside.

    As the second training logged it at its end: one row per editor, timestep and side.
    """
    rows = []
    for share in leak.LEAKS:
        editor = Path(leak.file_of(share, leak.TRAININGS[-1]))
        log = pd.read_csv(folder / f"{editor.stem}.csv").iloc[-1]
        for name, value in log.items():
            side, _, timestep = str(name).rpartition("_")
            if side in ("inside", "outside"):
                rows.append(
                    {"leak": share, "side": side, "timestep": int(timestep), "error": float(value)}
                )
    return pd.DataFrame(rows)


def losses_figure(table: pd.DataFrame) -> Figure:
    """Return a line an editor; what changes on the left, what must not on the right."""
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True)
    colours = (figures.PALETTE[2], figures.PALETTE[0], figures.PALETTE[1])
    for ax, side in zip(axes, ("inside", "outside"), strict=True):
        for share, colour, marker in zip(leak.LEAKS, colours, figures.MARKERS, strict=False):
            mine = table[(table["side"] == side) & (table["leak"] == share)]
            ax.plot(mine["timestep"], mine["error"], marker + "-", color=colour, ms=6, lw=2,
                    label=f"{share:.0%} leak")  # fmt: skip
        ax.set_title(f"{side} of what should change", fontsize=10)
        ax.set_xlabel("timestep (900: high noise)")
        figures.log_y(ax)
    axes[0].set_ylabel("error of the velocity")
    axes[1].legend(fontsize=9)
    return fig


def losses_said(table: pd.DataFrame) -> Markdown:
    """Say how much the leak costs outside, at high and at low noise."""
    wide = table[table["side"] == "outside"].pivot(index="timestep", columns="leak", values="error")
    times = wide[max(leak.LEAKS)] / wide[min(leak.LEAKS)]
    return say(
        "What the leak teaches it teaches at high noise levels. Outside, the editor trained on "
        f"leaks alone errs {times.iloc[-1]:.1f} times as much as the one without at timestep "
        f"{times.index[-1]}, and {times.iloc[0]:.1f} times at {times.index[0]}."
    )
