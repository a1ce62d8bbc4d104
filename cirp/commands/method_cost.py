"""What an edit costs by each method, relative to the baseline: UNet rows, time, peak memory.

cirp cost methods [--device cuda] [--steps 20] [--repeats 5]

One edit at a time; of the baseline, Watch Your Steps and remap also eight in a batch. Times are
medians of runs in turn within one process, each divided by the baseline's of the same turn; peak
memory is what the tensors of a run take at once, beside the loaded models. It does not grow with
steps, so it is measured over a few. Writes data/results/costs.csv.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch

from cirp.data.edits import load_edits
from cirp.diffusion.pipelines import Models, load, quiet
from cirp.diffusion.tasks import Edit, Task
from cirp.experiments import cache, configurations, memory, records
from cirp.methods import METHODS
from cirp.paths import EDITS, RESULTS

FEW = 6  # steps
BATCHES = (1, 8)
IN_BATCHES = (configurations.BASELINE, "Watch Your Steps", configurations.OURS)
OUT = RESULTS / "costs.csv"
Result = TypeVar("Result")


def prepared(device: str, count: int) -> tuple[Models, list[Task]]:
    """Return the miniature and so many of the book's edits, as tasks."""
    with quiet():
        models = load("miniature", device=device)
    items = cache.fitted(load_edits(EDITS)[:count], models)
    return models, [cache.task(item, 0) for item in items]


def in_turn(
    labels: Iterable[str], run: Callable[[str], Result], repeats: int
) -> dict[str, list[Result]]:
    """Return what `run` gives for each label, one after the other, `repeats` times.

    A first turn, which warms up, is left out.
    """
    found: dict[str, list[Result]] = {label: [] for label in labels}
    for turn in range(repeats + 1):
        for label, results in found.items():
            result = run(label)
            if turn:
                results.append(result)
    return found


def once(
    models: Models, tasks: list[Task], label: str, steps: int, device: str
) -> tuple[float, Edit]:
    """Return the seconds that an edit of the batch took, and the first edit."""
    method, settings = configurations.automatic(steps)[label]
    began = time.perf_counter()
    made = METHODS[method](models, tasks, batch_size=len(tasks), progress=False, **settings)
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / len(tasks), made[0]


def main(
    steps: int = configurations.STEPS, repeats: int = 5, device: str = "cpu", out: Path = OUT
) -> None:
    """Measure and print every contender."""
    models, tasks = prepared(device, max(BATCHES))
    rows = [
        row for batch in BATCHES for row in measured(models, tasks[:batch], steps, repeats, device)
    ]
    table = records.write(out, pd.DataFrame(rows), digits=5)
    print(table.drop(columns=list(records.PROVENANCE)).round(3).to_string(index=False))


def measured(
    models: Models, tasks: list[Task], steps: int, repeats: int, device: str
) -> list[dict[str, object]]:
    """Return a row for each method: what an edit costs in a batch of these tasks."""
    found = configurations.automatic(steps)
    if len(tasks) > 1:
        found = {label: found[label] for label in IN_BATCHES}
    runs = in_turn(found, lambda label: once(models, tasks, label, steps, device), repeats)
    seconds = {label: [taken for taken, _ in some] for label, some in runs.items()}
    made = {label: some[-1][1] for label, some in runs.items()}
    base = configurations.BASELINE
    added = {
        label: memory.peak(lambda label=label: once(models, tasks, label, FEW, device), device)
        for label in found
    }
    return [
        {
            "method": label,
            "batch": len(tasks),
            "unet_calls": made[label].unet_calls,
            "unet_calls_over_baseline": made[label].unet_calls / made[base].unet_calls,
            "seconds": statistics.median(seconds[label]),
            "time_over_baseline": statistics.median(
                own / plain for own, plain in zip(seconds[label], seconds[base], strict=True)
            ),
            "peak_mib": added[label] / 2**20,
            "memory_over_baseline": added[label] / added[base],
            "repeats": repeats,
            "device": device,
            **records.provenance(
                models,
                settings=settings,
                seed=tasks[0].seed,
                code=f"cost 2 of {METHODS[method].code}",
            ),
        }
        for label, (method, settings) in found.items()
    ]
