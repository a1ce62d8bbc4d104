"""What recording attention costs on today's editors at 1024 x 1024, with random weights.

cirp cost editors [--device cuda] [--steps 2]

DreamLite's UNet at its full size, and one double block of FLUX.1 Kontext at its full width on
8,704 tokens (512 of text, 4,096 of the picture, 4,096 of the source). Time and memory do not depend
on the weights. Peak memory is what the tensors of one run take at once, the weights not among them.
Writes data/results/editors_cost.csv.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import torch
from diffusers import DreamLiteUNetModel, FluxTransformer2DModel
from torch import nn

from cirp.attention.joint import JointRecord, watching
from cirp.attention.record import Mean
from cirp.experiments import memory, records
from cirp.paths import RESULTS

CELLS, TEXT = 64, 512  # tokens of a side of the picture, and of Kontext's text
WORDS = 330  # tokens of DreamLite's text, 256 of them the source's as its language model sees it
WAYS = ("stock", "recorded")
OUT = RESULTS / "editors_cost.csv"


def dreamlite(device: str) -> tuple[nn.Module, Callable[[int], object], JointRecord]:
    """Return the UNet, a run of one edit's three rows, and what records that with the text."""
    unet = DreamLiteUNetModel(
        sample_size=128, addition_embed_type="time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=512,
    ).eval().to(device)  # fmt: skip
    x = torch.randn(3, 4, 128, 256, device=device)
    text = torch.randn(3, WORDS, 2048, device=device)
    mask = torch.ones(3, WORDS, dtype=torch.long, device=device)
    sizes = torch.full((3, 2), 1024.0, device=device)

    def run(steps: int) -> None:
        for _ in range(steps):
            unet(
                x, torch.full((3,), 999.0, device=device), encoder_hidden_states=text,
                encoder_attention_mask=mask, added_cond_kwargs={"time_ids": sizes},
            )  # fmt: skip

    return unet, run, JointRecord(texts=[text[-1]])


def kontext(device: str) -> tuple[nn.Module, Callable[[int], object], JointRecord]:
    """Return a double block, a run on picture and source, what records it."""
    model = FluxTransformer2DModel(num_layers=1, num_single_layers=0, guidance_embeds=True)
    model = model.eval().to(device)
    cells = CELLS * CELLS
    places = torch.arange(2 * cells, device=device)
    ids = torch.stack([places // cells, places // CELLS % CELLS, places % CELLS], dim=1).float()
    given = dict(
        hidden_states=torch.randn(1, 2 * cells, 64, device=device),
        encoder_hidden_states=torch.randn(1, TEXT, 4096, device=device),
        pooled_projections=torch.randn(1, 768, device=device), img_ids=ids,
        txt_ids=torch.zeros(TEXT, 3, device=device), timestep=torch.ones(1, device=device),
        guidance=torch.ones(1, device=device),
    )  # fmt: skip

    def run(steps: int) -> None:
        for _ in range(steps):
            model(**given)

    return model, run, JointRecord(cells=cells)


EDITORS = {
    "DreamLite's UNet": dreamlite,
    "Kontext, one double block": kontext,
}


@torch.no_grad()
def measured(name: str, way: str, steps: int, device: str) -> dict[str, object]:
    """Return seconds a step, and the peak, of one editor run one way."""
    torch.manual_seed(0)
    model, run, record = EDITORS[name](device)
    sums = defaultdict(Mean)
    record.see = lambda call: sums[call.layer].add(call.image_to_text.mean(dim=1))
    with watching(model, record) if way == "recorded" else nullcontext():
        began = time.perf_counter()
        peak = memory.peak(lambda: run(steps), device)  # of so long a run profiling is no share
        if device != "cpu":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - began) / steps
    weights = sum(one.numel() for one in model.parameters())
    return {
        "editor": name, "way": way, "seconds_a_step": seconds, "peak_gib": peak / 2**30,
        "parameters": weights / 1e9,
    }  # fmt: skip


def main(steps: int = 2, repeats: int = 1, device: str = "cpu", out: Path = OUT) -> None:
    """Measure and print: each editor, its attention recorded or not."""
    rows = []
    for name in EDITORS:
        for way in WAYS:
            rows.append(measured(name, way, steps, device))
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).assign(
        steps=steps, repeats=repeats, device=records.device_of(device),
        processor=records.processor(), versions=records.versions(), instruments="", settings="{}",
        seed=0, weights="random", scheduler="", item="", code="editors cost 1",
    )  # fmt: skip
    records.write(out, table, digits=5)
