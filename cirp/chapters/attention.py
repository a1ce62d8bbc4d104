"""The chapter on cross-attention: word maps by layer, over time, and beside DAAM's own."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.attention.maps import word_map
from cirp.experiments import records
from cirp.experiments.word_maps import Watched, by_layer, by_time
from cirp.figures.explorers import AttentionExplorer


def word_maps(watched: Sequence[Watched], *, titles: Sequence[str] = ()) -> Figure:
    """A row per edit: the picture, and where each word that carries the edit looks."""
    most = max(len(one.words) for one in watched)
    fig, axes = figures.grid(len(watched), most + 1, side=1.75)
    axes = np.atleast_2d(axes)
    for row, one in enumerate(watched):
        mask = one.item.mask()
        figures.show(axes[row, 0], one.item.source(), titles[row] if titles else "input", mask=mask)
        heats = {word: one.heat([word]) for word in one.words}
        peak = max(float(h.max()) for h in heats.values())
        for column, (word, heat) in enumerate(heats.items(), start=1):
            figures.overlay(axes[row, column], one.edit.image, heat, word, mask=mask, peak=peak)
    return fig


def layers_figure(watched: Sequence[Watched]) -> Figure:
    """ROC-AUC of the edit words' map by layer and head."""
    fig, ax = plt.subplots(figsize=(5.2, 4.0))
    figures.number_grid(ax, by_layer(watched), centre=0.5, bar="ROC-AUC")
    return fig


def time_figure(watched: Sequence[Watched]) -> Figure:
    """ROC-AUC of the edit words' map over time, by resolution."""
    fig, ax = plt.subplots(figsize=(6.2, 3.6))
    figures.over_time(ax, by_time(watched), y="roc_auc", curve="maps", unit="ROC-AUC")
    ax.axhline(0.5, color="#888888", linewidth=1, linestyle=":")
    return fig


def slices_figure(pair: Sequence[Watched], slices: Sequence[Mapping], *, position: int) -> Figure:
    """A token position's map by slicing rule (columns) under two instructions (rows)."""
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
    """The interactive explorer of one edit: word, resolution and time."""
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
        strides=[stride], time=time, size=grid,
    )  # fmt: skip
    return heat.numpy()


def cost_table() -> pd.DataFrame:
    """What recording costs, as `cirp cost attention` measured it."""
    found = records.required("attention_cost", "cirp cost attention").set_index("way")
    return found.drop(columns=list(records.PROVENANCE)).round(3)
