"""The baseline with a given region, and a choice of what is held outside of it.

No method to compete with, but the instrument that takes the others apart: each of them is a region
and something that is held. Run with the true region, with its complement, with another picture's or
with the same dose everywhere, it says what holding does, and what its place does.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import begin_edit, run_editor
from cirp.editing.holds import HoldAttention, gated
from cirp.editing.masks import Masks, composite, given, keep_outside
from cirp.editing.method import Flag, Guided, method


class Settings(Guided):
    """With nothing held it is the baseline."""

    region: Literal["given"] = Field("given", description="the task's own mask")
    dose: Literal["place", "even"] = Field(
        "place", description="even: everywhere the mask's mean, so that only its place is lost"
    )
    guidance_held: Flag = Field(False, description="text guidance is zero outside")
    cross_held: Flag = Field(False, description="cross-attention is that without instruction")
    self_held: Flag = Field(False, description="self-attention is that without instruction")
    latents_held: Flag = Field(False, description="latents are the noised source's")
    paste: Flag = Field(False, description="pixels are the source's")


def dosed(masks: Masks, dose: str) -> Masks:
    """The masks, or each one's mean everywhere."""
    if dose == "even":
        return masks.mean((-2, -1), keepdim=True).expand_as(masks).contiguous()
    return masks


@method("held", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Once, with what is asked for held outside of the tasks' masks."""
    start = begin_edit(models, tasks)
    masks = dosed(given(tasks, start.grid).to(start.source), settings.dose)
    scales = dict(text_scale=settings.text_scale, image_scale=settings.image_scale)
    attention = [
        HoldAttention(masks, cross=cross)
        for cross, wanted in ((True, settings.cross_held), (False, settings.self_held))
        if wanted
    ]
    latents, rows = run_editor(
        models, tasks, start, **settings.guidance, controls=[*attention, *controls],
        guide=gated(masks, **scales) if settings.guidance_held else None,
        after=keep_outside(masks, start) if settings.latents_held else None,
    )  # fmt: skip
    images = decode(latents, models)
    if settings.paste:
        images = composite(images, [task.image for task in tasks], masks)
    return Made(images, rows, masks.to(torch.float32))
