"""LEDITS++'s intersected mask: guidance acts only where attention and guidance are both large.

Brack et al. 2024, section 3.3: M = (smoothed attention of the words > its quantile) and
(|guidance| > its quantile), anew at each step. Deviations: InstructPix2Pix from pure noise in place
of an inverted Stable Diffusion, and attention is the mean of the steps so far (`each_step`: that of
the step alone, as released).
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, Strict

from cirp.attention.control import Control
from cirp.attention.maps import token_maps
from cirp.attention.record import Record
from cirp.attention.site import IMAGE, NEITHER, TEXT
from cirp.diffusion.editors import combine
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, scheduler_of
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import Start, begin_edit
from cirp.editing.first_pass import positions
from cirp.editing.masks import Found, Masks, blurred, given, peak
from cirp.editing.method import Flag, Regional, Scale, Strides, added, method
from cirp.editing.regional import Constraint, Work, finished, run_constrained

LATE = 800  # timestep from which the released code intersects


def above(maps: Masks, quantile: float) -> Masks:
    """Where each map exceeds its own quantile."""
    limit = torch.quantile(maps.flatten(1).float(), quantile, dim=1)
    return (maps > limit[:, None, None]).float()


def mask(
    heat: Masks, change: Masks | None, *, quantile: float = 0.9, sigma: float = 0.5,
    blur_change: bool = True,
) -> Masks:  # fmt: skip
    """Return the intersection of both, or the words' alone.

    `change` is |e(I,T) - e(I,0)| summed over channels.
    """
    words = above(blurred(heat, sigma), quantile)
    if change is None:
        return words
    return words * above(blurred(change, sigma if blur_change else 0.0), quantile)


class Settings(Regional):
    """The paper's quantile."""

    quantile: Annotated[float, Strict(), Field(ge=0, lt=1)] = Field(
        0.9, description="of each map that its mask lies above"
    )
    sigma: Scale = Field(0.5, description="blur of the words' map, latent cells")
    strides: Strides = Field(None, description="layers whose attention is read")
    released: Flag = added(
        False, "as in the released code: until timestep 800 attention alone, guidance not blurred"
    )
    each_step: Flag = added(False, "attention of each step alone, not the mean of those so far")


class Watching:
    """Each step's mask, of all attention until then and of this step's predictions."""

    def __init__(self, models: Models, tasks: list[Task], start: Start, settings: Settings):
        tokenizer = models.instruct.tokenizer
        self.words = [positions(tokenizer, task, settings.prompt) for task in tasks]
        times = "step" if settings.each_step else None
        self.record = Record(tokens=max(map(max, self.words)) + 1, times=times)
        self.settings, self.used = settings, []
        self.timesteps = scheduler_of(models.instruct, settings.steps).timesteps.tolist()
        self.diffuse = torch.zeros(len(tasks), dtype=torch.bool)
        oracle = settings.region == "given"
        self.fixed = given(tasks, start.grid).to(start.source) if oracle else None

    def found(self, apart: Latents) -> Masks:
        s, now = self.settings, self.timesteps[len(self.used)]
        how = dict(strides=s.strides, time=now if s.each_step else None)
        heat = torch.stack(
            [
                token_maps(self.record, image=i, positions=words, **how).mean(dim=0)
                for i, words in enumerate(self.words)
            ]
        ).to(apart)
        change = apart.abs().sum(dim=1)
        early = s.released and now > LATE
        masks = mask(
            heat, None if early else change, quantile=s.quantile, sigma=s.sigma,
            blur_change=not s.released,
        ).to(apart)  # fmt: skip
        if s.abstain is not None:
            self.diffuse = (peak(heat) < s.abstain).cpu()
            masks = torch.where(self.diffuse.to(masks.device)[:, None, None], 1.0, masks)
        return masks

    def guide(self, predictions: dict[int, Latents]) -> Latents:
        image = predictions[IMAGE]
        apart = predictions[TEXT] - image
        masks = self.found(apart) if self.fixed is None else self.fixed
        self.used.append(masks)
        return combine(
            image + masks[:, None] * apart, image, predictions[NEITHER],
            text_scale=self.settings.text_scale, image_scale=self.settings.image_scale,
        )  # fmt: skip


@method("ledits", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Return the edit comes with the mean of the masks of its steps."""
    work = Work(models, tasks, begin_edit(models, tasks))
    seen = Watching(models, tasks, work.start, settings)
    reader = [seen.record] if seen.fixed is None else []
    latents, rows = run_constrained(work, settings, Constraint(reader, seen.guide), controls)
    found = Found(torch.stack(seen.used).mean(dim=0), seen.diffuse.tolist())
    return finished(work, latents, rows, settings, found)
