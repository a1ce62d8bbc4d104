"""What every stage is given, and how pictures become tensors."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, UInt8
from torch import Tensor

from cirp.miniature.corpus import Corpus
from cirp.miniature.training.objective import processes
from cirp.miniature.training.schedule import Limit

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """Where a stage reads and writes, and what it may spend."""

    corpus: Corpus | None
    work: Path  # its own checkpoints and curve; finished parts lie beside it
    models: Path  # finished models
    device: torch.device
    samples: int
    batch: int  # of this process
    scenes: int = 0  # what a stage without a corpus draws for itself
    seed: int = 0
    leak: float = 0.0
    rate: float | None = None
    start: Path | None = None  # weights to begin with
    bfloat16: bool = False
    limit: Limit | None = None

    @property
    def parts(self) -> Path:
        """Where stages leave what the pipelines are assembled from."""
        return self.work.parent / "parts"

    def part(self, name: str) -> Path:
        """Return the vae, text_encoder or tokenizer of this training."""
        path = self.parts / name
        if not path.is_dir():
            raise FileNotFoundError(f"{path} is missing: its stage has not finished")
        return path

    def warmup(self, samples: int, steps: int = 300) -> int:
        """Samples over which the rate rises: these, or as many as so many steps need."""
        return max(samples, steps * self.batch * processes()[1])

    def generator(self, step: int) -> torch.Generator:
        """Randomness of one step, the same after a resume, another in each process."""
        rank, _ = processes()
        return torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 64 + rank)

    def corpus_sample(self, count: int, side: str) -> Float[Tensor, "n 3 row column"]:
        """Return the first pictures of the corpus, to measure on."""
        return tensor(getattr(self.corpus, side)[:count], self.device)

    def autocast(self):
        """Return the arithmetic that was found faster; sums and losses stay in float32."""
        return torch.autocast(
            self.device.type, torch.bfloat16, self.bfloat16, cache_enabled=self.device.type == "cpu"
        )


def first_makes(path: Path, make: Callable[[Path], T], load: Callable[[Path], T]) -> T:
    """What lies at `path`; if nothing does, the first process makes it and the others wait."""
    made = None
    if not path.exists() and processes()[0] == 0:
        made = make(path)
    if dist.is_initialized():
        dist.barrier()
    return load(path) if made is None else made


def keep_array(path: Path, array: np.ndarray) -> np.ndarray:
    """Write `path` beside its place and move it there; what then lies in it."""
    unfinished = path.with_suffix(".tmp.npy")
    np.save(unfinished, array)
    unfinished.replace(path)
    return np.load(path)


def bytes_of(pictures: np.ndarray) -> UInt8[Tensor, "n row column 3"]:
    """Return what a batch carries to the device."""
    return torch.from_numpy(np.array(pictures))


def tensor(
    pictures: np.ndarray | Tensor, device: torch.device | None = None
) -> Float[Tensor, "n 3 row column"]:
    """(n, row, column, 3) uint8 -> [-1, 1], channels last in memory."""
    x = pictures if isinstance(pictures, Tensor) else bytes_of(pictures)
    x = x.to(device).permute(0, 3, 1, 2)
    return x.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def save_half(model: torch.nn.Module, folder: Path) -> None:
    """Save the weights in float16, but let stock loaders compute in float32.

    transformers takes the arithmetic from the `dtype` of the configuration.
    """
    model.half().save_pretrained(folder)
    plain(folder)


def plain(folder: Path) -> None:
    """Name float32 as the arithmetic, and no path of this machine, in every configuration."""
    for path in Path(folder).rglob("*.json"):
        if path.name not in ("config.json", "model_index.json", "scheduler_config.json"):
            continue
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
            for name in ("dtype", "torch_dtype"):
                if name in part:
                    part[name] = "float32"
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16 for shipping; loading casts them back."""
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
