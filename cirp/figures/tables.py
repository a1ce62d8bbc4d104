"""Tables as a reader sees them: names in words, means with their intervals."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from cirp.statistics.bootstrap import Interval, average_seeds, mean_interval, summarise

ANSWERS = ("success", "clip_direction", "clip_t")  # whether the edit happened, best first
CHANGES = ("l1_source_outside_excess", "l1_source")  # what it changed, likewise
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
    "answer_iou": "right part (PaintBench's IoU)",
    "l1_source_outside_excess_if_success": "excess outside change, successes only",
}


def named(metric: str) -> str:
    return NAMES.get(metric, metric.replace("_", " "))


WHY = (
    "Success needs labels and a judge that knows them, inside and outside need a mask, CLIP-T a "
    "target caption, CLIP direction both captions (data/README.md)."
)


def known(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Those of `columns` of which the table knows anything; says which are left out, and why."""
    shown = [name for name in columns if name in table and table[name].notna().any()]
    if lacking := [named(name) for name in columns if name not in shown]:
        print(f"left out: {', '.join(lacking)}. {WHY}")
    return shown


def known_best(table: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """Return the first of `columns` of which the table knows anything; None if there is none.

    Of pictures without labels nobody can say whether an edit succeeded, but with captions CLIP can
    say whether it went the right way.
    """
    for name in columns:
        if name in table and table[name].notna().any():
            return name
    print(f"left out: what is drawn against {named(columns[0])}. {WHY}")
    return None


def points(table: pd.DataFrame, columns: Sequence[str], *, method: str = "method") -> pd.DataFrame:
    """One row per method with each metric's mean and, as `_low` and `_high`, its interval."""
    long = summarise(table, list(columns), method=method)
    parts = []
    for name in columns:
        part = long[long["metric"] == name].set_index(method)[["mean", "low", "high"]]
        parts.append(part.set_axis([name, f"{name}_low", f"{name}_high"], axis=1))
    return pd.concat(parts, axis=1).reset_index()


def wide(table: pd.DataFrame, columns: Sequence[str], *, method: str = "method") -> pd.DataFrame:
    """Methods by metrics, as "mean [low, high]"; a dash where nothing is defined.

    A metric of which nothing is known at all is left out, with a line that says so.
    """
    columns = known(table, columns)
    labels = list(dict.fromkeys(table[method]))
    images = average_seeds(table, columns, method=method)
    text = {
        named(name): [
            f"{mean_interval(mine[name].to_numpy(float), metric=name):.3f}"
            for mine in (images[images[method] == label] for label in labels)
        ]
        for name in columns
    }
    return pd.DataFrame(text, index=pd.Index(labels, name=""))


def in_words(table: pd.DataFrame, columns: Mapping[str, str], spec: str = ".3f") -> pd.DataFrame:
    """Return these columns (name -> heading) as text, numbers by `spec`; unknown is a dash."""

    def text(value: object) -> object:
        mean = value.mean if isinstance(value, Interval) else value
        if isinstance(mean, float) and math.isnan(mean):
            return "–"
        if isinstance(value, Interval):
            return f"{value:{spec}}"
        return f"{value:{spec}}" if isinstance(value, float) else value

    found = {heading: table[name].map(text) for name, heading in columns.items()}
    return pd.DataFrame(found, index=table.index)


def unnumbered(table: pd.DataFrame) -> Styler:
    """Return the table without its index, with the look that pages give to tables."""
    return table.style.hide(axis="index").set_table_attributes('class="dataframe"')


def per_cent(values: pd.Series) -> str:
    """Mean over images, as the report prints similarities."""
    return "-" if values.isna().all() else f"{100 * values.mean():.2f}"
