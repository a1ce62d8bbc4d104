"""Figures and tables that lay all methods side by side."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import contenders, figures, inversion, ranking, runs, study
from cirp.data import EditItem
from cirp.editing import begin, normalised
from cirp.methods import remap
from cirp.models import Models
from cirp.plates import OUTSIDE, SUCCESS, named, points
from cirp.reading import watch
from cirp.sampling import Edit, mask_picture
from cirp.statistics import average_seeds, by_image, mean_interval, paired_interval


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
            title = _folded(name) if row == 0 else ""
            figures.show(axes[row, column], one.image, title, mask=region)
        if (target := item.target()) is not None:
            figures.show(axes[row, -1], target, "exact\nanswer" if row == 0 else "")
    for ax in axes[0]:
        ax.title.set_fontsize(8)
    return fig


def _folded(name: str, width: int = 14) -> str:
    lines = [""]
    for word in name.split():
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def plane(table: pd.DataFrame, told: pd.DataFrame, controls: pd.DataFrame) -> Figure:
    """Success against excess outside change: one numbered point a method, hollow with true mask."""
    fig, (ax, key) = plt.subplots(1, 2, figsize=(9.6, 5.2), width_ratios=(3, 1.55))
    key.set_axis_off()
    rows = points(table, (SUCCESS, OUTSIDE))
    true = points(told, (SUCCESS, OUTSIDE)).set_index("method")
    colours = figures.PALETTE[:-1]  # grey is the controls'
    lines = []
    for number, row in rows.iterrows():
        colour = colours[number % len(colours)]
        special = row["method"] in (contenders.BASELINE, contenders.OURS)
        ax.errorbar(
            row[SUCCESS], row[OUTSIDE],
            xerr=[[row[SUCCESS] - row[f"{SUCCESS}_low"]], [row[f"{SUCCESS}_high"] - row[SUCCESS]]],
            yerr=[[row[OUTSIDE] - row[f"{OUTSIDE}_low"]], [row[f"{OUTSIDE}_high"] - row[OUTSIDE]]],
            fmt="D" if special else "o", color=colour, markersize=8 if special else 6,
            alpha=0.9, elinewidth=0.8 if not special else 1.6,
        )  # fmt: skip
        ax.annotate(
            str(number + 1), (row[SUCCESS], row[OUTSIDE]), xytext=(5, 5),
            textcoords="offset points", fontsize=9, weight="bold" if special else "normal",
        )  # fmt: skip
        lines.append((f"{number + 1}  {row['method']}", colour, special))
        name = f"{row['method']}, true mask"
        if name in true.index:
            ax.plot(
                [row[SUCCESS], true.loc[name, SUCCESS]], [row[OUTSIDE], true.loc[name, OUTSIDE]],
                color=colour, linewidth=0.7, alpha=0.6,
            )  # fmt: skip
            ax.plot(
                true.loc[name, SUCCESS], true.loc[name, OUTSIDE], "o", color=colour,
                markerfacecolor="white", markersize=5,
            )  # fmt: skip
    still = points(controls, (SUCCESS, OUTSIDE))
    ax.plot(still[SUCCESS], still[OUTSIDE], "s", color=figures.CONTROL, markersize=6)
    for _, row in still.iterrows():
        ax.annotate(
            row["method"], (row[SUCCESS], row[OUTSIDE]), xytext=(5, -10),
            textcoords="offset points", fontsize=7.5, color=figures.CONTROL,
        )  # fmt: skip
    if contenders.TRUTH in true.index:
        best = true.loc[contenders.TRUTH]
        ax.plot(best[SUCCESS], best[OUTSIDE], "*", color="#222222", markersize=13)
        lines.append((f"★  {contenders.TRUTH}", "#222222", False))
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
    base = search[search["method"] == contenders.BASELINE].iloc[0]
    parts = search["method"].str.split(" | ", n=1, regex=False, expand=True)
    names = [name for name in dict.fromkeys(parts[0]) if name != contenders.BASELINE]
    rows = -(-len(names) // 5)
    fig, axes = plt.subplots(rows, 5, figsize=(10.4, 2.1 * rows), sharex=True, sharey=True)
    for ax, name in zip(axes.flat, names, strict=False):
        mine = search[parts[0] == name]
        best = mine.loc[mine["utility"].idxmax()]
        ax.plot(base[SUCCESS], base[OUTSIDE], "x", color=figures.CONTROL, markersize=7)
        ax.plot(mine[SUCCESS], mine[OUTSIDE], "o", color=figures.BASELINE, markerfacecolor="white")
        ax.plot(best[SUCCESS], best[OUTSIDE], "o", color=figures.BASELINE)
        ax.set_title(_folded(name, 20), fontsize=9)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    fig.supxlabel("edit success (judge)  → better", fontsize=10)
    fig.supylabel("excess outside change (L1)  ↓ better", fontsize=10)
    return fig


def rank_figure(table: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    """A panel a metric (name -> "higher" or "lower" is better): mean ranks over images.

    Methods whose bars overlap are not told apart at 5 % (Friedman and Nemenyi).
    """
    fig, axes = plt.subplots(1, len(metrics), figsize=(5.0 * len(metrics), 5.4))
    for ax, (metric, better) in zip(np.atleast_1d(axes), metrics.items(), strict=True):
        found = ranking.rank(by_image(table, metric), higher_is_better=better == "higher")
        own = (contenders.BASELINE, contenders.OURS)
        label = f"{named(metric)}\nmean rank, {found.n} images"
        figures.ranks(ax, found.ranks, found.critical, bold=own, unit=label)
    return fig


def standing(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Each method against the baseline, paired by image, and how near it comes to the true mask.

    `closed` is the share of the distance between the baseline's excess outside change and that of
    latent blending with the true mask. A ratio of means over images that have both.
    """
    both = pd.concat([table, truth[truth["method"] == contenders.TRUTH]], ignore_index=True)
    images = average_seeds(both, [SUCCESS, OUTSIDE, "region_iou", "unet_calls"])
    wide = {
        metric: images.pivot(index="id", columns="method", values=metric)
        for metric in (SUCCESS, OUTSIDE)
    }
    base = contenders.BASELINE
    gap = (wide[OUTSIDE][base] - wide[OUTSIDE][contenders.TRUTH]).mean()
    cost = images.groupby("method")["unet_calls"].mean()
    rows = []
    for name in dict.fromkeys(both["method"]):
        row = {"method": name}
        for metric in (SUCCESS, OUTSIDE):
            values = wide[metric][name].to_numpy(dtype=float)
            mean = mean_interval(values)
            row[metric] = mean.mean
            if name != base:
                found = paired_interval(values, wide[metric][base].to_numpy(dtype=float))
                row |= {f"{metric} - baseline": found.mean, f"{metric}_low": found.low,
                        f"{metric}_high": found.high}  # fmt: skip
        row["closed"] = float((wide[OUTSIDE][base] - wide[OUTSIDE][name]).mean() / gap)
        row["region IoU"] = images.loc[images["method"] == name, "region_iou"].mean()
        row["UNet rows / baseline"] = cost[name] / cost[base]
        rows.append(row)
    return pd.DataFrame(rows)


def evidence(models: Models, items: Sequence[EditItem], *, seed: int, settings: Mapping) -> Figure:
    """A row per edit: what remap asks the model, what both answers say, and the region."""
    own = runs.completed("remap", settings)
    tasks = [runs.task(item, seed) for item in items]
    asking = ("near", "far", "writing", "draws", "strides", "prompt")
    weighing = {name: own[name] for name in ("weight", "sigma")}
    splitting = {name: own[name] for name in ("grow", "scope", "spare")}
    seen = remap.signs(models, tasks, begin(models, tasks), **{name: own[name] for name in asking})
    maps = {
        "prediction changes": normalised(seen.near),
        "attention writes": normalised(seen.written),
        "both": remap.evidence(seen, **weighing),
        "in much noise": seen.far,
    }
    regions = remap.mask(seen, **weighing, **splitting)
    whole = remap.is_global(seen, own["scope"]).tolist()
    brightest = float(seen.far.amax())  # one scale for all rows: how much is what counts there
    titles = ["should change", *maps, "region"]
    fig, axes = figures.grid(len(items), len(titles), side=1.6)
    axes = np.atleast_2d(axes)
    for row, item in enumerate(items):
        truth, image = item.mask(), item.source()
        figures.show(axes[row, 0], image, mask=truth)
        for column, (name, heat) in enumerate(maps.items(), start=1):
            shown = heat[row].float().cpu().numpy()
            peak = brightest if name == "in much noise" else None
            figures.overlay(axes[row, column], image, shown, mask=truth, peak=peak)
        found = np.asarray(mask_picture(regions[row], image.size)) > 127
        figures.show(axes[row, -1], image, mask=found)
        axes[row, -1].text(
            0.5, -0.03, "about the picture" if whole[row] else "about a part",
            transform=axes[row, -1].transAxes, ha="center", va="top", fontsize=8,
        )  # fmt: skip
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9, loc="center")
    return fig


def scatter(traces: pd.DataFrame, table: pd.DataFrame, *, bins: int = 10) -> Figure:
    """Guidance outside the region against the baseline's excess outside change, and its trend.

    The trend is the mean of `bins` groups of equally many edits.
    """
    base = table[table["method"] == contenders.BASELINE].groupby("id")[OUTSIDE].mean()
    both = traces.set_index("id")[["guidance outside", "mean |guidance| outside"]]
    both = both.join(base).dropna()
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
    for ax, name, label in zip(
        axes,
        ("guidance outside", "mean |guidance| outside"),
        ("share of the text's change that is outside", "the text's change per cell outside"),
        strict=True,
    ):
        ax.scatter(both[name], both[OUTSIDE], s=14, color=figures.BASELINE, alpha=0.35, lw=0)
        order = both.sort_values(name)
        groups = [
            order.iloc[i] for i in np.array_split(np.arange(len(order)), min(bins, len(order)))
        ]
        middles = [(group[name].mean(), group[OUTSIDE].mean()) for group in groups]
        ax.plot(*zip(*middles, strict=True), color=figures.NOISY, marker="o", ms=4, lw=1.6)
        ax.set_xlabel(label)
    axes[0].set_ylabel("excess outside change (L1)")
    return fig


def worst(items: Sequence[EditItem], table: pd.DataFrame, *, count: int) -> list[EditItem]:
    """The items whose regions were found worst, of those that have a region."""
    order = table.groupby("id")["region_iou"].mean().dropna().sort_values(kind="stable").index
    known = {item.id: item for item in items if not item.record.is_global}
    return [known[name] for name in order if name in known][:count]


def recorded(name: str) -> pd.DataFrame:
    """A table of the full run. Raises `ValueError` if it was not run yet."""
    table = study.recorded(name)
    if table is None:
        path = study.RESULTS / f"{name}.csv"
        raise ValueError(f"{path} is missing; run make full, or cirp search")
    return table


def versions() -> pd.DataFrame:
    """Means over the test edits of remap's first version and of the present one."""
    both = {"the first": recorded("remap_first"), "the present": recorded("benchmark")}
    columns = {
        SUCCESS: "edit success",
        OUTSIDE: "excess outside change",
        "region_iou": "region IoU",
    }
    rows = []
    for name, table in both.items():
        mine = table[table["method"] == contenders.OURS]
        means = {label: by_image(mine, metric).mean().item() for metric, label in columns.items()}
        rows.append({"version": name, **means, "UNet rows": mine["unet_calls"].mean()})
    return pd.DataFrame(rows)


def extremes(table: pd.DataFrame, label: str, ids: Sequence[str]) -> list[str]:
    """Of these edits the one where a method gained most on the baseline, and where it lost most.

    Gain is success (soft) gained minus excess outside change added; global edits have no outside.
    The first and the last of edits that the table does not know.
    """
    score = table["success_soft"] - table[OUTSIDE].fillna(0.0)
    wide = table.assign(score=score).pivot_table(index="id", columns="method", values="score")
    gain = (wide[label] - wide[contenders.BASELINE]).reindex(ids).dropna()
    order = list(gain.sort_values(kind="stable").index) or list(ids)
    return [order[-1], order[0]]


def portrait(s: study.Study, label: str, table: pd.DataFrame) -> Figure:
    """Two edits by one method beside the baseline, with the edit words' attention under each."""
    known = {item.id: item for item in s.everything if item.record.example} or {
        item.id: item for item in s.items
    }
    items = [known[name] for name in extremes(table, label, list(known))]
    methods = contenders.found(s.steps)
    titles = ["input", "baseline", "its attention", label, "its attention", "exact answer"]
    fig, axes = figures.grid(2, len(titles), side=1.65)
    for row, item in enumerate(items):
        truth = item.mask()
        figures.show(axes[row, 0], item.source(), mask=truth)
        for column, name in ((1, contenders.BASELINE), (3, label)):
            method, settings = methods[name]
            seen = watch(s.models, item, method, seed=s.seeds[0], settings=settings, times=None)
            region = None if seen.edit.mask is None else np.asarray(seen.edit.mask) > 127
            figures.show(axes[row, column], seen.edit.image, mask=region)
            if seen.words and seen.record.images:
                figures.overlay(axes[row, column + 1], seen.edit.image, seen.heat(), mask=truth)
        if (target := item.target()) is not None:
            figures.show(axes[row, 5], target)
        axes[row, 0].text(
            -0.06, 0.5, _folded(item.record.instruction, 20), transform=axes[row, 0].transAxes,
            rotation=90, ha="right", va="center", fontsize=8,
        )  # fmt: skip
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(_folded(title, 18), fontsize=9, loc="center")
    return fig


def by_kind(table: pd.DataFrame, told: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Kinds of edit by method: success, excess outside change, region found; also when told it."""
    parts = {"baseline": table[table["method"] == contenders.BASELINE]}
    for label in labels:
        parts[label] = table[table["method"] == label]
        true = told[told["method"].isin([f"{label}, true mask"])]
        if len(true):
            parts[f"{label}, true mask"] = true
    columns = {SUCCESS: "success", OUTSIDE: "outside", "region_iou": "region IoU"}
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
    tasks = [runs.task(item, 0) for item in items]
    start, captions = begin(models, tasks), [task.source_caption for task in tasks]
    mine = inversion.ddim(models.text, steps)
    timesteps = inversion.remaining(mine, strength)
    rows = []
    for count in iterations:
        path = inversion.invert(models, mine, timesteps, start.clean, captions, iterations=count)
        again = inversion.reconstruct(models, mine, timesteps, path[-1], captions)
        wrong = inversion.error(again, start.clean)
        rows.append({"iterations": count, "mean RMSE": float(wrong.mean()),
                     "worst RMSE": float(wrong.max()),
                     "std of the noisiest latents": float(path[-1].std())})  # fmt: skip
    return pd.DataFrame(rows).set_index("iterations").round(4)
