"""Who finds the region: every method's own mask against the truth, and masks that know nothing.

A guess that knows nothing gets the true mask's area as a present, and still must be beaten.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import benchmark, contenders, figures
from cirp.data import EditItem
from cirp.images import Mask
from cirp.localisation import baselines
from cirp.statistics import by_image, mean_interval
from cirp.study import Study

WHOLE, CENTRE, RANDOM = "the whole picture", "the centre, true area", "at random, true area"
GRID = "the true mask, by latent cells"


def guesses(mask: Mask, *, seed: int) -> dict[str, Mask]:
    """Masks that have not seen the picture, of the true one's area unless they are whole."""
    maps = baselines(mask.shape, seed=seed)
    found = {WHOLE: np.ones_like(mask)}
    for name, heat in ((CENTRE, maps["centre"]), (RANDOM, maps["random"])):
        chosen = np.argsort(-heat, axis=None, kind="stable")[: int(mask.sum())]
        found[name] = np.isin(np.arange(mask.size), chosen).reshape(mask.shape)
    return found


def guessed(items: Sequence[EditItem], *, seed: int) -> pd.DataFrame:
    """One row per local edit and guess: its intersection over union with the true mask."""
    rows = []
    for n, item in enumerate(items):
        truth = item.mask()
        if truth is None or item.record.is_global:
            continue
        for name, mask in guesses(truth, seed=seed + n).items():
            overlap = (mask & truth).sum() / (mask | truth).sum()
            rows.append({"id": item.id, "method": name, "seed": seed, "region_iou": float(overlap)})
    return pd.DataFrame(rows)


def held_out(s: Study) -> pd.DataFrame:
    """`guessed` of the held-out test edits; see `Study.kept` for what is computed, what read."""
    rows = guessed(benchmark.chosen(s), seed=s.seeds[0])
    rows = rows.assign(settings="{}", weights=s.models.fingerprint)
    return s.kept("guesses", rows, checked=["region_iou"])


def board(table: pd.DataFrame, guesses: pd.DataFrame) -> pd.DataFrame:
    """The mean overlap of each method that finds a region, best first, with intervals.

    `table` is the benchmark's; only edits with a guess count, which are the local ones. Methods
    told the true region are left out, but for what is left of it on the latents' grid.
    """
    told = table["method"].str.endswith("true mask")
    own = table[~told & ~table["method"].isin(contenders.controls())]
    grid = table[table["method"] == contenders.TRUTH].assign(method=GRID)
    every = pd.concat([own, grid, guesses], ignore_index=True)
    images = by_image(every[every["id"].isin(guesses["id"])], "region_iou").dropna(
        axis=1, how="all"
    )
    rows = []
    for name in images:
        found = mean_interval(images[name].to_numpy(dtype=float))
        kind = "knows nothing" if name in (WHOLE, CENTRE, RANDOM) else "finds it"
        kind = "knows it" if name == GRID else kind
        ends = {"low": found.low, "high": found.high, "n": found.n}
        rows.append({"method": name, "kind": kind, "IoU": found.mean, **ends})
    ordered = pd.DataFrame(rows).sort_values("IoU", ascending=False, kind="stable")
    return ordered.reset_index(drop=True)


def by_kind(table: pd.DataFrame, guesses: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Mean overlap of some methods by kind of edit, with the whole picture's for comparison."""
    kinds = table[["id", "edit_type"]].drop_duplicates()
    local = kinds[kinds["id"].isin(guesses["id"])]
    every = pd.concat([table[["id", "method", "region_iou"]], guesses], ignore_index=True)
    some = every[every["method"].isin([*methods, WHOLE])].merge(local, on="id")
    means = some.pivot_table(index="edit_type", columns="method", values="region_iou", sort=False)
    return means[[*methods, WHOLE]]


def figure(ranked: pd.DataFrame) -> Figure:
    """`board` as dots with intervals; grey is what knows nothing, hollow what is told."""
    fig, ax = plt.subplots(figsize=(6.8, 0.3 * len(ranked) + 0.9))
    colours = {
        "finds it": figures.BASELINE,
        "knows nothing": figures.CONTROL,
        "knows it": "#222222",
    }
    for place, (_, row) in zip(range(len(ranked))[::-1], ranked.iterrows(), strict=True):
        colour = figures.NOISY if row["method"] == contenders.OURS else colours[row["kind"]]
        reach = [[row["IoU"] - row["low"]], [row["high"] - row["IoU"]]]
        ax.errorbar(
            row["IoU"], place, xerr=reach, fmt="o" if row["kind"] == "finds it" else "s",
            color=colour, markerfacecolor=colour if row["kind"] != "knows it" else "white",
            capsize=3, linewidth=1.6, markersize=6,
        )  # fmt: skip
    ax.set_yticks(range(len(ranked))[::-1], ranked["method"])
    for text in ax.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() == contenders.OURS else "normal")
    ax.set_xlim(0, None)
    ax.set_xlabel("overlap with the true region (mean IoU, 95 % interval)")
    ax.grid(axis="y", visible=False)
    return fig
