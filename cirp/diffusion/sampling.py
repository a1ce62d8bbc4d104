"""The sampling loops of all editing methods, written out once, and what they are given and give.

Guidance rows are branch-major: all images of the first branch, then of the next. Every loop is a
generator that yields a frozen `State` per step; send latents back to replace the ones it would go
on with:

    steps = instruct_steps(...)
    state = next(steps)
    state = steps.send(changed_latents)
"""

import copy
import inspect
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from cirp.attention.site import IMAGE, NEITHER, TEXT
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task, generator
from cirp.diffusion.text import Text, encode_prompts, joined, predict

Latents = Float[Tensor, "image channel row column"]


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
    # summed in the order of diffusers' pipeline, so that equal seeds give equal pixels
    return neither + text_scale * (text - image) + image_scale * (image - neither)


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
    if not torch.isfinite(x).all():
        raise ValueError(
            "the models made a picture with values that are not finite (NaN); lower the guidance "
            "scales, or load the models in float32"
        )
    return models.instruct.image_processor.postprocess(x, output_type="pil")


def scheduler_of(pipe, steps: int):
    """Return a copy of the pipeline's scheduler of its own, set to `steps`."""
    scheduler = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(steps, device=pipe.unet.device)
    times = scheduler.timesteps
    if hasattr(scheduler, "set_begin_index") and (times == times[0]).sum() > 1:
        # Karras' noise levels, rounded to timesteps, may begin with several equal ones. Schedulers
        # take the second of them for the first, and run out of levels at the end.
        scheduler.set_begin_index(0)
    return scheduler


def noised(scheduler, latents: Latents, noise: Latents, strength: float) -> tuple[Latents, Tensor]:
    """Scaled latents noised to `strength`, and the timesteps left, as in diffusers' img2img."""
    count = scheduler.num_inference_steps
    skip = max(count - min(int(count * strength), count), 0) * scheduler.order
    timesteps = scheduler.timesteps[skip:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skip)
    return scheduler.add_noise(latents, noise, timesteps[:1].repeat(len(latents))), timesteps


def _extra(scheduler, generators: list[torch.Generator]) -> dict:
    takes = inspect.signature(scheduler.step).parameters
    return {"generator": generators} if "generator" in takes else {}


@torch.no_grad()
def denoise(
    models: Models,
    unet,
    scheduler,
    timesteps: Tensor,
    latents: Latents,
    generators: list[torch.Generator],
    *,
    branches: tuple[int, ...],
    text: dict[int, Text],
    image: dict[int, Tensor] | None,
    guide: Callable[[dict[int, Latents]], Latents],
) -> Steps:
    """The loop itself: one UNet call a step for all branches, then `guide`, then the scheduler.

    `guide` makes one prediction of those of the branches; methods give their own.

    `text` maps a branch to its prompts as read, `image` to its image latents (None: nothing is
    concatenated).
    """
    context = joined([text[b] for b in branches])
    beside = None if image is None else torch.cat([image[b] for b in branches])
    extra = _extra(scheduler, generators)
    for step, t in enumerate(timesteps):
        x = torch.cat([scheduler.scale_model_input(latents, t)] * len(branches))
        if beside is not None:
            x = torch.cat([x, beside], dim=1)
        with models.arithmetic():
            out = predict(unet, x, t, context).to(latents)
        predictions = dict(zip(branches, out.chunk(len(branches)), strict=True))
        guided = guide(predictions)
        after = scheduler.step(guided, t, latents, **extra, return_dict=False)[0]
        changed = yield State(step, float(t), latents, predictions, guided, after)
        latents = after if changed is None else changed


def clean_guess(scheduler, state: State, prediction: Latents | None = None) -> Latents:
    """Return the clean latents that a prediction amounts to, under any scheduler.

    By default the guided prediction of the step.

    Raises `ValueError` for a kind of prediction that is not known here.
    """
    signal, noise = mixture(scheduler, state.timestep)
    kind, x = scheduler.config.prediction_type, state.latents
    said = state.guided if prediction is None else prediction
    if kind == "epsilon":
        return (x - noise * said) / signal
    if kind == "v_prediction":
        return (signal * x - noise * math.hypot(signal, noise) * said) / (signal**2 + noise**2)
    if kind == "sample":
        return said
    raise ValueError(f"prediction_type {kind!r}; known are epsilon, v_prediction and sample")


def mixture(scheduler, timestep: float) -> tuple[float, float]:
    """Return how much signal and noise latents hold at a timestep, as the scheduler mixes them."""
    fresh = copy.copy(scheduler)
    fresh._begin_index = None  # else some schedulers answer for the step that they are at
    one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    nearest = (scheduler.timesteps.cpu() - timestep).abs().argmin()
    at = scheduler.timesteps[nearest : nearest + 1].cpu()
    return float(fresh.add_noise(one, zero, at)), float(fresh.add_noise(zero, one, at))


def instruct_inputs(
    pipe, prompts: Sequence[str], shown: Latents
) -> tuple[dict[int, Text], dict[int, Latents]]:
    """The prompts and the image latents of InstructPix2Pix's three branches."""
    empty = encode_prompts([""], pipe).repeated(len(shown))
    text = {TEXT: encode_prompts(prompts, pipe), IMAGE: empty, NEITHER: empty}
    return text, {TEXT: shown, IMAGE: shown, NEITHER: torch.zeros_like(shown)}


def instruct_steps(
    models: Models,
    scheduler,
    timesteps: Tensor,
    latents: Latents,
    image_latents: Latents | None,
    prompts: Sequence[str],
    generators: list[torch.Generator],
    *,
    text_scale: float,
    image_scale: float,
) -> Steps:
    """InstructPix2Pix: three branches; `image_latents` None means the image is not shown at all."""
    pipe = models.instruct
    shown = torch.zeros_like(latents) if image_latents is None else image_latents
    text, image = instruct_inputs(pipe, prompts, shown)
    return denoise(
        models,
        pipe.unet,
        scheduler,
        timesteps,
        latents,
        generators,
        branches=(TEXT, IMAGE, NEITHER),
        text=text,
        image=image,
        guide=lambda e: combine(
            e[TEXT], e[IMAGE], e[NEITHER], text_scale=text_scale, image_scale=image_scale
        ),
    )


def caption_steps(
    models: Models,
    scheduler,
    timesteps: Tensor,
    latents: Latents,
    prompts: Sequence[str],
    generators: list[torch.Generator],
    *,
    text_scale: float,
) -> Steps:
    """Text to image: two branches, classifier-free guidance (Ho & Salimans 2022)."""
    pipe = models.text
    return denoise(
        models,
        pipe.unet,
        scheduler,
        timesteps,
        latents,
        generators,
        branches=(NEITHER, TEXT),
        text={
            NEITHER: encode_prompts([""], pipe).repeated(len(latents)),
            TEXT: encode_prompts(prompts, pipe),
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
        scheduler = scheduler_of(models.text, steps)
        noise = randn_tensor(
            (len(some), channels, side, side), generator=generators, device=models.device
        )
        latents = noise * scheduler.init_noise_sigma
        loop = caption_steps(
            models, scheduler, scheduler.timesteps, latents, some, generators, text_scale=text_scale
        )
        images += decode(finish(loop, latents)[0], models)
    return images
