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

from cirp.miniature.training.objective import Objective, batches, moved, processes, replayed
from cirp.miniature.training.schedule import Limit, Outcome, Schedule, Stopped
from cirp.paths import replacing

CHECKPOINT, HELD = "checkpoint.safetensors", "held.safetensors"
LOOK = 8  # steps of a GPU from one look at the loss to the next
MILESTONES = [m * 10**e for e in (5, 6, 7) for m in (1, 3)]  # samples at which a report is due


def _average(decay: float, steps: Callable[[], int]) -> Callable:
    """EMA with the usual start: the first steps count as a plain mean does."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
        if averages[0].is_floating_point():
            count = steps()  # not the average's own: a GPU would have to be waited for
            keep = min(decay, (1 + count) / (10 + count))
            torch._foreach_lerp_(averages, current, 1 - keep)
        else:
            torch._foreach_copy_(averages, current)

    return update


class _Run:
    """Weights, their average, the optimizer, and how far they are: all that a checkpoint holds."""

    def __init__(self, objective: Objective, schedule: Schedule, folder: Path):
        self.objective, self.folder = objective, folder
        self.trained = {n: p for n, p in objective.named_parameters() if p.requires_grad}
        self.device = next(iter(self.trained.values())).device
        self.optimizer = torch.optim.AdamW(
            self.trained.values(),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            betas=(0.9, 0.99),
            fused=True,  # three times as fast on a CPU
        )
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.loss = float("nan")  # running mean
        self.average = AveragedModel(
            objective.model, multi_avg_fn=_average(schedule.ema, lambda: self.step),
            use_buffers=True,
        )  # fmt: skip

    def save(self, name: str) -> None:
        """Written beside and moved: a kill at any moment leaves the last checkpoint whole."""
        packed = {f"objective/{k}": v for k, v in self.objective.state_dict().items()}
        packed |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for key, parameter in self.trained.items():
            for kind, value in self.optimizer.state.get(parameter, {}).items():
                packed[f"optimizer/{key}/{kind}"] = value
        packed = {k: v.detach().cpu().contiguous().clone() for k, v in packed.items()}
        place = {"step": self.step, "samples": self.samples, "seconds": self.seconds}
        place |= {"loss": self.loss}
        with replacing(self.folder / name) as half:
            save_file(packed, half, {k: repr(v) for k, v in place.items()})

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
            # the kernel of a GPU counts its steps there
            like = value.to(parameter.device) if kind == "step" else torch.empty_like(parameter)
            self.optimizer.state[parameter][kind] = like.copy_(value)
        self.step, self.samples = int(place["step"]), int(place["samples"])
        self.seconds, self.loss = place["seconds"], place["loss"]


def placed(path: Path) -> dict[str, float]:
    """How far a checkpoint is: step, samples, seconds, loss."""
    with open(path, "rb") as file:  # a safetensors file begins with its header's length
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))["__metadata__"]
    return {k: float(v) for k, v in header.items()}


def begin_at(folder: Path, schedule: Schedule) -> str | None:
    """Return the checkpoint to go on from, if any.

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
    limit: Limit | None = None,
) -> tuple[nn.Module, Outcome]:
    """Train until the schedule's samples are seen; the averaged model, and what it took.

    `folder` keeps the checkpoint and `curve.csv`; a finished stage is not trained again.
    `report(averaged model, samples, minutes)` is called by the first process every `report_every`
    seconds. The call ends in the first process alone: the others have nothing left to do.

    Raises `Stopped` at the limit, if given; the next call goes on from there, if it is kept.
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
    every = LOOK if run.device.type == "cuda" else 1
    steps = -(-(schedule.samples - run.samples) // (objective.batch * world))
    if run.device.type == "cuda" and objective.alike and world == 1:
        torch.backends.cudnn.benchmark = True
        replayed(objective, moved(objective.draw(run.step), run.device))
    drawn = batches(objective, run.step, run.step + steps, run.device)
    last = saved = told = began = time.monotonic()
    reported, unread = run.seconds, []
    with bar, curve:
        for batch in drawn:
            rate = schedule.rate(run.samples)
            if rank == 0 and 0 <= run.samples - schedule.falls_at < objective.batch * world:
                run.save(HELD)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            loss = runner(*batch)
            loss.backward()
            nn.utils.clip_grad_norm_(run.trained.values(), 1.0)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            objective.after_step()
            run.average.update_parameters(objective.model)
            run.step, run.samples = run.step + 1, run.samples + objective.batch * world
            unread.append(loss.detach())
            seen = run.samples - objective.batch * world
            due = report and any(seen < mark <= run.samples for mark in MILESTONES)
            if run.step % every and run.samples < schedule.samples and not due:
                continue  # reading a loss waits for the GPU
            _read(unread, run, name, schedule.learning_rate)
            tick = time.monotonic()
            run.seconds, last = run.seconds + tick - last, tick
            bar.update(run.samples - bar.n)
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
            if rank == 0 and report and (due or run.seconds - reported > report_every):
                reported = run.seconds
                _told(report, run)
                last = time.monotonic()
            if limit and _agreed(tick - began > limit.seconds, world):
                break
    outcome = Outcome(
        run.step, run.samples, run.seconds / 60, run.loss,
        str(run.device), world, torch.get_num_threads(),
    )  # fmt: skip
    if limit and (run.samples < schedule.samples or not limit.keep):
        if limit.keep and rank == 0:
            run.save(CHECKPOINT)
        raise Stopped(outcome)
    if rank > 0:
        dist.destroy_process_group()
        raise SystemExit(0)
    run.save(CHECKPOINT)
    if report:
        _told(report, run)
    return run.average.module.eval(), outcome


def _read(unread: list[Tensor], run: _Run, name: str, rate: float) -> None:
    """Take the losses of the last steps into the running mean; the list is emptied."""
    values = torch.stack(unread).tolist()
    for step, value in enumerate(values, run.step - len(values)):
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{name}: the loss became {value} at step {step}; lower the learning rate "
                f"({rate}) and go on from {run.folder / CHECKPOINT}"
            )
        run.loss = value if math.isnan(run.loss) else 0.98 * run.loss + 0.02 * value
    unread.clear()


def _agreed(stop: bool, world: int) -> bool:
    """Return what the first process says, in all of them: they stop at the same step."""
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
