"""Noisy input: start from the noised input image, never concatenate it.

The report gives "image 0.4-0.55, text guidance 12-15" and refined target captions. Two readings:

- `variant="text-to-image"`: the text-to-image UNet on the target caption, SDEdit (Meng et al. 2022)
  as in diffusers' img2img. 0.4-0.55 is the *strength*, the share of the noise schedule that the
  input is noised to; 12-15 is the guidance scale. This is what captions as prompts amount to.
- `variant="instruct-pix2pix"`: the InstructPix2Pix UNet, started from the noised input, with zeros
  for image latents, its own "no image" condition. Without an image the image scale multiplies
  nothing; `concatenate=True` shows the image as well, and then `image_scale` counts.

Reading 0.4-0.55 as an image guidance scale of the baseline is `ip2p.edit(image_scale=0.5)`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

from pydantic import Field, model_validator

from cirp.attention.control import Control, controlled
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Latents,
    caption_steps,
    decode,
    finish,
    noised,
    scheduler_of,
)
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import Start, begin_edit, run_editor
from cirp.editing.method import Count, Flag, MethodSettings, Portion, Scale, method


class Settings(MethodSettings):
    """The report's settings, in the reading that captions as prompts amount to."""

    variant: Literal["text-to-image", "instruct-pix2pix"] = Field(
        "text-to-image", description="which UNet"
    )
    steps: Count = Field(150, description="sampling steps of the whole schedule")
    strength: Portion = Field(0.5, description="share of the schedule the input is noised to")
    text_scale: Scale = Field(12.0, description="text guidance")
    image_scale: Scale | None = Field(None, description="image guidance, if concatenated")
    concatenate: Flag = Field(False, description="show the image as well (instruct-pix2pix)")
    prompt: Literal["instruction", "caption"] = Field("caption", description="what it is given")

    @model_validator(mode="after")
    def _says_something(self) -> "Settings":
        if self.concatenate and self.variant == "text-to-image":
            raise ValueError(
                "concatenate=True needs variant='instruct-pix2pix': eight input channels"
            )
        if self.image_scale is not None and not self.concatenate:
            raise ValueError(
                f"image_scale={self.image_scale} multiplies nothing unless concatenate=True; "
                "drop it"
            )
        return self

    @property
    def runs(self) -> str:
        return "text" if self.variant == "text-to-image" else "instruct"


@method("noisy", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Of `steps` steps int(steps * strength) are run, as in img2img."""
    start = begin_edit(models, tasks)
    if settings.variant == "text-to-image":
        latents, rows = _captioned(models, tasks, start, settings, controls)
    else:
        latents, rows = run_editor(
            models, tasks, start, steps=settings.steps, strength=settings.strength,
            text_scale=settings.text_scale,
            image_scale=1.0 if settings.image_scale is None else settings.image_scale,
            prompt=settings.prompt, concatenate=settings.concatenate, controls=controls,
        )  # fmt: skip
    return Made(decode(latents, models), rows)


def _captioned(
    models: Models, tasks: list[Task], start: Start, settings: Settings, controls: Sequence[Control]
) -> tuple[Latents, int]:
    scheduler = scheduler_of(models.text, settings.steps)
    latents, timesteps = noised(scheduler, start.clean, start.noise, settings.strength)
    prompts = [getattr(task, settings.prompt) for task in tasks]
    loop = caption_steps(
        models, scheduler, timesteps, latents, prompts, start.generators,
        text_scale=settings.text_scale,
    )  # fmt: skip
    with controlled(models.text.unet, *controls) if controls else nullcontext():
        return finish(loop, latents)
