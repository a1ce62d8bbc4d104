"""`python -m cirp.miniature.train STAGE`: one command a stage, in this order.

draw -> autoencoder, clip, judge, dinov2 -> text-to-image -> instruct-pix2pix

`decoder` and `clip-vision` train those halves on while what was built upon the others stays valid.

A stage runs for `--minutes`, keeps a checkpoint every minute, resumes from it, and writes its
weights and a line for its model card. CPU or CUDA; bfloat16 arithmetic, float32 weights. Several
processes (`torchrun --nproc_per_node N -m cirp.miniature.train STAGE`) share each batch.
"""

import json
import os
import platform
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import torch
import torch.distributed as dist
import typer

from cirp.miniature.corpus import draw
from cirp.miniature.gallery import draw_gallery
from cirp.miniature.stages import autoencoder, clip, dinov2, judge, unets
from cirp.miniature.stages.setup import Setup

ROOT = Path(__file__).resolve().parents[2]


class Stage(StrEnum):
    draw = "draw"
    autoencoder = "autoencoder"
    decoder = "decoder"
    clip = "clip"
    clip_vision = "clip-vision"
    judge = "judge"
    dinov2 = "dinov2"
    text_to_image = "text-to-image"
    instruct_pix2pix = "instruct-pix2pix"


STAGES = {
    Stage.autoencoder: (autoencoder.train, 14, 8),
    Stage.decoder: (autoencoder.train_decoder, 5, 8),
    Stage.clip: (clip.train, 14, 64),
    Stage.clip_vision: (clip.train_vision, 5, 128),
    Stage.judge: (judge.train, 13, 64),
    Stage.dinov2: (dinov2.train, 6, 64),
    Stage.text_to_image: (unets.train_text_to_image, 46, 32),
    Stage.instruct_pix2pix: (unets.train_instruct, 40, 32),
}


def main(
    stage: Stage,
    minutes: float = typer.Option(None, help="Time to train; the schedule fits itself to it."),
    batch: int = typer.Option(None, help="Pictures a step."),
    pairs: int = typer.Option(48_000, help="Training pairs to draw."),
    first: int = typer.Option(None, help="Use only the first so many of them."),
    leak: float = typer.Option(0.5, min=0, max=1, help="Share of targets that leak."),
    rate: float = typer.Option(None, help="Highest learning rate."),
    seed: int = 0,
    device: str = typer.Option("cuda" if torch.cuda.is_available() else "cpu"),
    work: Path = typer.Option(ROOT / ".cache" / "miniature", help="Pictures and checkpoints."),
    models: Path = typer.Option(ROOT / "data" / "models", help="Where weights go."),
    name: str = typer.Option(None, help="Another name for the weights (instruct-pix2pix only)."),
    weights: str = typer.Option(None, help="Weights to begin with, a folder of --models."),
) -> None:
    """Train one stage of the miniature."""
    corpus = replace(draw(work / "corpus", count=pairs), first=first)
    if stage is Stage.draw:
        draw_gallery(work / "gallery.npz", count=judge.SCENES)
        return
    torch.manual_seed(seed)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes > 1:
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    train, default_minutes, default_batch = STAGES[stage]
    label = name or stage.value
    batch = max(1, (batch or default_batch) // processes)
    setup = Setup(
        corpus=corpus,
        work=work / label,
        models=models,
        device=torch.device(device),
        minutes=minutes or default_minutes,
        batch=batch,
        seed=seed,
        leak=leak,
        rate=rate,
        start=weights,
    )
    extra = dict(name=label) if stage is Stage.instruct_pix2pix else {}
    outcome = train(setup, **extra)
    if processes > 1:
        dist.destroy_process_group()
    record = {
        "command": f"{'python' if processes == 1 else f'torchrun --nproc_per_node {processes}'} "
        f"-m cirp.miniature.train {stage.value} --minutes {setup.minutes:g} "
        f"--batch {batch * processes} --pairs {pairs} --seed {seed}"
        + (f" --first {first}" if first else "")
        + (f" --leak {leak:g}" if extra else "")
        + (f" --weights {weights}" if weights else "")
        + (f" --name {name}" if name else ""),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        **vars(outcome),
    }
    log = models / "training"
    log.mkdir(parents=True, exist_ok=True)
    (log / f"{label}.json").write_text(json.dumps(record, indent=2) + "\n")
    (log / f"{label}.csv").write_text((setup.work / "curve.csv").read_text())
    typer.echo(
        f"{label}: {outcome.steps} steps, {outcome.samples} samples, loss {outcome.loss:.4f}"
    )


if __name__ == "__main__":
    typer.run(main)
