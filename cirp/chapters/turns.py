"""The chapter on many turns: what five instructions in a row leave of a picture."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from cirp import figures
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache, configurations, turns
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.miniature.scene import render
from cirp.statistics.bootstrap import compare, mean_of

COLUMNS = {
    "untouched_change": "change of what no instruction meant (L1)",
    "still_right": "share of the true scene's labels still seen",
    "done": "this turn's edit done",
}


def finding(table: pd.DataFrame) -> Paragraph:
    """Return the chapter's answer, after the last turn."""
    last = int(table["turn"].max())
    base, ours = configurations.BASELINE, configurations.OURS
    end = table[table["turn"] == last]
    began = mean_of(table[table["turn"] == 1], base, "untouched_change")
    ended = mean_of(end, base, "untouched_change")
    less = compare(end, ours, base, "untouched_change")
    kept = compare(end, ours, base, "still_right")
    number, apart = Numbers(), f"turn {last}, remap minus baseline"
    number(f"untouched change: {apart}", less, "+.3f")
    number(f"still right: {apart}", kept, "+.3f")
    return say(
        f"**Over {last} turns the baseline's change of what nobody meant grows from "
        f"{number('untouched change: turn 1, baseline', began, '.3f')} to "
        f"{number(f'untouched change: turn {last}, baseline', ended, '.3f')}.**",
        "With remap it is "
        + less.says(above="larger", below="smaller", open="about the same")
        + " at the end, and of what should be in the scene "
        + kept.says(above="more", below="less", open="about as much")
        + " is still seen.",
        numbers=number.table,
    )


def curves(table: pd.DataFrame) -> Figure:
    """Each measure over the turns, with intervals over chains."""
    fig, axes = plt.subplots(1, 2, figsize=(10.4, 4.6))
    methods = list(dict.fromkeys(table["method"]))
    for ax, column in zip(axes, list(COLUMNS)[:2], strict=True):
        for place, method in enumerate(methods):
            mine = table[table["method"] == method]
            found = [mean_of(part, method, column) for _, part in mine.groupby("turn")]
            at = np.arange(1, len(found) + 1) + 0.06 * (place - len(methods) / 2)
            ax.errorbar(
                at, [one.mean for one in found], yerr=figures.reach(found),
                color=figures.PALETTE[place % len(figures.PALETTE)],
                marker=figures.MARKERS[place % len(figures.MARKERS)], ms=5, lw=1.5, label=method,
            )  # fmt: skip
        ax.set_xlabel("turn")
        ax.set_xticks(range(1, len(found) + 1))
        ax.set_ylabel(figures.fill(COLUMNS[column], 30))
    lines, names = axes[0].get_legend_handles_labels()
    fig.legend(lines, names, fontsize=9, ncols=3, loc="outside upper center")
    return fig


def strip(models: Models, chain: turns.Chain, methods: Sequence[str]) -> Figure:
    """One chain as pictures: a row a method, the true scenes below."""
    known = configurations.automatic()
    rows = {}
    for label in methods:
        method, settings = known[label]
        now = [Image.fromarray(render(chain.pairs[0].source))]
        shown = list(now)
        for turn in range(len(chain.pairs)):
            task = turns.tasks_of([chain], now, turn, 0)
            made = cache.computed(models, task, method, settings=settings, progress=False)
            now = [edit.image for edit in made]
            shown += now
        rows[label] = shown
    truth = [chain.pairs[0].source, *(pair.target for pair in chain.pairs)]
    rows["exact answer"] = [Image.fromarray(render(scene)) for scene in truth]
    titles = ["input", *(pair.instruction for pair in chain.pairs)]
    fig, axes = figures.grid(len(rows), len(titles), side=1.55)
    figures.image_grid(axes, list(rows.values()), columns=titles, rows=list(rows))
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(figures.fill(title, 18), fontsize=9, loc="center")
    return fig


def last_turn(table: pd.DataFrame) -> pd.DataFrame:
    """All measures after the last turn, with intervals over chains."""
    end = table[table["turn"] == table["turn"].max()]
    rows = []
    for method in dict.fromkeys(end["method"]):
        mine = end[end["method"] == method]
        rows.append(
            {"method": method}
            | {label: f"{mean_of(mine, method, column):.3f}" for column, label in COLUMNS.items()}
        )
    return pd.DataFrame(rows).set_index("method")
