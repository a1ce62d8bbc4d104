"""The sampling loops of all editing methods, written out once, and what they are given and give.

Guidance rows are branch-major: all images of the first branch, then of the next. Every loop is a
generator that yields a frozen `State` per step; send latents back to replace the ones it would go
on with:

    steps = instruct_steps(...)
    state = next(steps)
    state = steps.send(changed_latents)
"""

import copy
import hashlib
import inspect
import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer

from cirp.attention.control import IMAGE, NEITHER, TEXT
from cirp.attention.tokens import check_length
from cirp.data.images import fit, fit_mask, fit_size
from cirp.diffusion.pipelines import Models

PROMPTS = ("instruction", "caption")  # what of a task a method can be given
Latents = Float[Tensor, "image channel row column"]


@dataclass(frozen=True)
class Task:
    """One edit to make."""

    image: Image.Image
    instruction: str
    caption: str | None  # of the target, the report's "refined prompt"
    seed: int
    key: str = ""  # the item; noise depends on key and seed alone
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


@dataclass(frozen=True)
class State:
    """One step of a loop: what went in, what the UNet said, what goes on."""

    step: int
    timestep: float
    latents: Latents  # before the step
    predictions: dict[int, Latents] = field(repr=False)  # branch -> the UNet's output
    guided: Latents = field(repr=False)
    next: Latents = field(repr=False)  # after the step


Steps = Generator[State, Latents | None, None]


def combine(
    text: Latents, image: Latents, neither: Latents, *, text_scale: float, image_scale: float
) -> Latents:
    """e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)] (InstructPix2Pix, equation 3).

    Any scales. diffusers' pipeline runs without guidance, as if both were 1, when
    `image_guidance_scale < 1`; here 0.4 is 0.4.
    """
    return neither + image_scale * (image - neither) + text_scale * (text - image)


def generator(task: Task) -> torch.Generator:
    """The task's own randomness: the same for every method, batch and device."""
    digest = hashlib.sha256(f"{task.key}|{task.seed}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7], "big"))


def working_size(image: Image.Image, models: Models) -> tuple[int, int]:
    """(width, height) of the edit: longer side at the models' resolution, multiples of 8."""
    factor = math.lcm(8, models.instruct.vae_scale_factor)
    return fit_size(image.size, multiple=factor, longest=models.resolution)


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


def check_prompts(tokenizer: CLIPTokenizer, tasks: Sequence[Task], prompt: str) -> list[str]:
    """Each task's prompt; missing ones and those over the tokenizer's limit are refused."""
    if prompt not in PROMPTS:
        raise ValueError(f"unknown prompt {prompt!r}; give one of {', '.join(PROMPTS)}")
    said = [getattr(task, prompt) for task in tasks]
    for words in said:
        if words is None or not words.strip():
            raise ValueError(
                "an edit has no prompt; give target_caption in the metadata, or "
                'prompt="instruction"'
            )
        check_length(tokenizer, words)
    return said


def pixels(images: Sequence[Image.Image], models: Models) -> Float[Tensor, "n 3 row column"]:
    """Images as the pipelines' tensors in [-1, 1]; they must have one size."""
    x = models.instruct.image_processor.preprocess(list(images))
    return x.to(models.device, models.vae.dtype)


@torch.no_grad()
def encode(images: Sequence[Image.Image], models: Models) -> Latents:
    """Unscaled latents, the posterior's mode: what InstructPix2Pix concatenates."""
    return models.vae.encode(pixels(images, models)).latent_dist.mode()


@torch.no_grad()
def decode(latents: Latents, models: Models) -> list[Image.Image]:
    """Scaled latents -> images."""
    x = models.vae.decode(latents / models.vae.config.scaling_factor, return_dict=False)[0]
    return models.instruct.image_processor.postprocess(x, output_type="pil")


@torch.no_grad()
def states(prompts: Sequence[str], pipe) -> Float[Tensor, "prompt token channel"]:
    """The text tower's last hidden states, padded to its full length, as pipelines feed them."""
    ids = pipe.tokenizer(
        list(prompts),
        padding="max_length",
        max_length=pipe.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return pipe.text_encoder(ids.to(pipe.unet.device))[0].to(pipe.unet.dtype)


def scheduler(pipe, steps: int):
    """A copy of the pipeline's scheduler of its own, set to `steps`."""
    mine = copy.deepcopy(pipe.scheduler)
    mine.set_timesteps(steps, device=pipe.unet.device)
    return mine


def noised(mine, latents: Latents, noise: Latents, strength: float) -> tuple[Latents, Tensor]:
    """Scaled latents noised to `strength`, and the timesteps left, as in diffusers' img2img."""
    count = mine.num_inference_steps
    skip = max(count - min(int(count * strength), count), 0) * mine.order
    timesteps = mine.timesteps[skip:]
    if hasattr(mine, "set_begin_index"):
        mine.set_begin_index(skip)
    return mine.add_noise(latents, noise, timesteps[:1].repeat(len(latents))), timesteps


def _extra(mine, generators: list[torch.Generator]) -> dict:
    takes = inspect.signature(mine.step).parameters
    return {"generator": generators} if "generator" in takes else {}


@torch.no_grad()
def run(
    models: Models,
    unet,
    mine,
    timesteps: Tensor,
    latents: Latents,
    generators: list[torch.Generator],
    *,
    branches: tuple[int, ...],
    text: dict[int, Tensor],
    image: dict[int, Tensor] | None,
    guide: Callable[[dict[int, Latents]], Latents],
) -> Steps:
    """The loop itself: one UNet call a step for all branches, then `guide`, then the scheduler.

    `guide` makes one prediction of those of the branches; methods give their own.

    `text` maps a branch to its text states, `image` to its image latents (None: nothing is
    concatenated).
    """
    context = torch.cat([text[b] for b in branches])
    beside = None if image is None else torch.cat([image[b] for b in branches])
    extra = _extra(mine, generators)
    for step, t in enumerate(timesteps):
        x = torch.cat([mine.scale_model_input(latents, t)] * len(branches))
        if beside is not None:
            x = torch.cat([x, beside], dim=1)
        with models.arithmetic():
            out = unet(x, t, encoder_hidden_states=context, return_dict=False)[0].to(latents)
        predictions = dict(zip(branches, out.chunk(len(branches)), strict=True))
        guided = guide(predictions)
        after = mine.step(guided, t, latents, **extra, return_dict=False)[0]
        changed = yield State(step, float(t), latents, predictions, guided, after)
        latents = after if changed is None else changed


def instruct_steps(
    models: Models,
    mine,
    timesteps: Tensor,
    latents: Latents,
    image_latents: Latents | None,
    prompts: Sequence[str],
    generators: list[torch.Generator],
    *,
    text_scale: float,
    image_scale: float,
    guide: Callable[[dict[int, Latents]], Latents] | None = None,
) -> Steps:
    """InstructPix2Pix: three branches; `image_latents` None means the image is not shown at all.

    `guide` takes the place of `combine`, and then the scales say nothing.
    """
    pipe = models.instruct
    empty = states([""], pipe).expand(len(latents), -1, -1)
    nothing = torch.zeros_like(latents)
    shown = nothing if image_latents is None else image_latents
    return run(
        models,
        pipe.unet,
        mine,
        timesteps,
        latents,
        generators,
        branches=(TEXT, IMAGE, NEITHER),
        text={TEXT: states(prompts, pipe), IMAGE: empty, NEITHER: empty},
        image={TEXT: shown, IMAGE: shown, NEITHER: nothing},
        guide=guide
        or (
            lambda e: combine(
                e[TEXT], e[IMAGE], e[NEITHER], text_scale=text_scale, image_scale=image_scale
            )
        ),
    )


def caption_steps(
    models: Models,
    mine,
    timesteps: Tensor,
    latents: Latents,
    prompts: Sequence[str],
    generators: list[torch.Generator],
    *,
    text_scale: float,
) -> Steps:
    """Text to image: two branches, classifier-free guidance (Ho & Salimans 2022)."""
    pipe = models.text
    return run(
        models,
        pipe.unet,
        mine,
        timesteps,
        latents,
        generators,
        branches=(NEITHER, TEXT),
        text={
            NEITHER: states([""], pipe).expand(len(latents), -1, -1),
            TEXT: states(prompts, pipe),
        },
        image=None,
        guide=lambda e: e[NEITHER] + text_scale * (e[TEXT] - e[NEITHER]),
    )


def finish(steps: Steps, latents: Latents) -> tuple[Latents, int]:
    """Run a loop to its end: the last latents and the number of UNet rows an image took."""
    rows = 0
    for state in steps:
        latents = state.next
        rows += len(state.predictions)
    return latents, rows


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
    """A mask of cells as a grey picture of `size` (width, height); cells keep their edges."""
    levels = (mask.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return Image.fromarray(levels).resize(size, Image.Resampling.NEAREST)


def captions_to_images(
    models: Models,
    captions: Sequence[str],
    *,
    seed: int,
    steps: int = 30,
    text_scale: float = 7.5,
    batch_size: int = 16,
) -> list[Image.Image]:
    """Pictures from captions alone; each picture's noise comes from its caption and the seed."""
    side = models.resolution // models.text.vae_scale_factor
    channels = models.text.unet.config.in_channels
    images = []
    for start in range(0, len(captions), batch_size):
        some = list(captions[start : start + batch_size])
        generators = [generator(Task(Image.new("RGB", (8, 8)), c, c, seed, key=c)) for c in some]
        mine = scheduler(models.text, steps)
        noise = randn_tensor(
            (len(some), channels, side, side), generator=generators, device=models.device
        )
        latents = noise * mine.init_noise_sigma
        loop = caption_steps(
            models, mine, mine.timesteps, latents, some, generators, text_scale=text_scale
        )
        images += decode(finish(loop, latents)[0], models)
    return images


def initial_noise(tasks: Sequence[Task], latents: Latents) -> tuple[Latents, list[torch.Generator]]:
    """Unit noise of the latents' shape, each image's from its own generator."""
    generators = [generator(task) for task in tasks]
    shape = tuple(latents.shape)
    return randn_tensor(
        shape, generator=generators, device=latents.device, dtype=latents.dtype
    ), generators
