"""DiffEdit: where two captions make the model predict different noise, the image may change.

Couairon et al. 2023 (arXiv 2210.11427), section 3: (1) the image is noised half way several times;
the mask is where the predictions for the target caption and for the reference text differ; (2) the
image is inverted by DDIM; (3) it is denoised on the target caption, and outside the mask the
inversion's latents are put back after every step. Normalised as in diffusers' pipeline, where a
cell is in the mask if it differs by over `threshold` times `clamp` times the image's mean.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from cirp.attention.control import Control, controlled
from cirp.diffusion.ddim_inversion import (
    clean_and_noise,
    ddim,
    invert,
    latents_after,
    predictor,
    remaining,
)
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Latents,
    State,
    caption_steps,
)
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import Start, begin_edit, copy_of, drive
from cirp.editing.masks import Found, Masks, regions
from cirp.editing.method import Count, Pasting, Portion, Scale, method
from cirp.editing.regional import Work, finished


def mask(
    difference: Float[Tensor, "image row column"], *, clamp: float = 3.0, threshold: float = 0.5
) -> Masks:
    """1 where the difference, cut off at `clamp` times its mean, is over `threshold` of that."""
    highest = clamp * difference.mean((-2, -1), keepdim=True)
    return (difference.minimum(highest) > threshold * highest).float()


@torch.no_grad()
def differences(
    models: Models,
    start: Start,
    references: Sequence[str],
    captions: Sequence[str],
    *,
    steps: int,
    strength: float = 0.5,
    repeats: int = 10,
) -> Float[Tensor, "image row column"]:
    """|noise said for the caption - for the reference|, the mean over channels and `repeats`."""
    scheduler = ddim(models.text, steps)
    t = remaining(scheduler, strength)[0]
    predict = predictor(models, [*references, *captions])
    generators = [copy_of(one) for one in start.generators]  # the batch's own are left as they are
    total: Tensor | float = 0.0
    for _ in range(repeats):
        noise = randn_tensor(
            tuple(start.clean.shape), generator=generators,
            device=start.clean.device, dtype=start.clean.dtype,
        )  # fmt: skip
        noisy = scheduler.add_noise(start.clean, noise, t.repeat(len(noise))).repeat(2, 1, 1, 1)
        # of a velocity only the part that speaks of noise counts
        _, said = clean_and_noise(
            scheduler, predict(noisy, t), noisy, scheduler.alphas_cumprod[int(t)]
        )
        reference, target = said.chunk(2)
        total = total + (target - reference).abs().mean(dim=1)
    return total / repeats


class Settings(Pasting):
    """The paper's, except for the inversion."""

    steps: Count = Field(50, description="sampling steps of the whole schedule")
    strength: Portion = Field(0.8, description="share of the schedule the source is inverted to")
    text_scale: Scale = Field(7.5, description="text guidance")
    reference: Literal["source", "empty"] = Field("source", description="caption compared with")
    mask_strength: Portion = Field(0.5, description="noise at which the mask is looked for")
    repeats: Count = Field(10, description="noises of the mask")
    clamp: Scale = Field(3.0, description="outliers of the mask, in means")
    threshold: Scale = Field(0.5, description="of the clamped map")
    inversion_iterations: Count = Field(3, description="fixed-point steps; the paper's is 1")
    region: Literal["found", "given"] = Field("found", description="or the task's own mask")

    @property
    def runs(self) -> str:
        return "text"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption", "source_caption") if self.reference == "source" else ("caption",)


@method("diffedit", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Towards the caption."""
    start = begin_edit(models, tasks)
    captions = [task.caption for task in tasks]
    references = [task.source_caption if settings.reference == "source" else "" for task in tasks]

    def find() -> Found:
        apart = differences(
            models, start, references, captions, steps=settings.steps,
            strength=settings.mask_strength, repeats=settings.repeats,
        )  # fmt: skip
        masks = mask(apart, clamp=settings.clamp, threshold=settings.threshold)
        return Found(masks, [False] * len(tasks), 2 * settings.repeats)

    found = regions(tasks, start, settings.region, find)
    scheduler = ddim(models.text, settings.steps)
    timesteps = remaining(scheduler, settings.strength)
    path = invert(
        models, scheduler, timesteps, start.clean, references,
        iterations=settings.inversion_iterations,
    )  # fmt: skip
    inside = found.masks[:, None].to(path)

    def react(state: State) -> Latents:
        return inside * state.next + (1 - inside) * latents_after(path, state.step)

    loop = caption_steps(
        models, scheduler, timesteps, path[-1], captions, start.generators,
        text_scale=settings.text_scale,
    )  # fmt: skip
    with controlled(models.text.unet, *controls) if controls else nullcontext():
        latents, rows = drive(loop, path[-1], react)
    rows += settings.inversion_iterations * len(timesteps)
    return finished(Work(models, tasks, start), latents, rows, settings, found)
