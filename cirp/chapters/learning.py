"""How the editor learnt: what its training's monitor logged, with pictures, for chapter 2.

The monitor looks at 96 validation edits, twelve of each kind, and asks less than the book: nearness
is to the one target and on average (`cirp.miniature.training.monitor`).
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import binomtest, linregress, t

from cirp import figures
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.scene import SIZE
from cirp.miniature.training.monitor import EDITS, LEVELS, edits

LOG = Path("monitor") / "instruct-pix2pix"  # in the folder of the trainings' records
GAP, ACROSS = 2, 4  # of the monitor's sheets: pixels between strips, strips a line
WANTED = 0.9


def logged(folder: Path) -> pd.DataFrame:
    """One row a look: samples of the last stage, success by kind, errors by timestep."""
    return pd.read_csv(folder / LOG / "monitor.csv")


def finding(table: pd.DataFrame) -> Paragraph:
    """What a doubling of the samples adds, and how far that would lead."""
    fit = linregress(np.log2(table["samples"]), table["success"])
    reach = t.ppf(0.975, len(table) - 2) * fit.stderr
    number = Numbers()
    gain = number("success added by each doubling of the samples", fit.slope,
                  fit.slope - reach, fit.slope + reach)  # fmt: skip
    last = binomtest(round(table["success"].iloc[-1] * EDITS), EDITS).proportion_ci()
    now = number("success at the end of the training", table["success"].iloc[-1], *last)
    flat = fit.slope - reach <= 0
    ahead = (
        "so that the curve says nothing of how many more would be needed"
        if flat
        else f"at which rate {WANTED:g} would be reached after "
        f"{max(0.0, (WANTED - table['success'].iloc[-1]) / fit.slope):.1f} doublings more"
    )
    return say(
        f"**Over the last stage, from {table['samples'].iloc[0]:,} to "
        f"{table['samples'].iloc[-1]:,} samples, each doubling added {gain} to the share of its "
        f"{EDITS} validation edits that succeed, {ahead}.** At its end {now} succeed.",
        numbers=number.table,
    )


def by_kind(table: pd.DataFrame) -> Figure:
    """A panel a kind of edit: share that succeeds over the samples, with exact intervals."""
    each = EDITS // len(EDIT_KINDS)
    fig, axes = plt.subplots(2, 4, figsize=(9.6, 4.2), sharex=True, sharey=True)
    thousands = table["samples"] / 1000
    for ax, kind in zip(axes.flat, EDIT_KINDS, strict=True):
        spans = [binomtest(round(share * each), each).proportion_ci() for share in table[kind]]
        ax.fill_between(thousands, [s.low for s in spans], [s.high for s in spans],
                        color=figures.BASELINE, alpha=0.18, lw=0)  # fmt: skip
        ax.plot(thousands, table[kind], "o-", ms=3.5, color=figures.BASELINE)
        ax.set_title(kind, fontsize=9.5, loc="center")
        ax.set_ylim(0, 1.03)
    fig.supxlabel("samples of the last stage, thousands", fontsize=9.5)
    fig.supylabel("share of edits that succeed", fontsize=9.5)
    return fig


def by_noise(table: pd.DataFrame) -> Figure:
    """Error of the predicted velocity over the samples: a line a timestep, inside and outside."""
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), sharex=True)
    shades = plt.get_cmap("viridis")(np.linspace(0.1, 0.85, len(LEVELS)))
    for ax, side in zip(axes, ("inside", "outside"), strict=True):
        for level, shade in zip(LEVELS, shades, strict=True):
            ax.plot(table["samples"] / 1000, table[f"{side}_{level}"], "o-", ms=3, color=shade,
                    label=f"t = {level}")  # fmt: skip
        ax.set_title(f"{side} what has to change", fontsize=9.5, loc="center")
        ax.set_xlabel("samples of the last stage, thousands")
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel("squared error of the velocity")
    axes[0].legend(fontsize=8)
    return fig


def strip(folder: Path) -> Figure:
    """The monitor's first edit of each kind after more and more samples."""
    sheets = sorted((folder / LOG).glob("edits-*.webp"))
    pairs = edits(len(EDIT_KINDS))
    seen = [int(sheet.stem.removeprefix("edits-")) for sheet in sheets]
    fig, axes = figures.grid(len(pairs), len(sheets) + 2, side=1.05)
    pages = [np.asarray(Image.open(sheet).convert("RGB")) for sheet in sheets]
    for row, pair in enumerate(pairs):
        cut = [_strip(page, row) for page in pages]
        shown = [cut[-1][0], *(one[1] for one in cut), cut[-1][2]]
        for ax, picture in zip(axes[row], shown, strict=True):
            figures.show(ax, picture)
        axes[row, 0].text(
            -0.06, 0.5, figures.fill(pair.instruction, 22), ha="right", va="center",
            transform=axes[row, 0].transAxes, fontsize=8,
        )  # fmt: skip
    titles = ["input", *(f"{round(count / 1000)} k" for count in seen), "exact"]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9, loc="center")
    return fig


def _strip(page: np.ndarray, number: int) -> list[np.ndarray]:
    """Source, edit and truth number so many of a sheet."""
    line, place = divmod(number, ACROSS)
    top, left = line * (SIZE + GAP), place * (3 * SIZE + 3 * GAP)
    return [page[top : top + SIZE, left + i * SIZE : left + (i + 1) * SIZE] for i in range(3)]


def tried(folder: Path) -> pd.DataFrame:
    """What was tried with which model, what it cost, what it did, and whether it was kept."""
    return pd.read_csv(folder / "tried" / "levers.csv").set_index("what")
