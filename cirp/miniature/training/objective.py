"""What a stage minimises, and the batches it is fed with."""

import os
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

WORKERS = int(os.environ.get("CIRP_WORKERS", 4))  # processes that draw for a GPU


class Objective(nn.Module):
    """What a stage minimises. `model` is what is averaged, kept and shipped.

    `draw(step)` makes one fresh batch, seeded by the step, on the CPU: a resumed run sees the
    batches that an uninterrupted one would have seen, on any device. `forward(*batch)` is its mean
    loss.
    """

    model: nn.Module
    batch: int  # samples a step of this process
    alike: bool = False  # all batches are tensors of the same shapes

    def draw(self, step: int) -> tuple:
        """Return the batch of this step."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each update; nothing by default."""


def replayed(objective: Objective, batch: tuple[Tensor, ...]) -> None:
    """Let a GPU replay both passes as one graph: launching small kernels takes longer than they do.

    Needs batches that are alike. It is trained as before; only its `forward` is exchanged.
    """
    torch.cuda.make_graphed_callables(objective, batch, allow_unused_input=True)


class _Batches(Dataset):
    """The batches of all steps."""

    def __init__(self, objective: Objective, last: int):
        self.objective, self.last = objective, last

    def __len__(self) -> int:
        return self.last

    def __getitem__(self, step: int) -> tuple:
        return self.objective.draw(step)


def _one_thread(_: int) -> None:
    """A tokenizer whose threads were left behind by a fork would wait for them for ever."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def batches(objective: Objective, first: int, last: int, device: torch.device) -> Iterator[tuple]:
    """Return the batches of steps first..last, on the device.

    A GPU is fed by processes that draw ahead; a CPU has no core to spare for them.
    """
    fed = device.type == "cuda"
    ahead = {
        "num_workers": WORKERS,
        "prefetch_factor": 4,
        "multiprocessing_context": "fork",
        "worker_init_fn": _one_thread,
    }
    loader = DataLoader(
        _Batches(objective, last), batch_size=None, collate_fn=tuple, sampler=range(first, last),
        pin_memory=fed, **(ahead if fed else {}),
    )  # fmt: skip
    for batch in loader:
        yield moved(batch, device)


def moved(batch: Sequence, device: torch.device) -> tuple:
    """Its tensors on the device."""
    return tuple(v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for v in batch)


def processes() -> tuple[int, int]:
    """(this one's number, how many there are)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
