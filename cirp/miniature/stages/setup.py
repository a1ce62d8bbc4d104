"""What every stage is given, and how pictures become tensors."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from cirp.miniature.corpus import Corpus


@dataclass(frozen=True)
class Setup:
    """Where a stage reads and writes, and what it may spend."""

    corpus: Corpus
    work: Path  # checkpoints and curves
    models: Path  # finished weights
    device: torch.device
    minutes: float
    batch: int
    seed: int = 0
    leak: float = 0.0
    rate: float | None = None
    start: str | None = None  # weights to begin with, a folder of `models`

    def part(self, name: str) -> Path:
        """The vae, text_encoder or tokenizer of this training, else the shipped pipelines' own."""
        own = self.parts / name
        return own if own.is_dir() else self.models / "text-to-image" / name

    @property
    def parts(self) -> Path:
        """Where stages leave what the pipelines are assembled from."""
        return self.work.parent / "parts"

    def generator(self, step: int) -> torch.Generator:
        """Randomness of one step, the same after a resume, another in each process."""
        rank = dist.get_rank() if dist.is_initialized() else 0
        return torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 64 + rank)

    def autocast(self):
        """bfloat16 where it is faster; sums and losses stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16)


def tensor(pictures: np.ndarray, device: torch.device) -> Float[Tensor, "n 3 row column"]:
    """(n, row, column, 3) uint8 -> [-1, 1], channels last in memory."""
    x = torch.from_numpy(np.array(pictures)).to(device).permute(0, 3, 1, 2)
    return x.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def save_half(model: torch.nn.Module, folder: Path) -> None:
    """Save the weights in float16, but let stock loaders compute in float32.

    transformers takes the arithmetic from the `dtype` of the configuration.
    """
    model.half().save_pretrained(folder)
    plain(folder)


def plain(folder: Path) -> None:
    """Name float32 as the arithmetic in every configuration under `folder`."""
    for path in Path(folder).rglob("config.json"):
        config = json.loads(path.read_text())
        for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
            for name in ("dtype", "torch_dtype"):
                if name in part:
                    part[name] = "float32"
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16 for shipping; loading casts them back."""
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
