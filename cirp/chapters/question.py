"""The first chapter: one edit that changes too much, what is found, and the report's comparison."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.ndimage import binary_dilation, uniform_filter

from cirp import figures
from cirp.chapters.causes import without_tokens
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import aims, cache, carries, configurations, frontiers, results
from cirp.experiments.drawn import is_local
from cirp.experiments.report import BASELINE, GENTLE, NOISY, NOTHING, TRIP
from cirp.experiments.study import Study
from cirp.experiments.word_maps import watch
from cirp.explorer.words import unknown_words
from cirp.figures.sentences import Numbers, Paragraph, numbered, say
from cirp.figures.tables import points
from cirp.metrics import similarity
from cirp.metrics.regions import split
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, compare, mean_of

OURS = configurations.OURS
BLENDED = "baseline blended with its input"


def frontiers_table(s: Study) -> pd.DataFrame | None:
    """Return the table of `frontiers`; None in a book of other edits or models."""
    return results.of_book(s, "frontiers")


def finding(table: pd.DataFrame | None) -> Paragraph:
    """Return the book's three findings, a numbered sentence each."""
    if table is None:
        return say("*The book's own findings are left out here: these are other edits or models.*")
    shown = frontiers.at_shown(frontiers.local(table))
    base = [mean_of(shown, BASELINE, metric) for metric in (SUCCESS, PRIMARY)]
    kept, less = (compare(shown, OURS, BASELINE, metric) for metric in (SUCCESS, PRIMARY))
    number = Numbers()
    number("edit success: InstructPix2Pix", base[0], ".2f")
    number("outside change: InstructPix2Pix", base[1], ".4f")
    carried = carries.against_nothing(results.known("carries"))
    _, (ends, words) = without_tokens(carried, number)
    number("outside change: remap minus baseline", less, "+.4f")
    number("edit success: remap minus baseline", kept, "+.2f")
    way = aims.closing(table, OURS)
    number("share of the unwanted change that remap removes, of what the true region removes", way,
           ".2f")  # fmt: skip
    sentences = (
        f"InstructPix2Pix does what it is asked in {base[0].mean:.0%} of {base[0].n} local "
        "edits, and it also changes what nobody asked for.",
        f"Edit success {ends} when the tokens behind the instruction (end of text and padding) are "
        f"muted, and {words} when all of its words are.",
        f"Remap, this book's method, removes {way.mean:.0%} of the unwanted change that it would "
        "remove if it were given the true region, and its edits succeed "
        + kept.says(above="more often.", below="less often.",
                    open="as often, as far as these edits can tell."),
    )  # fmt: skip
    return numbered([f"**{one}**" for one in sentences], numbers=number.table)


def chosen(s: Study, table: pd.DataFrame | None) -> EditItem:
    """Return the local edit, of those both systems get right, whose outside remap mends most.

    Mended is structure (SSIM outside): what the eye sees first. The instruction has only words that
    the miniature was trained on. The first edit of the study where no table speaks of its edits.
    """
    known = {item.id: item for item in s.everything}
    tried = results.of_book(s, "steps")
    if tried is None:
        return s.items[0]
    steps, alike = f"{configurations.STEPS} steps", "ssim_source_outside"
    tried = tried[is_local(tried)]
    wide = tried[tried["method"].isin((steps, f"{OURS}, {steps}"))].pivot_table(
        index="id", columns="method", values=[SUCCESS, alike]
    )
    right = wide[(wide[SUCCESS] == 1).all(axis=1)][alike].dropna()
    right = right[[not unknown_words(known[name].record.instruction) for name in right.index]]
    return known[(right[f"{OURS}, {steps}"] - right[steps]).idxmax()]


def over_edited(models: Models, item: EditItem, *, seed: int, steps: int) -> Figure:
    """Input, baseline, remap and answer; below, the words' attention and how much each changed."""
    methods = configurations.automatic(min(configurations.STEPS, steps))
    source, mask = item.source(), item.mask()
    seen = watch(models, item, "ip2p", seed=seed, settings=methods[BASELINE][1], times=None)
    (ours,) = cache.edits(
        models, [item], methods[OURS][0], seeds=[seed], settings=methods[OURS][1], progress=False
    )
    made = {BASELINE: seen.edit.image, OURS: ours.image}
    if (target := item.target()) is not None:
        made["exact answer"] = target
    fig, axes = figures.grid(2, 1 + len(made), side=2.2)
    figures.show(axes[0, 0], source, "input", mask=mask)
    if seen.words and seen.record.images:
        figures.overlay(axes[1, 0], source, seen.heat(), "where its words look", mask=mask)
    changes = {
        name: similarity.change(similarity.to_array(p), similarity.to_array(source))
        for name, p in made.items()
    }
    # bright is what the baseline changes most outside: what was asked for may saturate
    outside = split(mask, shape=mask.shape).outside
    where = outside if outside.any() else np.ones_like(mask)
    peak = float(np.quantile(changes[BASELINE][where], 0.999))
    for column, (name, picture) in enumerate(made.items(), start=1):
        figures.show(axes[0, column], picture, name)
        drawn = figures.overlay(
            axes[1, column], picture, changes[name], "what changed", mask=mask, peak=peak,
            opacity=0.85,
        )  # fmt: skip
    if outside.any():
        side = source.height // 8
        far = ~binary_dilation(mask, iterations=side)  # away from what should change
        strays = uniform_filter(changes[BASELINE], side) * (far if far.any() else outside)
        y, x = np.unravel_index(strays.argmax(), strays.shape)
        figures.point_out(axes[0, 1], "nobody asked for this", (float(x), float(y)))
    figures.heat_bar(axes[1], drawn, "change of a pixel, 0 to 1")
    fig.suptitle(f"“{figures.drawable(item.record.instruction)}”", fontsize=12, style="italic")
    return fig


def main_figure(table: pd.DataFrame, blends: pd.DataFrame) -> Figure:
    """Edit success against excess outside change, with the controls."""
    fig, ax = plt.subplots(figsize=(6.6, 4.4))
    mixed = points(
        blends.assign(method=[f"{a:g}" for a in blends["alpha"]]), (SUCCESS, PRIMARY)
    ).rename(columns={"method": "alpha"})
    found = points(table, (SUCCESS, PRIMARY))
    curves = [
        *(found[found["method"] == name] for name in (BASELINE, GENTLE, NOISY)),
        mixed.assign(method=BLENDED),
        *(found[found["method"] == name] for name in (NOTHING, TRIP)),
    ]
    figures.trade_off(
        ax,
        pd.concat(curves, ignore_index=True),
        x=SUCCESS,
        y=PRIMARY,
        controls=(BLENDED, NOTHING, TRIP),
        labels=("edit success", "excess outside change (L1, 0 to 1)"),
        better="lower right",
        beside={
            BASELINE: (-6, 6), GENTLE: (-2, -22), NOISY: (8, 5), BLENDED: (9, -2),
            NOTHING: (9, -2), TRIP: (0, 12),
        },
    )  # fmt: skip
    return fig
