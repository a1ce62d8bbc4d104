"""What an edit costs by each method, relative to the baseline: UNet rows, time, peak memory.

cirp cost methods [--device cuda] [--steps 20] [--repeats 5]

One edit at a time; of the baseline, Watch Your Steps and remap also eight in a batch. Times are
medians of runs in turn within one process, each divided by the baseline's of the same turn; peak
memory is what the tensors of a run take at once, beside the loaded models. It does not grow with
steps, so it is measured over a few. Writes data/results/costs.csv.
"""

import statistics
import time
from pathlib import Path

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


def prepared(device: str, count: int) -> tuple[Models, list[Task]]:
    """Return the miniature and a batch of its edits; the ten of them again where more are asked."""
    with quiet():
        models = load("miniature", device=device)
    items = cache.fitted(load_edits(EDITS), models)
    return models, [cache.task(items[i % len(items)], i // len(items)) for i in range(count)]


def once(
    models: Models, tasks: list[Task], label: str, steps: int, device: str
) -> tuple[float, Edit]:
    """Seconds an edit of a batch, and the first of them."""
    method, settings = configurations.found(steps)[label]
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
    """Return a row a method: what an edit of such a batch costs."""
    found = configurations.found(steps)
    if len(tasks) > 1:
        found = {label: found[label] for label in IN_BATCHES}
    seconds: dict[str, list[float]] = {label: [] for label in found}
    made: dict[str, Edit] = {}
    for turn in range(repeats + 1):
        for label in found:
            taken, made[label] = once(models, tasks, label, steps, device)
            if turn:  # the first turn warms up
                seconds[label].append(taken)
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
