"""The first chapter: one edit that changes too much, and the main result."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.tasks import Edit
from cirp.experiments.report import BASELINE, NOISY, NOTHING, TRIP
from cirp.figures.tables import points
from cirp.metrics import similarity
from cirp.statistics.bootstrap import PRIMARY, SUCCESS

COLOURS = {BASELINE: figures.BASELINE, NOISY: figures.NOISY}


def close_up(item: EditItem, made: Mapping[str, Edit]) -> Figure:
    """Input, each method's output and the true target; below, how much each pixel changed."""
    source, target, mask = item.source(), item.target(), item.mask()
    pictures = {"input": source, **{name: e.image for name, e in made.items()}}
    if target is not None:
        pictures["exact answer"] = target
    fig, axes = figures.grid(2, len(pictures), side=1.75)
    changes = {
        name: similarity.change(similarity.to_array(p), similarity.to_array(source))
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
        blends.assign(method=[f"{a:g}" for a in blends["alpha"]]), (SUCCESS, PRIMARY)
    ).rename(columns={"method": "alpha"})
    found = points(table, (SUCCESS, PRIMARY))
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
        y=PRIMARY,
        controls=("baseline blended with its input", "do nothing, autoencoder alone"),
        labels=("edit success (judge)", "excess outside change (L1, 0 to 1)"),
        better="lower right",
    )
    return fig
