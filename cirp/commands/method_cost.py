"""What an edit costs by each method, relative to the baseline: UNet rows, time, peak memory.

cirp cost methods [--device cuda] [--steps 20] [--repeats 5]

One edit at a time. Times are medians of runs in turn within one process, each divided by the
baseline's of the same turn; peak memory is what the tensors of a run take at once, beside the
loaded models. It does not grow with steps, so it is measured over a few. Writes
data/results/costs.csv.
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
OUT = RESULTS / "costs.csv"


def prepared(device: str) -> tuple[Models, Task]:
    """Return the miniature and its first edit."""
    with quiet():
        models = load("miniature", device=device)
    (item, *_) = cache.fitted(load_edits(EDITS)[:1], models)
    return models, cache.task(item, 0)


def once(models: Models, task: Task, label: str, steps: int, device: str) -> tuple[float, Edit]:
    """Seconds of one edit, and the edit."""
    method, settings = configurations.found(steps)[label]
    began = time.perf_counter()
    (made,) = METHODS[method](models, [task], progress=False, **settings)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, made


def main(
    steps: int = configurations.STEPS, repeats: int = 5, device: str = "cpu", out: Path = OUT
) -> None:
    """Measure and print every contender."""
    models, task = prepared(device)
    labels = list(configurations.found(steps))
    seconds: dict[str, list[float]] = {label: [] for label in labels}
    made: dict[str, Edit] = {}
    for turn in range(repeats + 1):
        for label in labels:
            taken, made[label] = once(models, task, label, steps, device)
            if turn:  # the first turn warms up
                seconds[label].append(taken)
    base = seconds[configurations.BASELINE]
    added = {
        label: memory.peak(lambda label=label: once(models, task, label, FEW, device), device)
        for label in labels
    }
    rows = [
        {
            "method": label,
            "unet_calls": made[label].unet_calls,
            "unet_calls_over_baseline": (
                made[label].unet_calls / made[configurations.BASELINE].unet_calls
            ),
            "seconds": statistics.median(seconds[label]),
            "time_over_baseline": statistics.median(
                own / plain for own, plain in zip(seconds[label], base, strict=True)
            ),
            "peak_mib": added[label] / 2**20,
            "memory_over_baseline": added[label] / added[configurations.BASELINE],
            "repeats": repeats,
            "device": device,
            **records.provenance(
                models,
                settings=configurations.found(steps)[label][1],
                seed=task.seed,
                code=f"cost 1 of {METHODS[configurations.found(steps)[label][0]].code}",
            ),
        }  # fmt: skip
        for label in labels
    ]
    table = pd.DataFrame(rows)
    table = records.write(out, table, digits=5)
    print(table.drop(columns=list(records.PROVENANCE)).round(3).to_string(index=False))
