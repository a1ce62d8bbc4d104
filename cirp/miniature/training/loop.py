"""One training loop for all models: warm-up, a held rate, decay at the end; killed and resumed.

The rate rises, is held, and falls only in the last share of the samples (warmup-stable-decay;
Hu et al. 2024, section 4; the shape of the fall, one minus a square root, from Hägele et al. 2024).
The state in which the fall begins is kept, so that a finished stage can be given more samples.
"""

import csv
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from cirp.miniature.training.schedule import Outcome, Rehearsed, Schedule

CHECKPOINT, HELD = "checkpoint.safetensors", "held.safetensors"


class Objective(nn.Module):
    """What a stage minimises. `model` is what is averaged, kept and shipped.

    `forward(step)` draws one fresh batch, seeded by the step, and returns its mean loss; a resumed
    run so sees the batches that an uninterrupted one would have seen.
    """

    model: nn.Module
    batch: int  # samples a step of this process

    def after_step(self) -> None:
        """Called after each update; nothing by default."""


def processes() -> tuple[int, int]:
    """(this one's number, how many there are)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _average(decay: float) -> Callable:
    """EMA with the usual start: the first steps count as a plain mean does."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        if averages[0].is_floating_point():
            keep = min(decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(averages, current, 1 - keep)
        else:
            torch._foreach_copy_(averages, current)

    return update


class _Run:
    """Weights, their average, the optimizer, and how far they are: all that a checkpoint holds."""

    def __init__(self, objective: Objective, schedule: Schedule, folder: Path):
        self.objective, self.folder = objective, folder
        self.trained = {n: p for n, p in objective.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            betas=(0.9, 0.99),
            fused=True,  # three times as fast on a CPU
        )
        self.average = AveragedModel(
            objective.model, multi_avg_fn=_average(schedule.ema), use_buffers=True
        )
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.loss = float("nan")  # running mean

    def save(self, name: str) -> None:
        """Written beside and moved: a kill at any moment leaves the last checkpoint whole."""
        packed = {f"objective/{k}": v for k, v in self.objective.state_dict().items()}
        packed |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for key, parameter in self.trained.items():
            for kind, value in self.optimizer.state.get(parameter, {}).items():
                packed[f"optimizer/{key}/{kind}"] = value
        packed = {k: v.detach().cpu().contiguous().clone() for k, v in packed.items()}
        place = {"step": self.step, "samples": self.samples, "seconds": self.seconds}
        half = self.folder / f"{name}.tmp"
        save_file(packed, half, {k: repr(v) for k, v in (place | {"loss": self.loss}).items()})
        os.replace(half, self.folder / name)

    def load(self, name: str) -> None:
        path = self.folder / name
        packed = load_file(path)
        place = placed(path)

        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in packed.items() if k.startswith(prefix)}

        self.objective.load_state_dict(part("objective/"))
        self.average.load_state_dict(part("average/"))
        for key, value in part("optimizer/").items():
            parameter, kind = key.rsplit("/", 1)
            parameter = self.trained[parameter]
            value = value if kind == "step" else value.to(parameter)
            self.optimizer.state[parameter][kind] = value
        self.step, self.samples = int(place["step"]), int(place["samples"])
        self.seconds, self.loss = place["seconds"], place["loss"]


def placed(path: Path) -> dict[str, float]:
    """How far a checkpoint is: step, samples, seconds, loss."""
    with open(path, "rb") as file:  # a safetensors file begins with its header's length
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))["__metadata__"]
    return {k: float(v) for k, v in header.items()}


def begin_at(folder: Path, schedule: Schedule) -> str | None:
    """The checkpoint to go on from, if any.

    A stage that has begun to fall and is given more samples goes back to where the fall began.
    """
    if not (folder / CHECKPOINT).exists():
        return None
    held = folder / HELD
    if held.exists() and placed(held)["samples"] < schedule.falls_at:
        if placed(folder / CHECKPOINT)["samples"] < schedule.samples:
            return HELD
    return CHECKPOINT


def fit(
    objective: Objective,
    *,
    schedule: Schedule,
    folder: Path,
    name: str,
    report: Callable[[nn.Module, int, float], None] | None = None,
    report_every: float = 1200.0,
    checkpoint_every: float = 120.0,
    rehearsal: float | None = None,
) -> tuple[nn.Module, Outcome]:
    """Train until the schedule's samples are seen; the averaged model, and what it took.

    `folder` keeps the checkpoint and `curve.csv`; a finished stage is not trained again.
    `report(averaged model, samples, minutes)` is called by the first process every `report_every`
    seconds. The call ends in the first process alone: the others have nothing left to do.

    Raises `Rehearsed` after `rehearsal` seconds, if given, having written nothing.
    Raises `FloatingPointError` if the loss is not finite, naming the step and the rate.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rank, world = processes()
    run = _Run(objective, schedule, folder)
    begin = begin_at(folder, schedule)
    if begin:
        run.load(begin)
    runner = DistributedDataParallel(objective) if world > 1 else objective
    bar = tqdm(
        total=schedule.samples, initial=run.samples, desc=name, unit=" samples",
        mininterval=10, disable=rank > 0, smoothing=0.05,
    )  # fmt: skip
    curve = (folder / "curve.csv" if rank == 0 else Path(os.devnull)).open("a", newline="")
    rows = csv.writer(curve)
    if run.step == 0 and rank == 0:
        curve.truncate(0)
        rows.writerow(["step", "samples", "minutes", "loss", "learning_rate"])
    objective.train()
    last = saved = told = began = time.monotonic()
    reported = run.seconds
    with bar, curve:
        while run.samples < schedule.samples:
            rate = schedule.rate(run.samples)
            if rank == 0 and 0 <= run.samples - schedule.falls_at < objective.batch * world:
                run.save(HELD)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            loss = runner(run.step)
            loss.backward()
            nn.utils.clip_grad_norm_(run.trained.values(), 1.0)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            objective.after_step()
            run.average.update_parameters(objective.model)
            run.step, run.samples = run.step + 1, run.samples + objective.batch * world
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name}: the loss became {value} at step {run.step}; lower the learning rate "
                    f"({schedule.learning_rate}) and go on from {folder / CHECKPOINT}"
                )
            run.loss = value if math.isnan(run.loss) else 0.98 * run.loss + 0.02 * value
            tick = time.monotonic()
            run.seconds, last = run.seconds + tick - last, tick
            bar.update(objective.batch * world)
            if tick - told > 5:
                told = tick
                rows.writerow(
                    [
                        run.step,
                        run.samples,
                        f"{run.seconds / 60:.3f}",
                        f"{run.loss:.5f}",
                        f"{rate:.3e}",
                    ]
                )
                bar.set_postfix(loss=f"{run.loss:.4f}", refresh=False)
            if rank == 0 and tick - saved > checkpoint_every:
                curve.flush()
                run.save(CHECKPOINT)
                saved = last = time.monotonic()
            if rank == 0 and report and run.seconds - reported > report_every:
                reported = run.seconds
                _told(report, run)
                last = time.monotonic()
            if rehearsal is not None and _agreed(tick - began > rehearsal, world):
                break
    outcome = Outcome(
        run.step, run.samples, run.seconds / 60, run.loss,
        str(next(iter(run.trained.values())).device), world, torch.get_num_threads(),
    )  # fmt: skip
    if rehearsal is not None:
        raise Rehearsed(outcome)
    if rank > 0:
        dist.destroy_process_group()
        raise SystemExit(0)
    run.save(CHECKPOINT)
    if report:
        _told(report, run)
    return run.average.module.eval(), outcome


def _agreed(stop: bool, world: int) -> bool:
    """What the first process says, in all of them: they stop at the same step."""
    if world == 1:
        return stop
    flag = torch.tensor(float(stop))
    dist.broadcast(flag, 0)
    return bool(flag)


def _told(report: Callable, run: _Run) -> None:
    """A report that fails must not end hours of training."""
    module = run.average.module
    was = module.training
    try:
        with torch.no_grad():
            report(module.eval(), run.samples, run.seconds / 60)
    except Exception as error:  # noqa: BLE001
        tqdm.write(f"report at {run.samples} samples failed: {error!r}")
    finally:
        module.train(was)
