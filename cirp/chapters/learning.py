"""How the editor learnt: what its training's monitor logged, with pictures.

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
from cirp.miniature.training.monitor import EDITS, LEVELS, edits, strip_of
from cirp.statistics.bootstrap import Interval

LOG = Path("monitor") / "instruct-pix2pix"  # in the folder of the trainings' records
WANTED = 0.9


def logged(folder: Path) -> pd.DataFrame:
    """One row a look: samples of the last stage, success by kind, errors by timestep."""
    return pd.read_csv(folder / LOG / "monitor.csv")


def finding(table: pd.DataFrame) -> Paragraph:
    """Return what a doubling of the samples adds, and how far that would lead."""
    fit = linregress(np.log2(table["samples"]), table["success"])
    reach = t.ppf(0.975, len(table) - 2) * fit.stderr
    number = Numbers()
    gain = number(
        "success added by each doubling of the samples",
        Interval(fit.slope, fit.slope - reach, fit.slope + reach, len(table), 0, "t"),
    )
    begun, ended = table.iloc[0], table.iloc[-1]
    span = binomtest(round(ended["success"] * EDITS), EDITS).proportion_ci()
    now = number(
        "success at the end of the training",
        Interval(ended["success"], *span, EDITS, 0, "exact"),
    )
    ahead = (
        "which is no sign that more would help"
        if fit.slope - reach <= 0
        else f"at which rate {WANTED:g} would be reached after "
        f"{max(0.0, (WANTED - ended['success']) / fit.slope):.1f} doublings more"
    )
    more = Interval(fit.slope, fit.slope - reach, fit.slope + reach, len(table), 0, "t").says(
        above="makes the editor succeed more often",
        below="makes the editor succeed less often",
        open="does not make the editor succeed more often, as far as its log can tell",
    )
    return say(
        f"**More training of the last stage {more}.**",
        f"Each doubling of its samples added {gain} to the share of {EDITS} validation edits that "
        f"succeed, {ahead}.",
        f"The log begins at {begun['samples']:,.0f} samples and ends at {ended['samples']:,.0f}, "
        f"where a share of {now} succeeds.",
        numbers=number.table,
    )


def by_kind(table: pd.DataFrame) -> Figure:
    """Return a panel a kind of edit: share that succeeds over the samples, with exact intervals."""
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
    """Return the monitor's first edit of each kind after more and more samples."""
    sheets = sorted((folder / LOG).glob("edits-*.webp"))
    counts = [int(sheet.stem.removeprefix("edits-")) for sheet in sheets]
    pages = [Image.open(sheet) for sheet in sheets]
    pairs, pictures = edits(len(EDIT_KINDS)), []
    for number in range(len(pairs)):
        strips = [strip_of(page, number) for page in pages]
        source, _, target = strips[-1]
        pictures.append([source, *(made for _, made, _ in strips), target])
    fig, axes = figures.grid(len(pairs), len(sheets) + 2, side=1.05)
    figures.image_grid(
        axes, pictures, columns=["input", *(f"{round(n / 1000)} k" for n in counts), "exact"],
        rows=[figures.fill(pair.instruction, 16) for pair in pairs],
    )  # fmt: skip
    return fig


def tried(folder: Path) -> pd.DataFrame:
    """Return a table of the changes tried: model, cost, effect, and whether it was adopted."""
    plain = {"what": "change", "of": "model", "kept": "adopted"}
    return pd.read_csv(folder / "tried" / "levers.csv").rename(columns=plain).set_index("change")
