"""Edits on several workers: the same table whatever dies; what fails is said, the rest is kept."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cirp.data.edits import load_edits
from cirp.experiments import cache, workers
from cirp.experiments.engine import Cell, Experiment, Job, scores
from cirp.metrics.features import load_features
from cirp.paths import EDITS

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

COLUMNS = ("id", "method", "success", "l1_source", "clip_i_source", "unet_calls")
SCALES = (2.5, 5.0, 7.5)


def few():
    """A few of the book's edits."""
    return load_edits(EDITS)[:4]


def some(steps):
    """Cells that take a second each."""
    return [Cell(f"text {t:g}", "ip2p", dict(steps=steps, text_scale=t)) for t in SCALES]


SMALL = Experiment("small", some, few, steps=2, columns=COLUMNS)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty cache, here and in the workers; what tests define travels by value."""
    monkeypatch.setenv("CIRP_CACHE", str(tmp_path))
    monkeypatch.setattr(workers, "_items", {})
    torch.set_num_threads(1)  # as in a worker: rounding depends on it
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with cache.kept_in(tmp_path / "runs"):
        yield tmp_path / "runs"
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def finished(folder: Path) -> dict[str, float]:
    """The cells that are there, and when each was written; no half of one is."""
    assert not list(folder.glob("*.tmp"))
    found = [one for one in folder.iterdir() if one.is_dir()] if folder.exists() else []
    assert all(cache.load(one) is not None for one in found)
    return {one.name: (one / "meta.json").stat().st_mtime for one in found}


def table(experiment: Experiment) -> bytes:
    """The table as one process makes it, of what is kept."""
    known = workers.loaded("miniature", "cpu")
    items = cache.fitted(experiment.items(), known)
    job = Job(known, load_features("miniature"), items, items, range(experiment.seeds))
    rows = experiment.rows(job, list(experiment.cells(experiment.steps)))
    return rows.to_csv(index=False).encode()


def test_the_table_of_two_workers_is_that_of_one_process_and_is_computed_once(kept, tmp_path):
    assert workers.fill([SMALL], 2) == []
    there = finished(kept)
    assert len(there) == len(SCALES) * len(few())
    assert workers.fill([SMALL], 2) == [] and finished(kept) == there
    by_workers = table(SMALL)
    assert finished(kept).items() >= there.items()  # but for round trips nothing was computed
    with cache.kept_in(tmp_path / "alone"):
        assert table(SMALL) == by_workers


def bad(steps):
    """One of the cells cannot be run."""
    return [*some(steps), Cell("impossible", "ip2p", dict(steps=steps, text_scale=-1.0))]


def test_a_cell_that_raises_is_in_the_journal_and_the_others_finish(kept, tmp_path):
    (failure,) = workers.fill([replace(SMALL, cells=bad)], 2)
    assert "impossible" in str(failure) and "text_scale" in str(failure)
    assert "\n" not in str(failure)
    assert len(finished(kept)) == len(SCALES) * len(few())
    (line,) = (tmp_path / workers.JOURNAL).read_text().splitlines()
    assert json.loads(line)["ids"] == [item.id for item in few()]
    assert workers.fill([SMALL], 2) == [] and not (tmp_path / workers.JOURNAL).exists()


def killed_once(job, cell):
    """Compute one of the edits; the first worker that comes here then dies in the cell."""
    marker = Path(os.environ["CIRP_CACHE"]) / f"killed {cell.label}"
    if not marker.exists():
        scores(replace(job, items=job.items[:1]), cell)
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return scores(job, cell)


def test_a_worker_that_is_killed_in_a_cell_loses_nothing_that_was_finished(kept, tmp_path):
    assert workers.fill([replace(SMALL, measure=killed_once)], 2) == []
    assert len(list(tmp_path.glob("killed *"))) == len(SCALES)
    there = finished(kept)
    assert len(there) == len(SCALES) * len(few())
    for label in (cell.label for cell in some(2)):
        died = (tmp_path / f"killed {label}").stat().st_mtime
        assert sum(written <= died for written in there.values()) >= 1


def test_a_node_that_is_removed_is_done_without(kept, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        marker = threading.Thread(
            target=lambda: (_wait(kept), cluster.remove_node(nodes[0])), daemon=True
        )
        marker.start()
        assert workers.fill([SMALL], 2, address=cluster.address) == []
        marker.join(30)
    finally:
        cluster.shutdown()
    _sweep(kept)
    assert len(finished(kept)) == len(SCALES) * len(few())


def _sweep(folder: Path) -> None:
    """Remove the half of a cell that was being written when its writer was killed."""
    for half in folder.glob("*.tmp"):
        shutil.rmtree(half)


def _wait(folder: Path) -> None:
    while not (folder.exists() and any(folder.iterdir())):
        time.sleep(0.05)


def many(folder: str) -> None:
    """Compute and keep many small cells, in a process of its own."""
    known = workers.loaded("miniature", "cpu")
    job = Job(known, None, cache.fitted(few(), known))
    with cache.kept_in(folder):
        for scale in range(1, 16):
            scores(job, Cell("x", "ip2p", dict(steps=2, text_scale=scale / 4)))


def process(folder: Path) -> multiprocessing.Process:
    """Start `many` in a process that has nothing to import any more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    made = context.Process(target=many, args=(str(folder),))
    made.start()
    return made


def test_twenty_kills_lose_no_finished_cell(tmp_path):
    rng, folder, before, reached = np.random.default_rng(0), tmp_path / "runs", {}, []
    for _ in range(20):
        one = process(folder)
        one.join(rng.uniform(1, 4))
        one.kill()
        one.join()
        _sweep(folder)
        now = finished(folder)
        assert before.items() <= now.items()
        before = now
        reached.append(len(now))
    assert reached[-1] > reached[4] or reached[-1] == 15 * len(few())
    last = process(folder)
    last.join()
    there = finished(folder)
    assert last.exitcode == 0 and len(there) == 15 * len(few())
    assert before.items() <= there.items()


def test_two_processes_share_a_cache(tmp_path):
    both = [process(tmp_path / "runs") for _ in range(2)]
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    assert len(finished(tmp_path / "runs")) == 15 * len(few())
