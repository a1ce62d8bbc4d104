"""Every table: `table` gets one, `make` makes one (`cirp tables NAME`).

A new table is an `Experiment` in the list below.
"""

import os
import tempfile
from collections.abc import Sequence

import pandas as pd

from cirp.diffusion.pipelines import load
from cirp.experiments import (
    any_editor,
    cache,
    carries,
    confirmation,
    controls,
    dials,
    factorial,
    frontiers,
    guidance,
    leak,
    mask_finders,
    records,
    releases,
    report,
    strays,
    subject,
    swaps,
    traces,
    turns,
)
from cirp.experiments.engine import Experiment, Job
from cirp.experiments.needs import possible
from cirp.experiments.study import Study, book_items
from cirp.metrics.features import load_features

EXPERIMENTS: dict[str, Experiment] = {
    one.name: one
    for one in (
        *report.EXPERIMENTS,
        *any_editor.EXPERIMENTS,
        *(
            module.EXPERIMENT
            for module in (
                guidance, frontiers, dials, carries, swaps, factorial, releases, confirmation,
                turns, leak, controls, strays, traces, mask_finders, subject,
            )
        ),
    )
}  # fmt: skip
MEASURED = {  # tables that a command of their own makes
    "bars": "cirp miniature quality",
    "costs": "cirp cost methods",
    "attention_cost": "cirp cost attention",
    "throughput": "cirp cost throughput",
    "editors_cost": "cirp cost editors",
}


def remedy(name: str) -> str:
    """Return the command that makes a table."""
    return MEASURED.get(name, f"cirp tables {name}")


def of_book(s: Study, name: str) -> pd.DataFrame | None:
    """Return a table of the book as it is recorded; None in a book of other edits or models."""
    return known(name) if s.is_default else None


def known(name: str) -> pd.DataFrame:
    """Return a table as it is recorded. Raises `ValueError` if it was not made yet."""
    return records.required(name, remedy(name))


def table(s: Study, name: str, *, again: bool = True) -> pd.DataFrame:
    """Return a table of the book, of which a few cells are computed again; or a reader's own.

    With `again=False` nothing is: another chapter computes the same cells.

    What is computed again has a cache of its own, so that no old edit can stand in for it. A study
    of other edits, models, steps or seeds computes the whole table on its own edits.

    Raises `ValueError` if what was computed contradicts what is recorded, or nothing is.
    """
    experiment = EXPERIMENTS[name]
    cells = experiment.cells(s.steps if experiment.items is None else experiment.steps)
    if not s.is_default:
        methods = possible({one.label: (one.method, one.settings) for one in cells}, s.items)
        job = Job(s.models, s.features, s.items, s.items, s.seeds[: experiment.seeds])
        rows = experiment.rows(job, [one for one in cells if one.label in methods])
        if s.profile == "full":
            records.write(s.results / f"{name}.csv", rows)
        return rows
    recorded = known(name)
    if not again:
        return recorded
    if experiment.sample is not None:
        items = experiment.sample()
    else:
        items = (s.items if experiment.items is None else experiment.items())[:2]
    with tempfile.TemporaryDirectory() as folder, cache.kept_in(folder):
        rows = experiment.rows(
            Job(s.models, s.features, items, items), [one for one in cells if one.in_slice]
        )
    records.agreement(
        rows, recorded, records.path_of(name), checked=experiment.checked, remedy=remedy(name)
    )
    return recorded


def share() -> tuple[int, int]:
    """Return this process's number and how many there are, as torchrun and SLURM say it."""
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def chosen(names: Sequence[str] = ()) -> list[Experiment]:
    """Return the experiments of these names, by default all.

    Raises `ValueError` for an unknown name.
    """
    for name in names:
        if name not in EXPERIMENTS:
            there = ", ".join(EXPERIMENTS)
            raise ValueError(f"unknown table {name!r}; there are {there}")
    return [EXPERIMENTS[name] for name in names or EXPERIMENTS]


def make(names: Sequence[str] = (), *, models: str = "miniature", device: str = "cpu") -> None:
    """Make these tables, by default all: what is recorded or kept is not computed again.

    One of several processes (see `share`) computes its share of the edits and writes no table; a
    last call by itself then finds them all.

    Raises `ValueError` for an unknown name, before anything is loaded.
    """
    wanted = chosen(names)
    rank, world = share()
    loaded = load(models, device=device)
    features = load_features(models, device=device) if world == 1 else None
    for experiment in wanted:
        name = experiment.name
        items = book_items(loaded) if experiment.items is None else experiment.items()
        job = Job(loaded, features, items[rank::world], items, range(experiment.seeds))
        cells = experiment.cells(experiment.steps)
        if world > 1:  # what runs no editor leaves nothing to keep
            cells = [cell for cell in cells if cell.method]
        rows = experiment.rows(job, cells, records.recorded(name), progress=True)
        if world == 1:
            records.write(records.path_of(name), rows)
            print(f"{records.path_of(name)}: {len(rows)} rows", flush=True)
