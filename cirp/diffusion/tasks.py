"""What is asked of a method, what it makes, and one batch after the other."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from cirp.attention.tokens import check_length
from cirp.data.images import fit, fit_mask, fit_size
from cirp.diffusion.pipelines import Models

Latents = Float[Tensor, "image channel row column"]


PROMPTS = ("instruction", "caption")  # what of a task a method can be given
COLUMNS = {  # field of a task -> column of the metadata
    "instruction": "instruction", "caption": "target_caption", "source_caption": "source_caption",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One edit to make."""

    image: Image.Image
    instruction: str
    caption: str | None  # of the target, the report's "refined prompt"
    seed: int
    key: str | None = ""  # the item; noise depends on key and seed, with None as in diffusers
    source_caption: str | None = None  # what the image shows now
    words: tuple[str, ...] = ()  # of the instruction, that carry the edit; empty: not known
    target_words: tuple[str, ...] = ()  # of the caption
    mask: Bool[np.ndarray, "row column"] | None = None  # where it may change: a user's, the truth


@dataclass(frozen=True)
class Edit:
    """One edit that was made."""

    image: Image.Image
    method: str
    settings: dict[str, Any]
    unet_calls: int  # rows the UNet was evaluated on
    seconds: float  # of its batch, shared out evenly
    mask: Image.Image | None = None  # the region the method worked with, "L", soft or hard
    abstained: bool = False  # it found no region and edited as the baseline does


@dataclass(frozen=True)
class Made:
    """What a method made of one batch of tasks."""

    images: list[Image.Image]
    rows: int  # UNet rows an image took
    masks: Float[Tensor, "image row column"] | None = None  # 0 to 1, of any resolution
    abstained: Sequence[bool] | None = None


def generator(task: Task) -> torch.Generator:
    """Return the task's own randomness: the same for every method, batch and device.

    Without a key it is diffusers' `torch.Generator().manual_seed(seed)`.
    """
    if task.key is None:
        return torch.Generator("cpu").manual_seed(task.seed)
    digest = hashlib.sha256(f"{task.key}|{task.seed}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7], "big"))


def working_size(image: Image.Image, models: Models) -> tuple[int, int]:
    """(width, height) of the edit: longer side at the models' resolution, multiples of 8."""
    return fit_size(image.size, multiple=models.editor.multiple, longest=models.resolution)


def check_settings(*, steps: int, strength: float = 1.0, **scales: float) -> None:
    """Refuse what would fail, or silently do nothing, later. Needs no model."""
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps!r}; give a whole number of at least 1")
    if not 0 < strength <= 1:
        raise ValueError(f"strength={strength}; give a share over 0 and up to 1")
    if int(steps * strength) < 1:
        raise ValueError(
            f"{steps} steps at strength {strength} leave no step to run; raise one of them"
        )
    for name, value in scales.items():
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{name}={value}; give a finite number that is not negative")


def missing_texts(task: Task, reads: Sequence[str]) -> list[str]:
    """Which of these fields of a task hold no text."""
    return [name for name in reads if not (getattr(task, name) or "").strip()]


def unread_texts(task: Task, reads: Sequence[str]) -> list[str]:
    """Which fields of a task hold a text that a run which `reads` these would ignore."""
    return [name for name in COLUMNS if getattr(task, name) and name not in reads]


def check_prompts(
    tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task], prompt: str
) -> list[str]:
    """Each task's prompt; refused are missing ones, wordless ones, those over the limit."""
    if prompt not in COLUMNS:
        raise ValueError(f"unknown prompt {prompt!r}; give one of {', '.join(PROMPTS)}")
    said = [getattr(task, prompt) for task in tasks]
    for words in said:
        if words is None or not words.strip():
            raise ValueError(
                "an edit has no prompt; give target_caption in the metadata, or "
                'prompt="instruction"'
            )
        if not any(character.isalnum() for character in words):
            raise ValueError(f"{words!r} has no word that could be attended to; write it in words")
        check_length(tokenizer, words)
    return said


def in_batches(
    tasks: Sequence[Task],
    models: Models,
    one: Callable[[list[Task]], Made],
    *,
    method: str,
    settings: dict,
    batch_size: int,
    progress: bool,
) -> list[Edit]:
    """Fit the images, group those of one size, run `one` on each group of `batch_size`."""
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; give at least 1")
    batch_size = min(batch_size, models.editor.most or batch_size)
    fitted = [
        replace(
            t,
            image=fit(t.image, size=(size := working_size(t.image, models))),
            mask=None if t.mask is None else fit_mask(t.mask, size=size),
        )
        for t in tasks
    ]
    order = sorted(range(len(tasks)), key=lambda i: fitted[i].image.size)
    found: list[Edit | None] = [None] * len(tasks)
    with tqdm(total=len(tasks), desc=method, unit="edit", disable=not progress) as bar:
        start = 0
        while start < len(order):
            group = [
                i
                for i in order[start : start + batch_size]
                if fitted[i].image.size == fitted[order[start]].image.size
            ]
            began = time.monotonic()
            made = one([fitted[i] for i in group])
            each = (time.monotonic() - began) / len(group)
            for n, i in enumerate(group):
                image = made.images[n]
                mask = None if made.masks is None else mask_picture(made.masks[n], image.size)
                abstained = bool(made.abstained is not None and made.abstained[n])
                found[i] = Edit(image, method, settings, made.rows, each, mask, abstained)
            start += len(group)
            bar.update(len(group))
    return found


def mask_picture(mask: Float[Tensor, "row column"], size: tuple[int, int]) -> Image.Image:
    """Return a mask of cells as a grey picture of `size` (width, height), with hard cell edges."""
    levels = (mask.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return Image.fromarray(levels).resize(size, Image.Resampling.NEAREST)


def initial_noise(tasks: Sequence[Task], latents: Latents) -> tuple[Latents, list[torch.Generator]]:
    """Return unit noise of the latents' shape, each image's from its own generator."""
    generators = [generator(task) for task in tasks]
    shape = tuple(latents.shape)
    return randn_tensor(
        shape, generator=generators, device=latents.device, dtype=latents.dtype
    ), generators
