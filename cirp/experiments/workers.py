"""Ray computes the edits of tables on several workers, on one machine or many.

Each worker is a process that loads the models once. What it finishes is kept (`experiments.cache`),
so a batch may be tried again, a worker may die, and the same command goes on where it stopped. The
tables themselves are made afterwards, of what is kept. Ray has no authentication of its own: use
`address` in a network that you trust.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache as cached

import pandas as pd
from tqdm import tqdm

from cirp import paths
from cirp.diffusion.pipelines import Models, load, quiet
from cirp.experiments import records
from cirp.experiments.engine import AT_ONCE, Cell, Experiment, Job
from cirp.experiments.study import book_items

JOURNAL = "failed.jsonl"  # in the cache: what failed in the last run
TRIES = 3  # more, of a batch whose worker died


@dataclass(frozen=True)
class Batch:
    """Some edits of one cell of one table."""

    experiment: Experiment
    cell: int  # its place among the experiment's cells
    label: str
    ids: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Failure:
    """A batch that could not be computed, and why."""

    batch: Batch
    error: str

    def __str__(self) -> str:
        one = self.batch
        return f"{one.experiment.name}, {one.label}, {one.ids[0]} to {one.ids[-1]}: {self.error}"

    def line(self) -> str:
        """Return the failure as a line of JSON, for the journal."""
        one = self.batch
        facts = dict(table=one.experiment.name, label=one.label, ids=one.ids, seed=one.seed)
        return json.dumps(facts | {"error": self.error})


@cached
def loaded(models: str, device: str) -> Models:
    """Return the models of this process."""
    with quiet():
        return load(models, device=device)


_items: dict[str, Sequence] = {}  # of each table, all; loaded once a process


def items_of(experiment: Experiment, known: Models) -> Sequence:
    """Return all items of a table."""
    if experiment.name not in _items:
        items = book_items(known) if experiment.items is None else experiment.items()
        _items[experiment.name] = items
    return _items[experiment.name]


def compute(batch: Batch, models: str, device: str) -> str:
    """Compute and keep the edits of a batch; return what went wrong, else "". Runs in a worker."""
    try:
        experiment, known = batch.experiment, loaded(models, device)
        everything = items_of(experiment, known)
        chosen = [item for item in everything if item.id in batch.ids]
        job = Job(known, None, chosen, everything, (batch.seed,))
        experiment.rows(job, [list(experiment.cells(experiment.steps))[batch.cell]])
    except Exception as error:  # a value, so that it is not tried again
        return f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
    return ""


def missing(experiment: Experiment, known: Models) -> list[Batch]:
    """Return the batches that a table's recorded rows lack, cut as one process cuts them."""
    items = items_of(experiment, known)
    cells = list(experiment.cells(experiment.steps))
    lacking: list[Cell] = []

    def note(_: Job, cell: Cell) -> pd.DataFrame:
        lacking.append(cell)
        return pd.DataFrame()

    seeds = tuple(range(experiment.seeds))
    job = Job(known, None, items, items, seeds)
    noting = replace(experiment, measure=note)
    noting.rows(job, [cell for cell in cells if cell.method], records.recorded(experiment.name))
    found = []
    for cell in lacking:
        ids = tuple(item.id for item in cell.items(items))
        found += [
            Batch(experiment, cells.index(cell), cell.label, ids[at : at + AT_ONCE], seed)
            for seed in seeds
            for at in range(0, len(ids), AT_ONCE)
        ]
    return found


def fill(
    tables: Sequence[Experiment],
    count: int,
    *,
    address: str | None = None,
    models: str = "miniature",
    device: str = "cpu",
) -> list[Failure]:
    """Compute and keep all edits that the tables lack, on so many workers; return what failed.

    Without an `address` the workers are processes of this machine. Failures are also written to
    `failed.jsonl` in the cache; the same call tries them again.
    """
    import ray

    known = loaded(models, device)
    batches = [batch for experiment in tables for batch in missing(experiment, known)]
    failures = _run(ray, batches, count, address, models, device) if batches else []
    journal = paths.cache() / JOURNAL
    journal.unlink(missing_ok=True)
    if failures:
        with paths.replacing(journal) as half:
            text = "".join(f"{one.line()}\n" for one in failures)
            half.write_text(text, encoding="utf-8")
    return failures


def _run(ray, batches, count, address, models, device) -> list[Failure]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own = {"num_cpus": count, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    environment = {"OMP_NUM_THREADS": "1"}  # a worker is one processor's
    if "CIRP_CACHE" in os.environ:
        environment["CIRP_CACHE"] = os.environ["CIRP_CACHE"]
    here = not ray.is_initialized()
    if here:
        ray.init(
            **({"address": address} if address else own),
            log_to_driver=False,
            runtime_env={"env_vars": environment},
        )
    # max_calls=0: a worker process stays, and with it the models that it has loaded
    task = ray.remote(num_cpus=1, num_gpus=int(device == "cuda"), max_retries=TRIES, max_calls=0)(
        compute
    )
    waiting, running, failures = iter(batches), {}, []
    try:
        with tqdm(total=len(batches), unit="batch") as bar:
            while True:
                while len(running) < count and (batch := next(waiting, None)) is not None:
                    running[task.remote(batch, models, device)] = batch
                if not running:
                    return failures
                (done, *_), _ = ray.wait(list(running))
                batch = running.pop(done)
                try:
                    error = ray.get(done)
                except ray.exceptions.RayError as dead:
                    error = f"given up after {TRIES + 1} tries: {type(dead).__name__}"
                if error:
                    failures.append(Failure(batch, error))
                bar.update()
    finally:
        if here:
            ray.shutdown()
