"""The first chapter: one edit that changes too much, what is found, and the report's comparison."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import aims, cache, configurations, factorial, frontiers, results
from cirp.experiments.drawn import is_local
from cirp.experiments.report import BASELINE, GENTLE, NOISY, NOTHING, TRIP
from cirp.experiments.study import Study
from cirp.experiments.word_maps import watch
from cirp.figures.sentences import Numbers, Paragraph, listed, say
from cirp.figures.tables import points
from cirp.metrics import similarity
from cirp.metrics.regions import split
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, compare, mean_of

OURS = configurations.OURS


def frontiers_table(s: Study) -> pd.DataFrame | None:
    """Return the table of `frontiers`; None in a book of other edits or models."""
    return results.of_book(s, "frontiers")


def finding(table: pd.DataFrame | None) -> Paragraph:
    """Return the book's three findings."""
    if table is None:
        return say("*The book's own findings are left out here: these are other edits or models.*")
    shown = frontiers.at_shown(frontiers.local(table))
    base = [mean_of(shown, BASELINE, metric) for metric in (SUCCESS, PRIMARY)]
    kept, less = (compare(shown, OURS, BASELINE, metric) for metric in (SUCCESS, PRIMARY))
    held = factorial.against_baseline(results.known("factorial"))
    gates = held[(held["region"] == factorial.TRUE) & ~held["pasted"]].set_index("held")
    gates = gates.loc[["guidance", "cross-attention", "latents"], "outside - baseline"]
    number = Numbers()
    number("edit success: InstructPix2Pix", base[0], ".2f")
    strays = number("outside change: InstructPix2Pix", base[1], ".4f")
    for name, found in gates.items():
        number(f"outside change: {name} constrained, minus baseline", found, "+.4f")
    stops = [name for name, found in gates.items() if found.high < 0]
    others = [name for name in gates.index if name not in stops]
    outside = number("outside change: remap minus baseline", less, "+.4f")
    number("edit success: remap minus baseline", kept, "+.2f")
    way = aims.closing(table, OURS)
    number("share of the unwanted change that remap removes, of what the true region removes", way,
           ".2f")  # fmt: skip
    reduces = f"Constraining the {listed(stops)} does" if stops else "None of the three does"
    return say(
        f"**InstructPix2Pix does what it is asked in {base[0].mean:.0%} of {base[0].n} local "
        "edits, and it also changes what nobody asked for.** Outside of the region that should "
        f"change, pixels move by {strays} on average, on a scale from 0 to 1.",
        f"Keeping the model's {listed(others)} as they are outside of that region does not reduce "
        f"this change. {reduces}." if others else f"{reduces} reduce this change.",
        "Remap finds the region in the first step of the run. It changes "
        + less.says(above="more", below="less", open="about as much")
        + f" outside than InstructPix2Pix ({outside}), and its edits succeed "
        + kept.says(above="more often.", below="less often.",
                    open="as often, as far as these edits can tell."),
        f"Of the change that the true region would prevent, it prevents {way.mean:.0%}.",
        numbers=number.table,
    )  # fmt: skip


def chosen(s: Study, table: pd.DataFrame | None) -> EditItem:
    """Return the local edit, of those both systems get right, that remap mends most.

    The first edit of the study where no table speaks of its edits.
    """
    known = {item.id: item for item in s.everything}
    tried = results.of_book(s, "steps")
    if tried is None:
        return s.items[0]
    steps = f"{configurations.STEPS} steps"
    tried = tried[is_local(tried)]
    wide = tried[tried["method"].isin((steps, f"{OURS}, {steps}"))].pivot_table(
        index="id", columns="method", values=[SUCCESS, PRIMARY]
    )
    right = wide[(wide[SUCCESS] == 1).all(axis=1)][PRIMARY].dropna()
    return known[(right[steps] - right[f"{OURS}, {steps}"]).idxmax()]


def over_edited(models: Models, item: EditItem, *, seed: int, steps: int) -> Figure:
    """Input, attention, baseline, remap and answer; below, how much each pixel changed."""
    methods = configurations.automatic(min(configurations.STEPS, steps))
    source, mask = item.source(), item.mask()
    seen = watch(models, item, "ip2p", seed=seed, settings=methods[BASELINE][1], times=None)
    (ours,) = cache.edits(
        models, [item], methods[OURS][0], seeds=[seed], settings=methods[OURS][1], progress=False
    )
    made = {"InstructPix2Pix": seen.edit.image, "remap (ours)": ours.image}
    if (target := item.target()) is not None:
        made["exact answer"] = target
    fig, axes = figures.grid(2, 2 + len(made), side=1.9)
    figures.show(axes[0, 0], source, "input")
    figures.show(axes[1, 0], source, "should change", mask=mask)
    figures.show(axes[1, 1], source)
    if seen.words and seen.record.images:
        figures.overlay(axes[0, 1], source, seen.heat(), "where its words look", mask=mask)
    axes[1, 1].set_visible(False)
    changes = {
        name: similarity.change(similarity.to_array(p), similarity.to_array(source))
        for name, p in made.items()
    }
    # bright is what the baseline changes most outside: what was asked for may saturate
    outside = split(mask, shape=mask.shape).outside
    where = outside if outside.any() else np.ones_like(mask)
    peak = float(np.quantile(changes["InstructPix2Pix"][where], 0.999))
    for column, (name, picture) in enumerate(made.items(), start=2):
        figures.show(axes[0, column], picture, name)
        figures.overlay(
            axes[1, column], picture, changes[name], "changed", mask=mask, peak=peak, opacity=0.85
        )
    fig.suptitle(f"“{figures.drawable(item.record.instruction)}”", fontsize=11, style="italic")
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
        mixed.assign(method="baseline blended with its input"),
        found[found["method"].isin([NOTHING, TRIP])].assign(method="do nothing, autoencoder alone"),
    ]
    figures.trade_off(
        ax,
        pd.concat(curves, ignore_index=True),
        x=SUCCESS,
        y=PRIMARY,
        controls=("baseline blended with its input", "do nothing, autoencoder alone"),
        labels=("edit success", "excess outside change (L1, 0 to 1)"),
        better="lower right",
    )
    return fig
