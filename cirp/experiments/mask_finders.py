"""Who finds the region: every method's own mask against the truth, and uninformative masks.

An uninformative guess gets the true mask's area as a present, and still must be beaten.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cirp.attention.localisation import baselines
from cirp.data.images import Mask
from cirp.experiments import configurations, frontiers
from cirp.experiments.engine import Cell, Experiment, Job, planned
from cirp.metrics.regions import iou
from cirp.statistics.bootstrap import by_image, mean_interval

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


def measure(job: Job, cell: Cell) -> pd.DataFrame:
    """Measure the overlap of one guess with the true mask: a row an edit."""
    rows = []
    for n, item in enumerate(job.items):
        truth = item.mask()
        mask = guesses(truth, seed=job.seeds[0] + n)[cell.label]
        rows.append({"id": item.id, "region_iou": iou(mask, truth)})
    return pd.DataFrame(rows)


LOCAL = planned("test", local=True)
EXPERIMENT = Experiment(
    "guesses", lambda _: [Cell(name, "") for name in (WHOLE, CENTRE, RANDOM)], LOCAL,
    measure=measure, code="guesses 1", scored=False, checked=("region_iou",),
    sample=lambda: LOCAL()[:8],
)  # fmt: skip


def board(table: pd.DataFrame, guesses: pd.DataFrame) -> pd.DataFrame:
    """Return the mean overlap of each method that finds a region, best first, with intervals.

    `table` is that of `frontiers`, of which each method's shown point counts. Methods told the true
    region are left out, but for what is left of it on the latents' grid.
    """
    shown = frontiers.at_shown(frontiers.local(table))
    own = shown[~shown["method"].isin(configurations.controls())]
    told = frontiers.local(table, told=True)
    grid = told[told["method"] == configurations.TRUTH].assign(method=GRID)
    every = pd.concat([own, grid, guesses], ignore_index=True)
    images = by_image(every[every["id"].isin(guesses["id"])], "region_iou").dropna(
        axis=1, how="all"
    )
    rows = []
    for name in images:
        found = mean_interval(images[name].to_numpy(dtype=float))
        kind = "uninformative" if name in (WHOLE, CENTRE, RANDOM) else "finds it"
        kind = "knows it" if name == GRID else kind
        ends = {"low": found.low, "high": found.high, "n": found.n}
        rows.append({"method": name, "kind": kind, "IoU": found.mean, **ends})
    ordered = pd.DataFrame(rows).sort_values("IoU", ascending=False, kind="stable")
    return ordered.reset_index(drop=True)


def by_kind(table: pd.DataFrame, guesses: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Mean overlap of some methods by kind of edit, with the whole picture's for comparison."""
    shown = frontiers.at_shown(frontiers.local(table))
    local = shown[["id", "edit_type"]].drop_duplicates()
    every = pd.concat([shown[["id", "method", "region_iou"]], guesses], ignore_index=True)
    some = every[every["method"].isin([*methods, WHOLE])].merge(local, on="id")
    means = some.pivot_table(index="edit_type", columns="method", values="region_iou", sort=False)
    return means[[*methods, WHOLE]].rename_axis(index="kind of edit")
