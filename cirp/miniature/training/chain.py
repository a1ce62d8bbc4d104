"""The stages of the miniature in order; each goes on from where it was stopped.

    python -m cirp.cli miniature train            all of them, one after the other
    python -m cirp.cli miniature train STAGE      one of them, in this process

Pictures, checkpoints and curves lie in `--work`, finished weights go to `--models`.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from cirp.miniature.corpus import draw
from cirp.miniature.training.objective import processes
from cirp.miniature.training.schedule import Limit, Stopped
from cirp.miniature.training.setup import Setup
from cirp.miniature.training.speed import REHEARSAL, Way, fastest
from cirp.miniature.training.stages import autoencoder, clip, dinov2, judge, unets

LEAST = 256  # samples and pairs of a stage in a trial
WORK = Path.home() / ".cache" / "cirp" / "miniature"


@dataclass(frozen=True)
class Effort:
    """How much a stage sees, and how fast it learns; a rate of None is the stage's own."""

    samples: int
    batch: int  # of all processes together
    rate: float | None = None


@dataclass(frozen=True)
class Stage:
    """One model's training: what it runs, on which pairs, and how much where."""

    train: object
    cpu: Effort  # two cores: ten hours for all
    gpu: Effort  # one card: half an hour for all
    corpus: str | None = "pairs"  # None: it draws scenes of its own

    def effort(self, device: str) -> Effort:
        """Return what is worth while on this device."""
        return self.cpu if device == "cpu" else self.gpu


CORPORA = {  # how much is drawn for a training on a CPU, on a GPU
    "pictures": (24_000, 24_000),
    "pairs": (60_000, 120_000),
    None: (40_000, 50_000),
}
STAGES = {
    "autoencoder": Stage(
        autoencoder.train, Effort(240_000, 8), Effort(1_500_000, 96, 2e-3), "pictures"
    ),
    "decoder": Stage(
        autoencoder.train_decoder, Effort(120_000, 8), Effort(600_000, 96), "pictures"
    ),
    "clip": Stage(clip.train, Effort(400_000, 128), Effort(800_000, 256)),
    "joint": Stage(unets.train_joint, Effort(1_500_000, 32), Effort(9_000_000, 256, 1e-3)),
    "judge": Stage(judge.train, Effort(400_000, 64), Effort(1_000_000, 128), None),
    "text-to-image": Stage(
        unets.train_text_to_image, Effort(80_000, 32), Effort(400_000, 256, 5e-4)
    ),
    "instruct-pix2pix": Stage(unets.train_instruct, Effort(80_000, 32), Effort(400_000, 256, 5e-4)),
    "dinov2": Stage(dinov2.train, Effort(400_000, 64), Effort(1_000_000, 128), None),
}
# The same start, equal samples: the share of leaking pairs, or the seed, is all that differs.
VARIANTS = {
    "instruct-pix2pix-leak-0": ("--leak", "0"),
    "instruct-pix2pix-leak-1": ("--leak", "1"),
    "instruct-pix2pix-seed-1": ("--seed", "1"),
    "instruct-pix2pix-leak-0-seed-1": ("--leak", "0", "--seed", "1"),
    "instruct-pix2pix-leak-1-seed-1": ("--leak", "1", "--seed", "1"),
}


def main(
    stage: str | None = None, samples: int | None = None, batch: int | None = None,
    rate: float | None = None, leak: float = 0.5, seed: int = 0, name: str | None = None,
    pairs: int | None = None, share: float | None = None, start: Path | None = None,
    device: str | None = None, work: Path | None = None, models: Path | None = None,
    bfloat16: bool = False, minutes: float | None = None, rehearse: Path | None = None,
) -> None:  # fmt: skip
    """Train the miniature."""
    work, device = work or WORK, device or ("cuda" if torch.cuda.is_available() else "cpu")
    models = models or work / "models"
    if share is not None and (stage is not None or share == 0):
        raise ValueError("--share is of all stages, and more than 0; give no stage with it")
    if stage is None:
        return run_all(work, models, seed, device, share)
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}; there are {', '.join(STAGES)}")
    known, label = STAGES[stage], name or stage
    effort = known.effort(device)
    count = pairs or corpus_size(known.corpus, device)
    corpus = draw(work / known.corpus, count=count) if known.corpus else None
    if "WORLD_SIZE" in os.environ:
        # one process may encode or draw for long while the others wait
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(hours=6))
    rank, world = processes()
    setup = Setup(
        corpus=corpus,
        scenes=count,
        work=work / label,
        models=models,
        device=torch.device(device),
        samples=samples or effort.samples,
        batch=max(1, (batch or effort.batch) // world),
        seed=seed,
        leak=leak,
        rate=rate or effort.rate,
        start=start,
        limit=Limit(60 * minutes) if minutes is not None else None,
        bfloat16=bfloat16,
    )
    if rehearse:
        limit = Limit(REHEARSAL, keep=False)
        setup = replace(setup, work=work / f"{label}-rehearsal", limit=limit)
    try:
        outcome = known.train(setup, **({"name": name} if name and name != stage else {}))
    except Stopped as ended:
        if rank == 0 and rehearse:
            rehearse.write_text(json.dumps(asdict(ended.outcome)), encoding="utf-8")
            shutil.rmtree(setup.work)
        elif rank == 0:
            print(f"{label}: stopped after {ended}; call it again to go on")
        return
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    log = models / "training"
    log.mkdir(parents=True, exist_ok=True)
    record = {
        "command": f"cirp miniature train {stage} --samples {setup.samples} --seed {seed}"
        f" --leak {leak:g} --batch {setup.batch * world} --pairs {count}"
        + (f" --rate {setup.rate:g}" if setup.rate else "")
        + (f" --start {'/'.join(start.parts[-2:])}" if start else "")  # no path of this machine
        + (f" --name {name}" if label != stage else ""),
        "stage": stage, "batch": setup.batch * world, "seed": seed, "pairs": count,
        "leak": leak, "arithmetic": "bfloat16" if bfloat16 else "float32",
        "machine": machine(device), "torch": torch.__version__, **asdict(outcome),
    }  # fmt: skip
    (log / f"{label}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (log / f"{label}.csv").write_text(
        (setup.work / "curve.csv").read_text(encoding="utf-8"), encoding="utf-8"
    )
    print(f"{label}: {outcome.samples} samples, loss {outcome.loss:.4f}")


def machine(device: str) -> str:
    """Return the kind of processor, for a model's card."""
    return platform.machine() if device == "cpu" else torch.cuda.get_device_name()


def corpus_size(name: str | None, device: str) -> int:
    """How many pairs or scenes are drawn for training on this device."""
    return CORPORA[name][device != "cpu"]


def run_all(work: Path, models: Path, seed: int, device: str, share: float | None = None) -> None:
    """Every stage in its own processes, so that what one leaves behind harms no other.

    With `share` each sees so much of its samples and pairs, and nothing is rehearsed: a trial of
    the way from nothing to pipelines, whose pictures are noise.
    """
    jobs = [(name, name, ("--seed", str(seed))) for name in STAGES]
    jobs += [(name, "instruct-pix2pix", more) for name, more in VARIANTS.items()]
    for name, stage, more in jobs:
        if (models / "training" / f"{name}.json").exists():
            continue
        arguments = [stage, "--name", name, "--work", str(work), "--models", str(models)]
        arguments += ["--device", device, *more]
        known = STAGES[stage]
        count = corpus_size(known.corpus, device)
        if share is not None:
            count = max(LEAST, round(share * count))
            samples = max(LEAST, round(share * known.effort(device).samples))
            arguments += ["--samples", str(samples), "--pairs", str(count)]
        if known.corpus:
            draw(work / known.corpus, count=count)
        whole = Way(1, os.cpu_count() or 1, bfloat16=device != "cpu")
        way = whole if share else fastest(stage, arguments, work / "speed.json", device)
        subprocess.run(way.command(arguments), env=way.environment, check=True)
    command = [sys.executable, "-m", "cirp", "miniature", "leak", str(models)]
    subprocess.run(command, check=True)  # the room above, which this one does not import
