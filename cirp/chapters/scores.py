"""The chapters of tables: the report's, the ablation, and what similarity cannot tell."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from cirp import figures
from cirp.experiments.drawn import right_answers
from cirp.experiments.records import settings_by_label
from cirp.experiments.report import BASELINE, NOISY, NOTHING, TRIP
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.figures.tables import (
    ANSWERS,
    in_words,
    known,
    known_best,
    named,
    per_cent,
    points,
    wide,
)
from cirp.metrics.scores import score_all
from cirp.statistics.bootstrap import (
    PRIMARY,
    SUCCESS,
    average_seeds,
    by_image,
    compare,
    compare_metrics,
    paired_interval,
)

WHERE = ("l1_source_outside", "l1_source_inside")
COLOURS = {BASELINE: figures.BASELINE, NOISY: figures.NOISY}


def tables_finding(table: pd.DataFrame) -> Paragraph:
    """Whether the miniature's table goes the report's way."""
    number = Numbers()
    idle = by_image(table, "clip_i_source")[NOTHING].mean()
    said = number.plain("CLIP-I to source: doing nothing", f"{idle:.2f}")
    wins = f"Doing nothing scores {said} on CLIP-I to the input and wins both columns outright."
    if NOISY not in set(table["method"]):
        lacking = "These edits have no target captions, which the noisy input needs."
        return say(f"**{wins}**", lacking, numbers=number.table)
    sure = 0
    for metric, theirs in (("clip_i_source", 0.0234), ("dinov2_source", 0.0090)):
        by = compare(table, NOISY, BASELINE, metric)
        sure += by.low > 0
        number(f"{named(metric)}: noisy input minus baseline", by, "+.3f")
        number.plain(f"{named(metric)}: the same in the report", _signed(theirs, ".4f"))
    are_known = {
        0: "Neither of the report's two similarity scores is",
        1: "One of the report's two similarity scores is",
        2: "Both similarity scores of the report are",
    }[sure]
    return say(
        f"**{are_known} significantly higher with the noisy input than with the baseline.**",
        wins,
        numbers=number.table,
    )


def _signed(value: float, spec: str = ".2f") -> str:
    return f"{value:+{spec}}".replace("-", "\u2212")


def cannot_tell_finding(table: pd.DataFrame, blends: pd.DataFrame) -> Paragraph:
    """What fading the edit out does to similarity, and how similarity goes with outside change."""
    wide = blends.pivot_table(index="id", columns="alpha", values="clip_i_source")
    faded = paired_interval(wide[max(wide)].to_numpy(float), wide[min(wide)].to_numpy(float))
    base = average_seeds(table[table["method"] == BASELINE], ["clip_i_source", *WHERE])
    rho = {m: base[["clip_i_source", m]].corr(method="spearman").iloc[0, 1] for m in WHERE}
    number = Numbers()
    raised = number(f"CLIP-I to source: {max(wide):.0%} input minus none", faded, "+.3f")
    first = (
        f"**Mixing {max(wide):.0%} of the input back into the baseline's output raises CLIP-I by "
        f"{raised}, though what was asked for fades with it.**"
    )
    if base[WHERE[0]].isna().all():
        return say(first, numbers=number.table)
    outside, inside = (
        number.plain(f"CLIP-I to source with change {where} (Spearman's rho)", _signed(rho[metric]))
        for where, metric in zip(("outside", "inside"), WHERE, strict=True)
    )
    return say(
        first,
        f"Over images, the rank correlation of CLIP-I with the unwanted change is {outside}, and "
        f"with the change that was asked for {inside}.",
        numbers=number.table,
    )


def whose(study) -> Markdown:
    """Return what the two blocks of the report's table are numbers of."""
    ours = "the miniature" if study.models.is_miniature else f"`{study.shown_as}`"
    return say(
        f"Theirs was measured on real models and ten photographs, ours on {ours}: **the two blocks "
        "must not be compared with each other**, only the direction within each."
    )


def report_table(table: pd.DataFrame, models: str = "miniature") -> pd.DataFrame:
    """Return the report's table: theirs on real models, and ours, measured on `models`."""
    rows = [
        ("the report, real models, 10 images", "InstructPix2Pix", "89.45", "89.60", ""),
        ("the report, real models, 10 images", "noisy input", "91.79", "90.50", ""),
    ]
    images = average_seeds(table, ["clip_i_source", "dinov2_source", "success", "example"])
    for label, some in (
        (f"{models}, our 10 examples", images[images["example"] > 0]),
        (f"{models}, all images", images),
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


def paired(table: pd.DataFrame) -> pd.DataFrame | None:
    """Noisy input against baseline, image by image, on what is known of these pictures."""
    if NOISY not in set(table["method"]):
        print("left out: the comparison. The noisy input needs target captions (data/README.md).")
        return None
    similar = ("clip_i_source", "dinov2_source", "clip_t", "ssim_source_outside")
    shown = known(table, [PRIMARY, SUCCESS, *similar])
    return compare_metrics(table, NOISY, BASELINE, shown, primary=shown[0])


def paired_table(found: pd.DataFrame | None) -> pd.DataFrame | None:
    """`paired` in words."""
    if found is None:
        return None
    rows = found.assign(metric=found["metric"].map(named)).set_index("metric")
    columns = {
        "mean_a": "noisy input", "mean_b": "baseline", "difference": "difference",
        "p": "p", "p_holm": "p, corrected", "n": "edits",
    }  # fmt: skip
    return in_words(rows, columns, ".4f")


def forest_figure(found: pd.DataFrame | None) -> Figure | None:
    """Return the differences with their intervals."""
    if found is None:
        return None
    fig, ax = plt.subplots(figsize=(6.6, 3.2))
    figures.forest(
        ax, found.assign(metric=found["metric"].map(named)),
        sides=("noisy input lower", "noisy input higher"),
    )  # fmt: skip
    return fig


def by_kind(table: pd.DataFrame) -> pd.DataFrame | None:
    """Both systems' success and outside change by kind of edit."""
    both = table[table["method"].isin([BASELINE, NOISY])]
    columns = known(both, [SUCCESS, PRIMARY])
    if not columns:
        return None
    wide = both.pivot_table(index="edit_type", columns="method", values=columns).round(3)
    return wide.rename(columns=named, level=0).rename_axis("kind of edit")


def ablation_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the eight cells with input form, text scale and prompt as columns of their own."""
    columns = known(table, ["success", PRIMARY, "clip_i_source", "dinov2_source", "clip_t"])
    found = points(table, columns)
    parts = _factors(table).loc[found["method"]].reset_index(drop=True)
    parts = parts.rename(columns={"text_scale": "text scale"})
    numbers = found[list(columns)].rename(columns=named).round(3)
    return pd.concat([parts, numbers], axis=1).sort_values(list(parts))


def _factors(table: pd.DataFrame) -> pd.DataFrame:
    """Return the three things that the ablation changes, by label."""
    own = settings_by_label(table, "variant", "text_scale", "prompt")
    noised = own["variant"].notna().map({True: "noised", False: "concatenated"})
    return own.drop(columns="variant").assign(input=noised)[["input", "text_scale", "prompt"]]


def main_effects(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """What each of the three changes does by itself: mean over the other two, paired by image."""
    columns = known(table, columns)
    images = average_seeds(table, columns)
    images = images.join(_factors(table), on="method")
    rows = []
    for factor, name, a, b in (
        ("input", "noised instead of concatenated", "noised", "concatenated"),
        ("text_scale", "text scale 12 instead of 7.5", 12.0, 7.5),
        ("prompt", "caption instead of instruction", "caption", "instruction"),
    ):
        for metric in columns:
            if not {a, b} <= set(images[factor]):  # captions are not known of these edits
                continue
            sides = [
                images[images[factor] == level].groupby("id")[metric].mean() for level in (a, b)
            ]
            found = paired_interval(*(side.to_numpy(float) for side in sides), metric=metric)
            rows.append({"change": name, "metric": metric, "difference": found, "n": found.n})
    return pd.DataFrame(rows)


def fade_figure(table: pd.DataFrame, blends: pd.DataFrame) -> Figure | None:
    """CLIP-I to the source against success, with blending as the line to beat."""
    x = known_best(table, ANSWERS)
    if x is None:
        return None
    fig, ax = plt.subplots(figsize=(6.6, 4.2))
    mixed = points(
        blends.assign(method=[f"{a:g}" for a in blends["alpha"]]), (x, "clip_i_source")
    ).assign(method="baseline blended with its input")
    figures.trade_off(
        ax,
        pd.concat([points(table, (x, "clip_i_source")), mixed], ignore_index=True),
        x=x,
        y="clip_i_source",
        controls=("baseline blended with its input", NOTHING, TRIP),
        labels=(named(x), named("clip_i_source")),
        better="upper right",
    )
    return fig


def where_figure(table: pd.DataFrame) -> Figure | None:
    """By image: CLIP-I to the source against the change outside, and against the change inside."""
    columns = ["clip_i_source", "l1_source_outside", "l1_source_inside"]
    images = average_seeds(table[table["method"] == BASELINE], columns)
    if images[columns[1]].isna().all():
        print("left out: inside and outside. None of these edits has a mask (data/README.md).")
        return None
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
    for ax, column, colour in zip(
        axes, columns[1:], (figures.BASELINE, figures.NOISY), strict=True
    ):
        ax.scatter(images[column], images["clip_i_source"], s=22, color=colour, alpha=0.8)
        ax.set_xlabel(named(column))
    axes[0].set_ylabel(named("clip_i_source"))
    return fig


def where_table(table: pd.DataFrame) -> pd.DataFrame | None:
    """Spearman's rank correlation of CLIP-I to the source with change outside and inside."""
    columns = [
        "clip_i_source",
        "dinov2_source",
        "l1_source_outside",
        "l1_source_inside",
        "inside_area",
    ]
    images = average_seeds(table[table["method"] == BASELINE], columns)
    if images[columns[2]].isna().all():
        return None
    rows = images[columns].corr(method="spearman").loc[columns[2:], columns[:2]]
    return rows.rename(index=named, columns=named).rename(index={"inside_area": "area"}).round(2)


def truth_table(study) -> pd.DataFrame | None:
    """Return the exact targets, scored as if an editor had made them."""
    items = [item for item in study.everything if item.record.target_file_name]
    if not items:
        print("left out: the exact answers. None of these edits has one.")
        return None
    pictures = {
        "the exact answer": [item.target() for item in items],
        "the input as it is": [item.source() for item in items],
    }
    scored = pd.concat(
        score_all(items, some, study.features, answers=right_answers(items)).assign(
            method=name, seed=0
        )
        for name, some in pictures.items()
    )
    columns = ["success", "clip_i_source", "dinov2_source", "clip_i_target", "l1_source_outside"]
    return wide(scored, columns)
