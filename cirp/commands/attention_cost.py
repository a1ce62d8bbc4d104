"""What recording costs on a UNet of Stable Diffusion 1.5's size, beside daam's own trace.

cirp cost attention [--device cuda] [--steps 2] [--repeats 5]

Random weights (time and memory do not depend on them), 64 x 64 latents, classifier-free guidance.
Times are medians of paired runs within one process, in turn; peak memory is what the tensors of one
run take at once. Writes data/results/attention_cost.csv.
"""

import statistics
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pandas as pd
import torch
from daam.trace import trace
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from cirp.attention.control import controlled
from cirp.attention.record import Record
from cirp.diffusion.pipelines import quiet
from cirp.experiments import memory, records
from cirp.paths import MODELS, RESULTS

PROMPT = "an axolotl holding a strawberry on a trampoline"
WAYS = ("stock", "recorded", "recorded, prompt's tokens", "daam")


def pipeline(device: str) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5's UNet; small other parts, which have no share in what is measured."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(MODELS / "text-to-image" / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        intermediate_size=768,
        num_hidden_layers=1,
        num_attention_heads=12,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(cross_attention_dim=768, sample_size=64),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


@contextmanager
def watched(pipe: StableDiffusionPipeline, way: str):
    """Return what the run is done within; gives the number of bytes kept afterwards."""
    ids = pipe.tokenizer(PROMPT).input_ids
    record = Record(tokens=len(ids) if "tokens" in way else None)
    with tempfile.TemporaryDirectory() as folder:
        around = {
            "stock": nullcontext,
            "daam": lambda: trace(pipe, data_dir=Path(folder)),
        }.get(way, lambda: controlled(pipe.unet, record))
        with around():
            yield lambda: record.nbytes if way.startswith("recorded") else 0


def once(pipe: StableDiffusionPipeline, way: str, steps: int) -> tuple[float, int]:
    """Seconds of one run, and the bytes that its maps take."""
    with watched(pipe, way) as kept:
        began = time.perf_counter()
        pipe(PROMPT, num_inference_steps=steps, output_type="latent")
        if pipe.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began, kept()


def main(
    steps: int = 2,
    repeats: int = 5,
    device: str = "cpu",
    out: Path = RESULTS / "attention_cost.csv",
) -> None:
    """Measure and print: stock, recorded by us, traced by daam."""
    with quiet():
        pipe = pipeline(device)
    for way in WAYS:
        once(pipe, way, 1)  # warm
    seconds = {way: [] for way in WAYS}
    kept = 0
    for repeat in range(repeats):
        for way in WAYS[repeat % 4 :] + WAYS[: repeat % 4]:  # nobody always goes first
            found, size = once(pipe, way, steps)
            seconds[way].append(found)
            kept = max(kept, size)
    _, longer = once(pipe, "recorded", 2 * steps)
    ratio = {
        way: statistics.median(a / b for a, b in zip(seconds[way], seconds["stock"], strict=True))
        for way in WAYS
    }
    most = {way: memory.peak(lambda way=way: once(pipe, way, steps), device) for way in WAYS}
    table = pd.DataFrame(
        {
            "way": WAYS,
            "seconds": [statistics.median(seconds[way]) for way in WAYS],
            "time_over_stock": [ratio[way] for way in WAYS],
            "extra_peak_mib": [(most[way] - most["stock"]) / 2**20 for way in WAYS],
            "steps": steps,
            "repeats": repeats,
            "device": records.device_of(device),
            "processor": records.processor(),
            "versions": records.versions(),
            "instruments": "",
            "settings": "{}",
            "seed": 0,
            "weights": "random",
            "scheduler": type(pipe.scheduler).__name__,
            "item": PROMPT,
            "code": "attention cost 1",
        }
    )
    table = records.write(out, table, digits=5)
    print(table.round(3).to_string(index=False))
    print(f"maps kept after {steps} steps: {kept} bytes; after {2 * steps}: {longer}")
