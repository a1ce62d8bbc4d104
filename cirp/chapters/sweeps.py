"""The chapter on guidance sweeps."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.experiments import cache
from cirp.experiments.report import SWEEP_STEPS
from cirp.figures.explorers import GuidanceExplorer
from cirp.figures.tables import named, points
from cirp.metrics import similarity
from cirp.statistics.bootstrap import PRIMARY, SUCCESS


def sweep_points(table: pd.DataFrame) -> pd.DataFrame:
    """The sweep's rows as curves: which curve, which setting, and the metrics with intervals."""
    columns = (SUCCESS, PRIMARY, "clip_i_source", "dinov2_source", "clip_t")
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


def sweep_figure(table: pd.DataFrame, y: str = PRIMARY, label: str = "") -> Figure:
    """One trade-off curve per dial."""
    fig, ax = plt.subplots(figsize=(7.2, 4.8))
    better = "lower right" if similarity.better(y) == "lower" else "upper right"
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


def guidance_explorer(study, items: Sequence[EditItem]):
    """The interactive explorer of the noisy input: strength and text scale, precomputed."""
    strengths, scales = (0.4, 0.5, 0.55, 0.7, 0.9), (12.0, 15.0)
    made = {}
    for strength in strengths:
        for scale in scales:
            settings = dict(
                variant="text-to-image", steps=SWEEP_STEPS, strength=strength, text_scale=scale
            )
            edits = cache.edits(
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
