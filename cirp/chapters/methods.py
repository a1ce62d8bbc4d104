"""The chapters on methods: one beside another, and each by itself."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion import ddim_inversion
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Edit
from cirp.editing.driver import begin_edit
from cirp.experiments import cache, configurations, study
from cirp.experiments.word_maps import watch
from cirp.figures.tables import points
from cirp.statistics.bootstrap import (
    PRIMARY,
    SUCCESS,
    average_seeds,
    mean_interval,
    paired_interval,
)


def gallery(items: Sequence[EditItem], made: Mapping[str, Sequence[Edit]]) -> Figure:
    """A row per edit, a column per method; the line is the region each method worked with."""
    names = list(made)
    fig, axes = figures.grid(len(items), len(names) + 2, side=1.15)
    axes = np.atleast_2d(axes)
    for row, item in enumerate(items):
        truth = item.mask()
        figures.show(axes[row, 0], item.source(), "input" if row == 0 else "", mask=truth)
        for column, name in enumerate(names, start=1):
            one = made[name][row]
            region = None if one.mask is None else np.asarray(one.mask) > 127
            if region is not None and (region.all() or not region.any()):
                region = None
            title = fill(name, 14) if row == 0 else ""
            figures.show(axes[row, column], one.image, title, mask=region)
        if (target := item.target()) is not None:
            figures.show(axes[row, -1], target, "exact\nanswer" if row == 0 else "")
    for ax in axes[0]:
        ax.title.set_fontsize(8)
    return fig


def plane(table: pd.DataFrame, told: pd.DataFrame, controls: pd.DataFrame) -> Figure:
    """Success against excess outside change: one numbered point a method, hollow with true mask."""
    fig, (ax, key) = plt.subplots(1, 2, figsize=(9.6, 5.2), width_ratios=(3, 1.55))
    key.set_axis_off()
    rows = points(table, (SUCCESS, PRIMARY))
    true = points(told, (SUCCESS, PRIMARY)).set_index("method")
    colours = figures.PALETTE[:-1]  # grey is the controls'
    lines = []
    for number, row in rows.iterrows():
        colour = colours[number % len(colours)]
        special = row["method"] in (configurations.BASELINE, configurations.OURS)
        ax.errorbar(
            row[SUCCESS], row[PRIMARY],
            xerr=[[row[SUCCESS] - row[f"{SUCCESS}_low"]], [row[f"{SUCCESS}_high"] - row[SUCCESS]]],
            yerr=[[row[PRIMARY] - row[f"{PRIMARY}_low"]], [row[f"{PRIMARY}_high"] - row[PRIMARY]]],
            fmt="D" if special else "o", color=colour, markersize=8 if special else 6,
            alpha=0.9, elinewidth=0.8 if not special else 1.6,
        )  # fmt: skip
        ax.annotate(
            str(number + 1), (row[SUCCESS], row[PRIMARY]), xytext=(5, 5),
            textcoords="offset points", fontsize=9, weight="bold" if special else "normal",
        )  # fmt: skip
        lines.append((f"{number + 1}  {row['method']}", colour, special))
        name = f"{row['method']}, true mask"
        if name in true.index:
            ax.plot(
                [row[SUCCESS], true.loc[name, SUCCESS]], [row[PRIMARY], true.loc[name, PRIMARY]],
                color=colour, linewidth=0.7, alpha=0.6,
            )  # fmt: skip
            ax.plot(
                true.loc[name, SUCCESS], true.loc[name, PRIMARY], "o", color=colour,
                markerfacecolor="white", markersize=5,
            )  # fmt: skip
    still = points(controls, (SUCCESS, PRIMARY))
    ax.plot(still[SUCCESS], still[PRIMARY], "s", color=figures.CONTROL, markersize=6)
    for _, row in still.iterrows():
        ax.annotate(
            row["method"], (row[SUCCESS], row[PRIMARY]), xytext=(5, -10),
            textcoords="offset points", fontsize=7.5, color=figures.CONTROL,
        )  # fmt: skip
    if configurations.TRUTH in true.index:
        best = true.loc[configurations.TRUTH]
        ax.plot(best[SUCCESS], best[PRIMARY], "*", color="#222222", markersize=13)
        lines.append((f"★  {configurations.TRUTH}", "#222222", False))
    for place, (text, colour, special) in enumerate(lines):
        key.text(
            0.0, 0.98 - 0.06 * place, text, color=colour, fontsize=9, va="top",
            weight="bold" if special else "normal",
        )  # fmt: skip
    key.text(0.0, 0.0, "hollow: the same method\ntold the true region", fontsize=8.5, va="bottom")
    ax.set_xlabel("edit success (judge)  → better")
    ax.set_ylabel("excess outside change (L1)  ↓ better")
    return fig


def swept(search: pd.DataFrame) -> Figure:
    """A panel a method: all candidates of the search, the chosen one filled, and the baseline."""
    base = search[search["method"] == configurations.BASELINE].iloc[0]
    parts = search["method"].str.split(" | ", n=1, regex=False, expand=True)
    names = [name for name in dict.fromkeys(parts[0]) if name != configurations.BASELINE]
    rows = -(-len(names) // 5)
    fig, axes = plt.subplots(rows, 5, figsize=(10.4, 2.1 * rows), sharex=True, sharey=True)
    for ax, name in zip(axes.flat, names, strict=False):
        mine = search[parts[0] == name]
        best = mine.loc[mine["utility"].idxmax()]
        ax.plot(base[SUCCESS], base[PRIMARY], "x", color=figures.CONTROL, markersize=7)
        ax.plot(mine[SUCCESS], mine[PRIMARY], "o", color=figures.BASELINE, markerfacecolor="white")
        ax.plot(best[SUCCESS], best[PRIMARY], "o", color=figures.BASELINE)
        ax.set_title(fill(name, 20), fontsize=9)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    fig.supxlabel("edit success (judge)  → better", fontsize=10)
    fig.supylabel("excess outside change (L1)  ↓ better", fontsize=10)
    return fig


def standing(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Each method against the baseline, paired by image, and how near it comes to the true mask.

    `closed` is the share of the distance between the baseline's excess outside change and that of
    latent blending with the true mask. A ratio of means over images that have both.
    """
    both = pd.concat([table, truth[truth["method"] == configurations.TRUTH]], ignore_index=True)
    images = average_seeds(both, [SUCCESS, PRIMARY, "region_iou", "unet_calls"])
    wide = {
        metric: images.pivot(index="id", columns="method", values=metric)
        for metric in (SUCCESS, PRIMARY)
    }
    base = configurations.BASELINE
    gap = (wide[PRIMARY][base] - wide[PRIMARY][configurations.TRUTH]).mean()
    cost = images.groupby("method")["unet_calls"].mean()
    rows = []
    for name in dict.fromkeys(both["method"]):
        row = {"method": name}
        for metric in (SUCCESS, PRIMARY):
            values = wide[metric][name].to_numpy(dtype=float)
            mean = mean_interval(values)
            row[metric] = mean.mean
            if name != base:
                found = paired_interval(values, wide[metric][base].to_numpy(dtype=float))
                row |= {f"{metric} - baseline": found.mean, f"{metric}_low": found.low,
                        f"{metric}_high": found.high}  # fmt: skip
        row["closed"] = float((wide[PRIMARY][base] - wide[PRIMARY][name]).mean() / gap)
        row["region IoU"] = images.loc[images["method"] == name, "region_iou"].mean()
        row["UNet rows / baseline"] = cost[name] / cost[base]
        rows.append(row)
    return pd.DataFrame(rows)


def extremes(table: pd.DataFrame, label: str, ids: Sequence[str]) -> list[str]:
    """Of these edits the one where a method gained most on the baseline, and where it lost most.

    Gain is success (soft) gained minus excess outside change added; global edits have no outside.
    The first and the last of edits that the table does not know.
    """
    score = table["success_soft"] - table[PRIMARY].fillna(0.0)
    wide = table.assign(score=score).pivot_table(index="id", columns="method", values="score")
    gain = (wide[label] - wide[configurations.BASELINE]).reindex(ids).dropna()
    order = list(gain.sort_values(kind="stable").index) or list(ids)
    return [order[-1], order[0]]


def portrait(s: study.Study, label: str, table: pd.DataFrame) -> Figure:
    """Two edits by one method beside the baseline, with the edit words' attention under each."""
    known = {item.id: item for item in s.everything if item.record.example} or {
        item.id: item for item in s.items
    }
    items = [known[name] for name in extremes(table, label, list(known))]
    methods = configurations.found(s.steps)
    titles = ["input", "baseline", "its attention", label, "its attention", "exact answer"]
    fig, axes = figures.grid(2, len(titles), side=1.65)
    for row, item in enumerate(items):
        truth = item.mask()
        figures.show(axes[row, 0], item.source(), mask=truth)
        for column, name in ((1, configurations.BASELINE), (3, label)):
            method, settings = methods[name]
            seen = watch(s.models, item, method, seed=s.seeds[0], settings=settings, times=None)
            region = None if seen.edit.mask is None else np.asarray(seen.edit.mask) > 127
            figures.show(axes[row, column], seen.edit.image, mask=region)
            if seen.words and seen.record.images:
                figures.overlay(axes[row, column + 1], seen.edit.image, seen.heat(), mask=truth)
        if (target := item.target()) is not None:
            figures.show(axes[row, 5], target)
        axes[row, 0].text(
            -0.06, 0.5, fill(item.record.instruction, 20), transform=axes[row, 0].transAxes,
            rotation=90, ha="right", va="center", fontsize=8,
        )  # fmt: skip
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(fill(title, 18), fontsize=9, loc="center")
    return fig


def by_kind(table: pd.DataFrame, told: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Kinds of edit by method: success, excess outside change, region found; also when told it."""
    parts = {"baseline": table[table["method"] == configurations.BASELINE]}
    for label in labels:
        parts[label] = table[table["method"] == label]
        true = told[told["method"].isin([f"{label}, true mask"])]
        if len(true):
            parts[f"{label}, true mask"] = true
    columns = {SUCCESS: "success", PRIMARY: "outside", "region_iou": "region IoU"}
    found = {
        name: part.groupby("edit_type")[list(columns)].mean().rename(columns=columns)
        for name, part in parts.items()
    }
    return pd.concat(found, axis=1).dropna(axis=1, how="all").round(3)


def inversion_errors(
    models: Models, items: Sequence[EditItem], *, iterations: Sequence[int], steps: int,
    strength: float = 0.8,
) -> pd.DataFrame:  # fmt: skip
    """Root mean square error of the latents after inversion and back, mean and worst over items."""
    tasks = [cache.task(item, 0) for item in items]
    start, captions = begin_edit(models, tasks), [task.source_caption for task in tasks]
    mine = ddim_inversion.ddim(models.text, steps)
    timesteps = ddim_inversion.remaining(mine, strength)
    rows = []
    for count in iterations:
        path = ddim_inversion.invert(
            models, mine, timesteps, start.clean, captions, iterations=count
        )
        again = ddim_inversion.reconstruct(models, mine, timesteps, path[-1], captions)
        wrong = ddim_inversion.error(again, start.clean)
        rows.append({"iterations": count, "mean RMSE": float(wrong.mean()),
                     "worst RMSE": float(wrong.max()),
                     "std of the noisiest latents": float(path[-1].std())})  # fmt: skip
    return pd.DataFrame(rows).set_index("iterations").round(4)
