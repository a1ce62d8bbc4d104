"""The book's own figures and tables, composed of `cirp.figures` and `cirp.statistics`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from cirp import figures, metrics, runs
from cirp.data import EditItem
from cirp.maps import word_map
from cirp.reading import Watched, by_layer, by_time
from cirp.sampling import Edit
from cirp.scores import score_all
from cirp.statistics import PRIMARY, average_seeds, paired_interval, summarise
from cirp.study import BASELINE, NOISY, NOTHING, SWEEP_STEPS, TRIP
from cirp.widgets import AttentionExplorer, GuidanceExplorer

SUCCESS, OUTSIDE = "success", PRIMARY
NAMES = {
    "success": "edit success",
    "success_soft": "edit success, soft",
    "clip_i_source": "CLIP-I to source",
    "clip_i_target": "CLIP-I to target",
    "dinov2_source": "DINOv2 to source",
    "dinov2_target": "DINOv2 to target",
    "clip_t": "CLIP-T",
    "clip_direction": "CLIP direction",
    "l1_source": "L1",
    "l1_source_inside": "L1 inside",
    "l1_source_outside": "L1 outside",
    "l1_source_outside_excess": "excess outside change (L1)",
    "psnr_source_outside": "PSNR outside (dB)",
    "ssim_source_outside": "SSIM outside",
    "feature_distance_dinov2_source_outside": "DINOv2 patch distance outside",
    "l1_target": "L1 to target",
    "l1_target_inside": "L1 to target, inside",
    "ssim_source_outside_excess": "excess SSIM outside",
    "feature_distance_dinov2_source_outside_excess": "excess DINOv2 patch distance outside",
    "leakage_auc": "change map finds the mask (AUC)",
    "region_iou": "region found (IoU)",
    "l1_source_outside_excess_if_success": "excess outside change, successes only",
}
COLOURS = {BASELINE: figures.BASELINE, NOISY: figures.NOISY}


def named(metric: str) -> str:
    return NAMES.get(metric, metric.replace("_", " "))


def points(table: pd.DataFrame, columns: Sequence[str], *, method: str = "method") -> pd.DataFrame:
    """One row per method with each metric's mean and, as `_low` and `_high`, its interval."""
    long = summarise(table, list(columns), method=method)
    parts = []
    for name in columns:
        part = long[long["metric"] == name].set_index(method)[["mean", "low", "high"]]
        parts.append(part.set_axis([name, f"{name}_low", f"{name}_high"], axis=1))
    return pd.concat(parts, axis=1).reset_index()


def wide(table: pd.DataFrame, columns: Sequence[str], *, method: str = "method") -> pd.DataFrame:
    """Methods by metrics, as "mean [low, high]"; a dash where nothing is defined."""
    found = points(table, columns, method=method)
    text = {
        named(name): [
            "-" if np.isnan(m) else f"{m:.3f}" if np.isnan(lo) else f"{m:.3f} [{lo:.3f}, {hi:.3f}]"
            for m, lo, hi in zip(
                found[name], found[f"{name}_low"], found[f"{name}_high"], strict=True
            )
        ]
        for name in columns
    }
    return pd.DataFrame(text, index=pd.Index(found[method], name=""))


def unnumbered(table: pd.DataFrame) -> Styler:
    """The table without its index, with the look that pages give to tables."""
    return table.style.hide(axis="index").set_table_attributes('class="dataframe"')


def per_cent(values: pd.Series) -> str:
    """Mean over images, as the report prints similarities."""
    return f"{100 * values.mean():.2f}"


def close_up(item: EditItem, made: Mapping[str, Edit]) -> Figure:
    """Input, each method's output and the true target; below, how much each pixel changed."""
    source, target, mask = item.source(), item.target(), item.mask()
    pictures = {"input": source, **{name: e.image for name, e in made.items()}}
    if target is not None:
        pictures["exact answer"] = target
    fig, axes = figures.grid(2, len(pictures), side=1.75)
    changes = {
        name: metrics.change(metrics.to_array(p), metrics.to_array(source))
        for name, p in pictures.items()
    }
    peak = max(float(c.max()) for c in changes.values())
    for column, (name, picture) in enumerate(pictures.items()):
        figures.show(axes[0, column], picture, name)
        if name == "input":
            figures.show(axes[1, 0], picture, "should change", mask=mask)
        else:
            figures.overlay(
                axes[1, column],
                picture,
                changes[name],
                "changed",
                mask=mask,
                peak=peak,
                opacity=0.8,
            )
    return fig


def main_figure(table: pd.DataFrame, blends: pd.DataFrame) -> Figure:
    """Edit success against excess outside change, with the controls."""
    fig, ax = plt.subplots(figsize=(6.6, 4.4))
    mixed = points(
        blends.assign(method=[f"{a:g}" for a in blends["alpha"]]), (SUCCESS, OUTSIDE)
    ).rename(columns={"method": "alpha"})
    found = points(table, (SUCCESS, OUTSIDE))
    curves = [
        found[found["method"].isin([BASELINE])],
        found[found["method"].isin([NOISY])],
        mixed.assign(method="baseline blended with its input"),
        found[found["method"].isin([NOTHING, TRIP])].assign(method="do nothing, autoencoder alone"),
    ]
    figures.trade_off(
        ax,
        pd.concat(curves, ignore_index=True),
        x=SUCCESS,
        y=OUTSIDE,
        controls=("baseline blended with its input", "do nothing, autoencoder alone"),
        labels=("edit success (judge)", "excess outside change (L1, 0 to 1)"),
        better="lower right",
    )
    return fig


def side_by_side(
    items: Sequence[EditItem], made: Mapping[str, Sequence[Edit]], table: pd.DataFrame, seed: int
) -> Figure:
    """The report's table as pictures: input, both outputs with their similarities, the answer."""
    names = list(made)
    scores = table[table["seed"] == seed].set_index(["method", "id"])
    pictures, captions = [], []
    for i, item in enumerate(items):
        pictures.append([item.source(), *(made[n][i].image for n in names), item.target()])
        said = []
        for name in names:
            row = scores.loc[(name, item.id)]
            tick = {1.0: "done", 0.0: "not done"}.get(float(row["success"]), "")
            said.append(
                f"CLIP-I {100 * row['clip_i_source']:.1f}  "
                f"DINOv2 {100 * row['dinov2_source']:.1f}\n{tick}"
            )
        captions.append(["", *said, ""])
    fig, axes = figures.grid(len(items), len(names) + 2, side=1.7)
    figures.image_grid(
        axes,
        pictures,
        columns=["input", *names, "exact answer"],
        rows=[_folded(item.record.instruction) for item in items],
        captions=captions,
    )
    for ax, item in zip(np.atleast_2d(axes)[:, 0], items, strict=True):
        if (mask := item.mask()) is not None:
            figures.outline(ax, mask, size=item.size)
    return fig


def _folded(text: str, width: int = 18) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


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


def sweep_points(table: pd.DataFrame) -> pd.DataFrame:
    """The sweep's rows as curves: which curve, which setting, and the metrics with intervals."""
    columns = (SUCCESS, OUTSIDE, "clip_i_source", "dinov2_source", "clip_t")
    found = points(table, columns)
    split = found["method"].str.extract(
        r"(?P<system>\w+): (?P<first>\w+) (?P<a>[\d.]+), \w+ (?P<b>[\d.]+)"
    )
    noisy = split["system"] == "noisy"
    text_sweep = ~noisy & (split["b"] == "1.5")
    image_sweep = ~noisy & (split["a"] == "7.5")
    curves = []
    for chosen, name, setting in (
        (text_sweep, "baseline: text scale, image 1.5", "a"),
        (image_sweep, "baseline: image scale, text 7.5", "b"),
        *(
            (noisy & (split["b"] == text), f"noisy: strength, text {text}", "a")
            for text in ("12", "15")
        ),
    ):
        part = found[chosen].assign(curve=name, setting=split.loc[chosen, setting].astype(float))
        curves.append(part.sort_values("setting"))
    return pd.concat(curves, ignore_index=True)


def sweep_figure(table: pd.DataFrame, y: str = OUTSIDE, label: str = "") -> Figure:
    """One trade-off curve per dial."""
    fig, ax = plt.subplots(figsize=(7.2, 4.8))
    better = "lower right" if metrics.better(y) == "lower" else "upper right"
    figures.trade_off(
        ax,
        sweep_points(table),
        x=SUCCESS,
        y=y,
        curve="curve",
        setting="setting",
        labels=("edit success (judge)", label or named(y)),
        better=better,
    )
    return fig


def report_table(table: pd.DataFrame) -> pd.DataFrame:
    """The report's table: theirs on real models, and ours on the miniature's 10 and 50 images."""
    rows = [
        ("the report, real models, 10 images", "InstructPix2Pix", "89.45", "89.60", ""),
        ("the report, real models, 10 images", "noisy input", "91.79", "90.50", ""),
    ]
    images = average_seeds(table, ["clip_i_source", "dinov2_source", "success", "example"])
    for label, some in (
        ("miniature, our 10 examples", images[images["example"] > 0]),
        ("miniature, all images", images),
    ):
        for name in (BASELINE, NOISY, NOTHING, TRIP):
            part = some[some["method"] == name]
            if len(part):
                rows.append(
                    (
                        f"{label} ({len(part)})" if label.endswith("images") else label,
                        name,
                        per_cent(part["clip_i_source"]),
                        per_cent(part["dinov2_source"]),
                        per_cent(part["success"]),
                    )
                )
    return pd.DataFrame(
        rows, columns=["measured on", "system", "CLIP-I %", "DINOv2 %", "edit success %"]
    )


def ablation_table(table: pd.DataFrame) -> pd.DataFrame:
    """The eight cells with input form, text scale and prompt as columns of their own."""
    columns = ("success", "l1_source_outside_excess", "clip_i_source", "dinov2_source", "clip_t")
    found = points(table, columns)
    parts = found["method"].str.split(" | ", regex=False, expand=True)
    parts.columns = ["input", "text scale", "prompt"]
    numbers = found[list(columns)].rename(columns=named).round(3)
    return pd.concat([parts, numbers], axis=1).sort_values(["input", "text scale", "prompt"])


def main_effects(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """What each of the three changes does by itself: mean over the other two, paired by image."""
    images = average_seeds(table, list(columns))
    parts = images["method"].str.split(" | ", regex=False, expand=True)
    rows = []
    for position, name, a, b in (
        (0, "noised instead of concatenated", "noised", "concatenated"),
        (1, "text scale 12 instead of 7.5", "12", "7.5"),
        (2, "caption instead of instruction", "caption", "instruction"),
    ):
        for metric in columns:
            sides = [
                images[parts[position] == level].groupby("id")[metric].mean() for level in (a, b)
            ]
            found = paired_interval(*(side.to_numpy(dtype=float) for side in sides))
            rows.append(
                {"change": name, "metric": metric, "difference": found.mean,
                 "low": found.low, "high": found.high, "n": found.n}
            )  # fmt: skip
    return pd.DataFrame(rows)


def readings_figure(table: pd.DataFrame) -> Figure:
    """Each reading of the report's setting as one point: success against CLIP-I."""
    fig, ax = plt.subplots(figsize=(7.2, 4.0))
    figures.trade_off(
        ax,
        points(table, (SUCCESS, "clip_i_source")),
        x=SUCCESS,
        y="clip_i_source",
        labels=("edit success (judge)", named("clip_i_source")),
    )
    return fig


def gate(models, item: EditItem, settings: Sequence[tuple[float, float]]) -> pd.DataFrame:
    """diffusers' own pipeline at (text, image) scales, each against the first: are they equal?"""
    first, rows = None, []
    for text, image in settings:
        made = models.instruct(
            item.record.instruction,
            image=item.source(),
            num_inference_steps=10,
            guidance_scale=text,
            image_guidance_scale=image,
            generator=torch.Generator().manual_seed(0),
        ).images[0]
        pixels = metrics.to_array(made)
        first = pixels if first is None else first
        rows.append(
            {
                "guidance_scale": text,
                "image_guidance_scale": image,
                "largest difference from the first row (of 255)": round(
                    255 * float(np.abs(pixels - first).max())
                ),
            }
        )
    return pd.DataFrame(rows).set_index(["guidance_scale", "image_guidance_scale"])


def fade_figure(table: pd.DataFrame, blends: pd.DataFrame) -> Figure:
    """CLIP-I to the source against success, with blending as the line to beat."""
    fig, ax = plt.subplots(figsize=(6.6, 4.2))
    mixed = points(
        blends.assign(method=[f"{a:g}" for a in blends["alpha"]]), (SUCCESS, "clip_i_source")
    ).assign(method="baseline blended with its input")
    figures.trade_off(
        ax,
        pd.concat([points(table, (SUCCESS, "clip_i_source")), mixed], ignore_index=True),
        x=SUCCESS,
        y="clip_i_source",
        controls=("baseline blended with its input", NOTHING, TRIP),
        labels=("edit success (judge)", named("clip_i_source")),
        better="upper right",
    )
    return fig


def where_figure(table: pd.DataFrame) -> Figure:
    """By image: CLIP-I to the source against the change outside, and against the change inside."""
    columns = ["clip_i_source", "l1_source_outside", "l1_source_inside"]
    images = average_seeds(table[table["method"] == BASELINE], columns)
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
    for ax, column, colour in zip(
        axes, columns[1:], (figures.BASELINE, figures.NOISY), strict=True
    ):
        ax.scatter(images[column], images["clip_i_source"], s=22, color=colour, alpha=0.8)
        ax.set_xlabel(named(column))
    axes[0].set_ylabel(named("clip_i_source"))
    return fig


def where_table(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of CLIP-I to the source with change outside and inside."""
    columns = [
        "clip_i_source",
        "dinov2_source",
        "l1_source_outside",
        "l1_source_inside",
        "inside_area",
    ]
    images = average_seeds(table[table["method"] == BASELINE], columns)
    rows = images[columns].corr(method="spearman").loc[columns[2:], columns[:2]]
    return rows.rename(index=named, columns=named).rename(index={"inside_area": "area"}).round(2)


def truth_table(study) -> pd.DataFrame:
    """The exact targets, scored as if an editor had made them."""
    items = [item for item in study.everything if item.record.target_file_name]
    scored = score_all(items, [item.target() for item in items], study.features)
    columns = ["success", "clip_i_source", "dinov2_source", "clip_i_target", "l1_source_outside"]
    return wide(scored.assign(method="the exact answer", seed=0), columns)


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
        figures.show(axes[row, 0], one.item.source(), f"“{_folded(one.prompt, 24)}”")
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


def guidance_explorer(study, items: Sequence[EditItem]):
    """The interactive explorer of the noisy input: strength and text scale, precomputed."""
    strengths, scales = (0.4, 0.5, 0.55, 0.7, 0.9), (12.0, 15.0)
    made = {}
    for strength in strengths:
        for scale in scales:
            settings = dict(
                variant="text-to-image", steps=SWEEP_STEPS, strength=strength, text_scale=scale
            )
            edits = runs.edits(
                study.models, items, "noisy", seeds=study.seeds[:1], settings=settings,
                progress=False,
            )  # fmt: skip
            for item, edit in zip(items, edits, strict=True):
                made[(_label(item), strength, scale)] = edit.image
    return GuidanceExplorer(
        {_label(item): item.source() for item in items},
        {"strength": strengths, "text scale": scales},
        made,
        targets={_label(item): item.target() for item in items if item.target() is not None},
    )


def _label(item: EditItem) -> str:
    return f"{item.record.target_caption} ({item.id})"
