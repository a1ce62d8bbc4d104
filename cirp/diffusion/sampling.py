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

from cirp.attention.site import NEITHER, TEXT
from cirp.diffusion.editors.instruct import scheduler_of
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


@torch.no_grad()
def encode(images: Sequence[Image.Image], models: Models) -> Latents:
    """Return the latents that the editor is shown: InstructPix2Pix's are unscaled."""
    return models.editor.encode(images)


@torch.no_grad()
def decode(latents: Latents, models: Models) -> list[Image.Image]:
    """Return the images that the end of a run amounts to."""
    x = models.editor.decode(latents)
    if not torch.isfinite(x).all():
        raise ValueError(
            "the models made a picture with values that are not finite (NaN); lower the guidance "
            "scales, or load the models in float32"
        )
    return models.editor.pictures(x)


def noised(scheduler, latents: Latents, noise: Latents, strength: float) -> tuple[Latents, Tensor]:
    """Scaled latents noised to `strength`, and the timesteps left, as in diffusers' img2img."""
    count = scheduler.num_inference_steps
    skip = max(count - min(int(count * strength), count), 0) * scheduler.order
    timesteps = scheduler.timesteps[skip:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skip)
    return with_noise(scheduler, latents, noise, timesteps[:1].repeat(len(latents))), timesteps


def with_noise(scheduler, latents: Latents, noise: Latents, timesteps: Tensor) -> Latents:
    """Return scaled latents as they are at these timesteps."""
    if hasattr(scheduler, "scale_noise"):  # flow matching
        return scheduler.scale_noise(latents, timesteps, noise)
    return scheduler.add_noise(latents, noise, timesteps)


def _extra(scheduler, generators: list[torch.Generator]) -> dict:
    takes = inspect.signature(scheduler.step).parameters
    return {"generator": generators} if "generator" in takes else {}


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

    def rows(latents: Latents, time: Tensor) -> Tensor:
        x = torch.cat([latents] * len(branches))
        return predict(unet, x if beside is None else torch.cat([x, beside], dim=1), time, context)

    return guided_steps(
        models, scheduler, timesteps, latents, generators, branches=branches, rows=rows, guide=guide
    )


@torch.no_grad()
def guided_steps(
    models: Models,
    scheduler,
    timesteps: Tensor,
    latents: Latents,
    generators: list[torch.Generator],
    *,
    branches: tuple[int, ...],
    rows: Callable[[Latents, Tensor], Tensor],
    guide: Callable[[dict[int, Latents]], Latents],
) -> Steps:
    """As `denoise`, of any network: `rows` answers for all branches, the first one's rows first."""
    extra = _extra(scheduler, generators)
    scaled = getattr(scheduler, "scale_model_input", lambda latents, _: latents)
    for step, t in enumerate(timesteps):
        with models.arithmetic():
            out = rows(scaled(latents, t), t).to(latents)
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
    kind, x = prediction_of(scheduler), state.latents
    said = state.guided if prediction is None else prediction
    if kind == "flow":
        return x - noise * said
    if kind == "epsilon":
        return (x - noise * said) / signal
    if kind == "v_prediction":
        return (signal * x - noise * math.hypot(signal, noise) * said) / (signal**2 + noise**2)
    if kind == "sample":
        return said
    raise ValueError(f"prediction_type {kind!r}; known are epsilon, v_prediction, sample, flow")


def prediction_of(scheduler) -> str:
    """Return what the network predicts: "epsilon", "v_prediction", "sample", or "flow"."""
    if hasattr(scheduler, "scale_noise"):
        return "flow"  # noise less clean latents
    return scheduler.config.get("prediction_type", "epsilon")


def mixture(scheduler, timestep: float) -> tuple[float, float]:
    """Return how much signal and noise latents hold at a timestep, as the scheduler mixes them."""
    fresh = copy.copy(scheduler)
    fresh._begin_index = None  # else some schedulers answer for the step that they are at
    one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    nearest = (scheduler.timesteps.cpu() - timestep).abs().argmin()
    at = scheduler.timesteps[nearest : nearest + 1].cpu()
    return tuple(float(with_noise(fresh, *both, at)) for both in ((one, zero), (zero, one)))


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
    editor = models.editor
    shown = torch.zeros_like(latents) if image_latents is None else image_latents
    read = editor.read(prompts, (), shown, text_scale)
    scales = dict(text_scale=text_scale, image_scale=image_scale)
    return guided_steps(
        models, scheduler, timesteps, latents, generators, branches=editor.branches,
        rows=lambda x, t: editor.rows(x, t, read, editor.branches),
        guide=lambda said: editor.guided(said, **scales),
    )  # fmt: skip


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
