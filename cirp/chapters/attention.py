"""The chapter on cross-attention: word maps by layer, over time, and beside DAAM's own."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.attention.maps import word_map
from cirp.experiments import results
from cirp.experiments.word_maps import Watched, by_layer, by_time, leaderboard, score
from cirp.figures import tables
from cirp.figures.explorers import AttentionExplorer
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.statistics.bootstrap import mean_interval

NO_MASK = "None of these edits has a mask to score against (data/README.md)."


def word_maps(watched: Sequence[Watched], *, titles: Sequence[str] = ()) -> Figure | None:
    """Return a row per edit: the picture, and where each word that carries the edit looks."""
    if not watched:
        print("left out: words of captions. None of these edits names target words in one.")
        return None
    most = max(len(one.words) for one in watched)
    fig, axes = figures.grid(len(watched), most + 2, side=1.75)
    axes = np.atleast_2d(axes)
    for row, one in enumerate(watched):
        mask = one.item.mask()
        figures.show(axes[row, 0], one.item.source(), titles[row] if titles else "input", mask=mask)
        figures.show(axes[row, 1], one.edit.image, "the edit")
        heats = {word: one.heat([word]) for word in one.words}
        peak = max(float(h.max()) for h in heats.values())
        for column, (word, heat) in enumerate(heats.items(), start=2):
            drawn = figures.overlay(
                axes[row, column], one.edit.image, heat / peak, word, mask=mask, peak=1.0
            )
    figures.heat_bar(axes, drawn, "attention, as a share of the row's largest")
    return fig


def board(
    baseline: Sequence[Watched], noisy: Sequence[Watched], *, seed: int
) -> pd.DataFrame | None:
    """How well the maps of both systems find the true regions, beside uninformative maps."""
    parts = [
        leaderboard(some, by=name)
        for some, name in ((baseline, "InstructPix2Pix"), (noisy, "noisy input"))
        if some
    ]
    if not parts:
        print(f"left out: scores of the maps. {NO_MASK}")
        return None
    table = pd.concat(parts).drop_duplicates(["id", "map"]).assign(seed=seed)
    columns = ["best_iou", "pointing", "energy_gain", "roc_auc", "average_precision"]
    return tables.wide(table, columns, method="map")


def finding(baseline: Sequence[Watched], noisy: Sequence[Watched]) -> Paragraph:
    """Whether the words of the edit look where the edit should happen."""
    number, said = Numbers(), []
    for some, name in ((baseline, "InstructPix2Pix"), (noisy, "noisy input")):
        if some:
            table = pd.DataFrame([score(one, map=name) for one in some])
            auc, iou = (mean_interval(table[m].to_numpy(float)) for m in ("roc_auc", "best_iou"))
            way = auc._replace(low=auc.low - 0.5, high=auc.high - 0.5).says(
                above="look towards its place", below="look away from its place",
                open="do not look at its place, as far as these edits can tell",
            )  # fmt: skip
            area = number(f"ROC-AUC: {name}", auc, ".2f")
            number(f"best overlap (IoU): {name}", iou, ".2f")
            said.append(f"In {name} the words that carry an edit {way} (ROC-AUC {area})")
    if not said:
        return say(f"*How well words find regions is not known here. {NO_MASK}*")
    first, *more = said
    return say(
        f"**{first}, where chance gives 0.5).**".replace("), where", ", where"),
        *(f"{one}." for one in more),
        numbers=number.table,
    )


def layers_figure(watched: Sequence[Watched]) -> Figure | None:
    """ROC-AUC of the edit words' map by layer and head."""
    if not watched:
        print(f"left out: scores by layer and head. {NO_MASK}")
        return None
    table = by_layer(watched)
    fig, ax = plt.subplots(figsize=(1.2 + 0.5 * table.shape[1] + 2, 1.5 + 0.36 * len(table)))
    figures.number_grid(ax, table, centre=0.5, bar="ROC-AUC")
    return fig


def time_figure(watched: Sequence[Watched]) -> Figure | None:
    """ROC-AUC of the edit words' map over time, by resolution."""
    if not watched:
        print(f"left out: scores over time. {NO_MASK}")
        return None
    fig, ax = plt.subplots(figsize=(6.2, 3.6))
    figures.over_time(
        ax, by_time(watched), y="roc_auc", curve="maps", unit="area under the curve (ROC)"
    )
    ax.axhline(0.5, color="#888888", linewidth=1, linestyle=":")
    ax.text(
        0.02, 0.5, "chance", transform=ax.get_yaxis_transform(), fontsize=9, va="bottom",
        color="#555555",
    )  # fmt: skip
    return fig


def slices_figure(pair: Sequence[Watched], slices: Sequence[Mapping], *, position: int) -> Figure:
    """Return a token position's map by slicing rule (columns) under two instructions (rows)."""
    rules = list(slices[0])
    fig, axes = figures.grid(len(pair), len(rules) + 1, side=1.7)
    for row, (one, found) in enumerate(zip(pair, slices, strict=True)):
        figures.show(axes[row, 0], one.item.source(), f"“{figures.fill(one.prompt, 24)}”")
        axes[row, 0].title.set_fontsize(8)
        for column, rule in enumerate(rules, start=1):
            heat = found[rule][position].numpy()
            figures.overlay(axes[row, column], one.item.source(), heat, rule)
            axes[row, column].title.set_fontsize(8)
    return fig


def attention_explorer(watched: Watched):
    """Return the interactive explorer of one edit: word, resolution and time."""
    record = watched.record
    maps = {}
    for stride in record.strides:
        rows, columns = (-(-side // stride) for side in record.latent())
        maps[f"{rows} x {columns}"] = np.stack(
            [
                np.stack(
                    [
                        _native(watched, word, stride, time, (rows, columns))
                        for word in watched.words
                    ]
                )
                for time in record.times
            ]
        )
    return AttentionExplorer(
        watched.edit.image,
        maps,
        watched.words,
        timesteps=record.times,
        mask=watched.item.mask(),
    )


def _native(watched: Watched, word: str, stride: int, time: float, grid: tuple[int, int]):
    heat = word_map(
        watched.record, watched.tokenizer, watched.prompt, word,
        image=watched.image, strides=[stride], time=time, size=grid,
    )  # fmt: skip
    return heat.numpy()


def cost_table() -> pd.DataFrame:
    """Return what recording costs, as `cirp cost attention` measured it."""
    found = results.known("attention_cost").set_index("way")
    columns = {
        "seconds": "seconds", "time_over_stock": "time / without",
        "extra_peak_mib": "more MiB at peak", "steps": "steps", "repeats": "times measured",
        "device": "on",
    }  # fmt: skip
    return found[list(columns)].round(3).rename(columns=columns)
