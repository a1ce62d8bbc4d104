"""The experiments on planned edits: one command computes them, and each chapter checks a slice.

    cirp evidence                      every table, from what is kept and what is missing
    cirp evidence frontiers factorial  these alone
    cirp evidence --shard 0 --shards 2 only compute this share of the edits; tables are written
                                       afterwards, without shards

An experiment is a module with `items()`, `fill(models, items, chosen)` and `measured(models, items,
chosen, features, shown=...)`. Finished edits are kept, so an interrupted command goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import pandas as pd

from cirp.diffusion.pipelines import load
from cirp.experiments import (
    confirmation,
    controls,
    factorial,
    frontiers,
    leak,
    records,
    releases,
    strays,
    turns,
)
from cirp.experiments.records import CHECKED, agreement
from cirp.experiments.study import Study
from cirp.metrics.features import load_features
from cirp.statistics.bootstrap import PRIMARY


@dataclass(frozen=True)
class Experiment:
    """A module that measures, and what of it each quick build computes again."""

    module: ModuleType
    slice: int = 2  # the first items
    checked: Sequence[str] = CHECKED
    draws_slice: bool = False  # alone, where drawing all of them would take a build's time


EXPERIMENTS = {
    "frontiers": Experiment(frontiers),
    "factorial": Experiment(factorial, checked=("success", PRIMARY, "clip_i_source")),
    "turns": Experiment(turns, checked=("still_right", "untouched_change")),
    "leak": Experiment(leak, checked=("success", PRIMARY)),
    "confirmation": Experiment(confirmation),
    "controls": Experiment(controls, slice=16, checked=("success",), draws_slice=True),
    "releases": Experiment(releases),
    "strays": Experiment(strays, checked=("change", "pixels")),
}


def remedy(name: str) -> str:
    """The command that makes a table anew."""
    return f"cirp evidence {name}"


def table(s: Study, name: str) -> pd.DataFrame:
    """The recorded table, of which a slice is computed again.

    Raises `ValueError` if what was computed contradicts what is recorded, or nothing is.
    """
    experiment = EXPERIMENTS[name]
    known = records.required(name, remedy(name))
    draws = (experiment.slice,) if experiment.draws_slice else ()
    items = experiment.module.items(*draws)
    rows = experiment.module.measured(
        s.models, items, range(experiment.slice), s.features, shown=True
    )
    agreement(rows, known, records.path_of(name), checked=experiment.checked, remedy=remedy(name))
    return known


def compute(
    names: Sequence[str] = (), *, models: str = "miniature", shard: int = 0, shards: int = 1
):
    """Compute what is missing of these experiments, by default of all; see the module.

    Raises `ValueError` for an unknown experiment or a shard outside 0 to shards - 1.
    """
    for name in names:
        if name not in EXPERIMENTS:
            raise ValueError(f"unknown experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    if not 0 <= shard < shards:
        raise ValueError(f"shard={shard} of {shards}; give 0 to {shards - 1}")
    loaded = load(models)
    for name in names or EXPERIMENTS:
        module = EXPERIMENTS[name].module
        items = module.items()
        chosen = range(shard, len(items), shards)
        print(f"{name}: {len(chosen)} of {len(items)} items", flush=True)
        module.fill(loaded, items, chosen)
        if shards == 1:
            rows = module.measured(loaded, items, chosen, load_features(models))
            path = records.path_of(name)
            records.write(path, rows, digits=5)
            print(f"{path}: {len(rows)} rows", flush=True)
