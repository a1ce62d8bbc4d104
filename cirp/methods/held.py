"""The baseline with a given region, and a choice of what is held outside of it.

No method to compete with, but the instrument that takes the others apart: each of them is a region
and something that is held. Run with the true region, with its complement, with another picture's or
with the same dose everywhere, it says what holding does, and what its place does.
"""

from typing import Literal

from pydantic import Field

from cirp.editing.holds import HoldAttention, gated
from cirp.editing.masks import Masks, keep_outside
from cirp.editing.method import Flag, Guided
from cirp.editing.regional import Constraint, Work, regional


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
    """Return the masks, or each one's mean everywhere."""
    if dose == "even":
        return masks.mean((-2, -1), keepdim=True).expand_as(masks).contiguous()
    return masks


@regional("held", Settings)
def edit(work: Work, masks: Masks, settings: Settings) -> Constraint:
    """Return what is asked for is held outside of the tasks' masks."""
    masks = dosed(masks, settings.dose)
    scales = dict(text_scale=settings.text_scale, image_scale=settings.image_scale)
    held = ((True, settings.cross_held), (False, settings.self_held))
    return Constraint(
        [HoldAttention(masks, cross=cross) for cross, wanted in held if wanted],
        gated(masks, work.models.editor, **scales) if settings.guidance_held else None,
        keep_outside(masks, work.start) if settings.latents_held else None,
        masks if settings.paste else None,
    )
