"""One training loop for all six models: a budget of minutes, EMA, checkpoints, logged curves."""

import csv
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True)
class Budget:
    """How long, how fast, how often. The schedule runs over time, so a stage ends finished."""

    minutes: float
    learning_rate: float
    warmup: float = 0.03  # share of the budget
    floor: float = 0.02  # last learning rate, as a share of the first
    weight_decay: float = 0.01
    ema: float = 0.999
    checkpoint_every: float = 60.0  # seconds
    report_every: float = 5.0  # seconds


@dataclass(frozen=True)
class Outcome:
    """What a stage used, for its model card."""

    steps: int
    samples: int
    minutes: float
    loss: float
    device: str
    threads: int


def rate(share: float, budget: Budget) -> float:
    """The learning rate after `share` of the budget: linear warm-up, then a cosine to the floor."""
    if share < budget.warmup:
        return budget.learning_rate * share / budget.warmup
    along = min((share - budget.warmup) / (1 - budget.warmup), 1.0)
    return budget.learning_rate * (
        budget.floor + (1 - budget.floor) * 0.5 * (1 + math.cos(math.pi * along))
    )


def _pack(model: nn.Module, average: dict[str, Tensor], optimizer) -> dict[str, Tensor]:
    packed = {f"model/{k}": v for k, v in model.state_dict().items()}
    packed |= {f"ema/{k}": v for k, v in average.items()}
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    parameters = optimizer.param_groups[0]["params"]
    for name, parameter in zip(names, parameters, strict=True):
        for key, value in optimizer.state.get(parameter, {}).items():
            packed[f"optimizer/{name}/{key}"] = value
    return {k: v.detach().cpu().contiguous().clone() for k, v in packed.items()}


def _unpack(
    state: dict[str, Tensor], model: nn.Module, average: dict[str, Tensor], optimizer
) -> None:
    model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model/")})
    for name in average:
        average[name].copy_(state[f"ema/{name}"])
    named = dict(model.named_parameters())
    for key, value in state.items():
        if key.startswith("optimizer/"):
            name, kind = key[len("optimizer/") :].rsplit("/", 1)
            parameter = named[name]
            value = value if kind == "step" else value.to(parameter.device)
            optimizer.state[parameter][kind] = value


def share_gradients(parameters: list[Tensor], world: int) -> None:
    """Average the gradients of all processes: plain data parallelism, in one message."""
    flat = torch.cat([p.grad.flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= world
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad.copy_(part.view_as(parameter))


def fit(
    model: nn.Module,
    losses: Callable[[int], Tensor],
    *,
    budget: Budget,
    folder: Path,
    batch: int,
    name: str,
    after_step: Callable[[], None] | None = None,
    snapshot: Callable[[dict[str, Tensor], int], None] | None = None,
) -> tuple[dict[str, Tensor], Outcome]:
    """Train until the minutes are used up; give back the averaged weights and what it took.

    `losses(step)` computes the loss of one fresh batch; seed it by the step and it resumes alike.
    `folder` keeps the checkpoint and `curve.csv`; a finished stage is not trained again.
    `snapshot(ema weights, step)` is called at every checkpoint.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    device = trained[0].device
    optimizer = torch.optim.AdamW(
        trained,
        lr=budget.learning_rate,
        weight_decay=budget.weight_decay,
        betas=(0.9, 0.99),
        fused=True,  # three times as fast on a CPU
    )
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    step, samples, elapsed = 0, 0, 0.0
    world = dist.get_world_size() if dist.is_initialized() else 1
    first = world == 1 or dist.get_rank() == 0
    batch *= world
    checkpoint, progress = folder / "checkpoint.safetensors", folder / "progress.json"
    if checkpoint.exists():
        _unpack(load_file(checkpoint), model, average, optimizer)
        kept = json.loads(progress.read_text())
        step, samples, elapsed = kept["step"], kept["samples"], kept["elapsed"]

    seconds = budget.minutes * 60
    smooth = None
    curve = (folder / "curve.csv" if first else Path(os.devnull)).open("a", newline="")
    rows = csv.writer(curve)
    if step == 0:
        rows.writerow(["step", "minutes", "loss", "learning_rate"])

    def save() -> None:
        if not first:
            return
        half = folder / "checkpoint.tmp"
        save_file(_pack(model, average, optimizer), half)
        os.replace(half, checkpoint)
        kept = {"step": step, "samples": samples, "elapsed": elapsed, "loss": smooth}
        progress.write_text(json.dumps(kept))
        if snapshot:
            snapshot(average, step)

    bar = tqdm(
        total=round(seconds),
        initial=round(elapsed),
        desc=name,
        unit="s",
        mininterval=2,
        disable=not first,
    )
    last = saved = told = time.monotonic()
    model.train()
    try:
        while elapsed < seconds:
            now = rate(elapsed / seconds, budget)
            for group in optimizer.param_groups:
                group["lr"] = now
            loss = losses(step)
            loss.backward()
            if world > 1:
                share_gradients(trained, world)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if after_step:
                after_step()
            step, samples = step + 1, samples + batch
            keep = min(budget.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                now_weights = model.state_dict()
                floats = [k for k, v in now_weights.items() if v.is_floating_point()]
                torch._foreach_lerp_(
                    [average[k] for k in floats], [now_weights[k] for k in floats], 1 - keep
                )
                for key in now_weights.keys() - set(floats):
                    average[key].copy_(now_weights[key])
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name}: the loss became {value} at step {step}; lower the learning rate "
                    f"({budget.learning_rate}) and start again from {checkpoint}"
                )
            smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
            tick = time.monotonic()
            elapsed, last = elapsed + tick - last, tick
            if world > 1:  # all processes stop at the same step
                clock = torch.tensor(elapsed, dtype=torch.float64)
                dist.broadcast(clock, 0)
                elapsed = float(clock)
            if tick - told > budget.report_every:
                told = tick
                rows.writerow([step, f"{elapsed / 60:.3f}", f"{smooth:.5f}", f"{now:.3e}"])
                bar.n = round(min(elapsed, seconds))
                bar.set_postfix(loss=f"{smooth:.4f}", step=step)
            if tick - saved > budget.checkpoint_every:
                saved = tick
                curve.flush()
                save()
                last = time.monotonic()
    finally:
        curve.close()
        bar.close()
    if not first:  # the first process writes the results
        dist.destroy_process_group()
        raise SystemExit(0)
    save()
    outcome = Outcome(
        step,
        samples,
        elapsed / 60,
        float(smooth or float("nan")),
        str(device),
        torch.get_num_threads(),
    )
    (folder / "outcome.json").write_text(json.dumps(asdict(outcome)))
    return average, outcome
