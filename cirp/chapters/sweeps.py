"""The chapter on guidance sweeps."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.chapters.dials import dials, run_live
from cirp.data.edits import EditItem
from cirp.experiments import cache, configurations, frontiers
from cirp.experiments.needs import REQUIREMENTS
from cirp.experiments.records import settings_by_label
from cirp.experiments.study import Study
from cirp.explorer.page import shown_items
from cirp.figures import charts
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.figures.tables import ANSWERS, CHANGES, known_best, named, points
from cirp.methods import METHODS
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, by_image, paired_interval


def finding(table: pd.DataFrame | None) -> Paragraph:
    """What the two scales of the baseline do to local edits; `table` is that of `frontiers`."""
    if table is None:
        return say("*The planned test edits are the book's own, and are left out here.*")
    local = frontiers.local(table)
    mine = local[local["method"] == configurations.BASELINE]
    ends = {}
    for text in (min(mine["text_scale"]), max(mine["text_scale"])):
        some = mine[(mine["text_scale"] == text) & (mine["image_scale"] == 1.5)]
        ends[text] = [by_image(some, m).iloc[:, 0].to_numpy(float) for m in (SUCCESS, PRIMARY)]
    (low, (done, out)), (high, (done2, out2)) = ends.items()
    more, strays = paired_interval(done2, done, metric=SUCCESS), paired_interval(out2, out)
    number, apart = Numbers(), f"text guidance {high:g} minus {low:g}"
    number(f"outside change: {apart}", strays, "+.4f")
    number(f"edit success: {apart}", more, "+.2f")
    return say(
        f"**Turning text guidance up from {low:g} to {high:g} "
        + (
            "changes neither outside change nor success significantly.**"
            if strays.low <= 0 <= strays.high and more.low <= 0 <= more.high
            else strays.says(above="raises outside change", below="lowers outside change",
                             open="leaves outside change as it is")
            + " and "
            + more.says(above="raises success.**", below="lowers success.**",
                        open="does not change success significantly.**")
        ),
        "A method is a curve over its dials, not a number.",
        numbers=number.table,
    )  # fmt: skip


def plane_figure(table: pd.DataFrame) -> Figure:
    """The baseline at every pair of its scales on the local test edits: success, outside change."""
    local = frontiers.local(table)
    mine = local[local["method"] == configurations.BASELINE]
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.3), sharey=True)
    for ax, metric, title, format, cmap in (
        (axes[0], SUCCESS, "edit success", ".2f", "viridis"),
        (axes[1], PRIMARY, "excess outside change (L1)", ".4f", "rocket_r"),
    ):
        wide = mine.pivot_table(index="text_scale", columns="image_scale", values=metric)
        wide = wide.rename_axis(index="text guidance", columns="image guidance")
        figures.number_grid(ax, wide, format=format, cmap=cmap, title=title)
    axes[1].set_ylabel("")
    return fig


def sweep_points(table: pd.DataFrame) -> pd.DataFrame:
    """The sweep's rows as curves: which curve, which setting, and the metrics with intervals."""
    columns = (*ANSWERS, *CHANGES, "clip_i_source", "dinov2_source")
    found = points(table, [name for name in columns if name in table])
    scales = ["strength", "text_scale", "image_scale"]
    found = found.join(settings_by_label(table, *scales), on="method")
    noisy = found["strength"].notna()
    curves = []
    for chosen, name, setting in (
        (~noisy & (found["image_scale"] == 1.5), "baseline: text scale, image 1.5", "text_scale"),
        (~noisy & (found["text_scale"] == 7.5), "baseline: image scale, text 7.5", "image_scale"),
        *(
            (noisy & (found["text_scale"] == text), f"noisy: strength, text {text:g}", "strength")
            for text in (12.0, 15.0)
        ),
    ):
        part = found[chosen].assign(curve=name, setting=found.loc[chosen, setting])
        part = part.drop(columns=scales)
        curves.append(part.sort_values("setting"))
    return pd.concat(curves, ignore_index=True)


DIALS = {  # what a column turns -> how its curves' names begin
    "baseline: text guidance": "baseline: text",
    "baseline: image guidance": "baseline: image",
    "noisy input: strength": "noisy",
}


def sweep_figure(table: pd.DataFrame) -> Figure:
    """Draw a column a dial, a row a score: means over the images with their intervals."""
    found = sweep_points(table)
    known = [known_best(table, names) for names in (ANSWERS, CHANGES)]
    rows = [name for name in (*known, "clip_i_source", "dinov2_source") if name]
    fig, axes = plt.subplots(
        len(rows), len(DIALS), figsize=(8.2, 2 * len(rows)), sharex="col", sharey="row",
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for column, (dial, begins) in enumerate(DIALS.items()):
        curves = found[found["curve"].str.startswith(begins)].groupby("curve", sort=False)
        for place, (name, curve) in enumerate(curves):
            for ax, metric in zip(axes[:, column], rows, strict=True):
                at = curve["setting"] + 0.006 * (place - (len(curves) - 1) / 2)
                ax.errorbar(
                    at, curve[metric], capsize=2.5, lw=1.4, ms=4.5, marker=figures.MARKERS[place],
                    yerr=charts.reach_of(curve, metric), color=figures.PALETTE[place],
                    label=name.rpartition(", ")[2],
                )  # fmt: skip
        axes[0, column].set_title(dial, fontsize=10)
        axes[0, column].legend(fontsize=9)
    for ax, metric in zip(axes[:, 0], rows, strict=True):
        better = {"success": "\n↑ better", PRIMARY: "\n↓ better"}.get(metric, "")
        ax.set_ylabel(figures.fill(named(metric), 18) + better, fontsize=9)
    return fig


TEXT_SCALES, IMAGE_SCALES = (1.5, 2.5, 4.0, 7.5), (1.0, 1.5, 2.5)


def plane_explorer(study: Study):
    """The baseline's two guidance scales, precomputed; each point opens in the explorer's page."""
    items = shown_items() if study.is_default else study.items
    local = [item for item in items if not item.record.is_global][:3]

    def cell(text_scale: float, image_scale: float):
        settings = dict(
            steps=study.sweep_steps, text_scale=text_scale, image_scale=image_scale
        )  # fmt: skip
        return study.models, "ip2p", settings

    return dials(
        {"text guidance": TEXT_SCALES, "image guidance": IMAGE_SCALES}, cell, local or items[:3],
        study.features, seed=study.seeds[0], live=run_live if study.is_default else None,
    )  # fmt: skip


def guidance_explorer(study, items: Sequence[EditItem]):
    """Return the interactive explorer of the noisy input: strength and text scale, precomputed."""
    items = [item for item in items if REQUIREMENTS["target caption"](item)]
    if not items:
        print("left out: the noisy input's dials. None of these edits has a target caption.")
        return None
    settings = dict(variant="text-to-image", steps=study.sweep_steps)
    strengths = (0.4, 0.5, 0.55, 0.7, 0.9)
    noisy = METHODS["noisy"]
    strengths = tuple(
        s for s in strengths if not noisy.lacks_steps(steps=study.sweep_steps, strength=s)
    )
    return dials(
        {"strength": strengths, "text scale": (12.0, 15.0)},
        lambda strength, scale: (
            study.models, "noisy", {**settings, "strength": strength, "text_scale": scale},
        ),
        items, study.features, seed=study.seeds[0], label=_label,
    )  # fmt: skip


def _label(item: EditItem) -> str:
    return f"{cache.target_caption(item.record)} ({item.id})"
