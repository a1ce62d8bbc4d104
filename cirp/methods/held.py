"""The baseline with a given region, and a choice of what is held outside of it, or muted.

No method to compete with, but the instrument that takes the others apart: each of them is a region
and something that is held. Run with the true region, with its complement, with another picture's or
with the same dose everywhere, it says what holding does, and what its place does. With tokens
muted, it says which of them carry the edit.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool
from pydantic import Field, model_validator
from torch import Tensor

from cirp.editing.constraints import HoldAttention, Mute, gated
from cirp.editing.first_pass import positions, prompt_and_words
from cirp.editing.masks import Masks, keep_outside
from cirp.editing.method import Flag, Guided, added
from cirp.editing.regional import Constraint, Work, regional

Group = Literal["begin", "words", "others", "end", "padding"]  # of a prompt's tokens: all there are
GROUPS = get_args(Group)


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
    mute: tuple[Group, ...] = added(
        (), "tokens without attention: begin of text, the edit's words, other words, ..."
    )

    @model_validator(mode="after")
    def _leaves_a_token(self) -> "Settings":
        if set(self.mute) == set(GROUPS):
            raise ValueError("mute leaves no token to attend to; leave one group out")
        return self


def muted(work: Work, settings: Settings) -> Bool[Tensor, "image token"]:
    """Return which tokens of each edit's prompt are muted."""
    tokenizer = work.models.instruct.tokenizer
    found = torch.zeros(len(work.tasks), tokenizer.model_max_length, dtype=torch.bool)
    for row, task in zip(found, work.tasks, strict=True):
        prompt, _ = prompt_and_words(task, settings.prompt)
        end = len(tokenizer(prompt).input_ids) - 1
        words = positions(tokenizer, task, settings.prompt)
        places = {
            "begin": [0], "words": words, "others": sorted({*range(1, end)} - {*words}),
            "end": [end], "padding": list(range(end + 1, len(row))),
        }  # fmt: skip
        row[[place for group in settings.mute for place in places[group]]] = True
    return found


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
    quiet = [Mute(muted(work, settings))] if settings.mute else []
    return Constraint(
        [*quiet, *(HoldAttention(masks, cross=cross) for cross, wanted in held if wanted)],
        gated(masks, work.models.editor, **scales) if settings.guidance_held else None,
        keep_outside(masks, work.start) if settings.latents_held else None,
        masks if settings.paste else None,
    )
