"""Measure edits a second, ours beside the loop of stock diffusers, in batches, on one thread.

cirp cost throughput [--device cuda] [--steps 10] [--repeats 3]

The miniature's InstructPix2Pix. Rates are medians of runs in turn within one process, each divided
by the stock loop's of the same batch and turn. Writes data/results/throughput.csv.
"""

import statistics
import time
from pathlib import Path

import pandas as pd
import torch

from cirp.attention.control import controlled
from cirp.attention.record import Record
from cirp.commands.method_cost import in_turn, prepared
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task
from cirp.experiments import configurations, records
from cirp.methods import METHODS
from cirp.paths import RESULTS

BATCHES = (1, 4, 8, 16)
STOCK, OURS, RECORDING = "stock diffusers", "ours", "ours, attention recorded"
OUT = RESULTS / "throughput.csv"


def once(models: Models, tasks: list[Task], way: str, steps: int) -> float:
    """Return the edits a second of one batch."""
    method, settings = configurations.automatic(steps)[configurations.BASELINE]
    pipe = models.instruct
    began = time.perf_counter()
    if way == STOCK:
        pipe(
            [task.instruction for task in tasks], image=[task.image for task in tasks],
            num_inference_steps=steps, guidance_scale=settings["text_scale"],
            image_guidance_scale=settings["image_scale"],
            generator=[torch.Generator().manual_seed(i) for i in range(len(tasks))],
        )  # fmt: skip
    else:
        controls = (Record(),) if way == RECORDING else ()
        with controlled(pipe.unet, *controls):
            METHODS[method](models, tasks, batch_size=len(tasks), progress=False, **settings)
    if pipe.device.type == "cuda":
        torch.cuda.synchronize()
    return len(tasks) / (time.perf_counter() - began)


def main(steps: int = 10, repeats: int = 3, device: str = "cpu", out: Path = OUT) -> None:
    """Measure and print every way in every batch."""
    torch.set_num_threads(1)
    models, tasks = prepared(device, max(BATCHES))
    ways = (STOCK, OURS, RECORDING)
    rows = []
    for batch in BATCHES:
        some = tasks[:batch]
        rates = in_turn(ways, lambda way, some=some: once(models, some, way, steps), repeats)
        rows += [
            {"way": way, "batch": batch, "edits_a_second": statistics.median(rates[way]),
             "over_stock": statistics.median(
                 own / stock for own, stock in zip(rates[way], rates[STOCK], strict=True)),
             "steps": steps, "repeats": repeats, "device": device}
            for way in ways
        ]  # fmt: skip
    table = pd.DataFrame(rows).assign(
        **records.provenance(models, settings={"steps": steps}, seed=0, code="throughput 1")
    )
    table = records.write(out, table, digits=5)
    print(table.drop(columns=list(records.PROVENANCE)).round(3).to_string(index=False))
