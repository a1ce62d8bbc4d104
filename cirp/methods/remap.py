"""remap: the edit is moved to where the instruction writes, and the rest is kept.

Ours. Before anything is edited the model is asked about the *noised source*, with the instruction
and without it, at a few levels of noise (`cirp.editing.noise_probe`). It answers in two ways:

- the prediction's change with the text, |e(I,T) - e(I,0)|: what the instruction would do. Asked of
  the source it is far more local than within a run, where every step adds to what strayed before;
- what cross-attention *writes*, |output(T) - output(0)| in the finest layers. Where a word looks,
  its attention, is a poor guide; how much of what is written there is due to the words, a good one.

Their geometric mean is the evidence, split by Otsu's threshold, so that no number is to be chosen
per image. But an instruction may be about the whole picture. Then the text changes the prediction
nearly everywhere even at the highest levels of noise: if half of the cells exceed `scope` there,
the region is everything but the cells that the text leaves alone. No mask, no other model, no
training, and not even a list of the words that matter.

Then the edit runs once. Inside the region: the baseline's own guidance. Outside: in
cross-attention the text branch attends as the branch without instruction does, text guidance is
zero, latents are the noised source's, and at the end the pixels are the source's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, Strict
from skimage.filters import threshold_otsu
from torch import Tensor

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import Start, begin_edit, run_editor
from cirp.editing.holds import HoldAttention, gated
from cirp.editing.masks import (
    Found,
    Masks,
    abstaining,
    blurred,
    composite,
    keep_outside,
    normalised,
    regions,
)
from cirp.editing.method import Count, Flag, Regional, Scale, Share, Strides, method
from cirp.editing.noise_probe import probe


def otsu(maps: Masks) -> Float[Tensor, "image 1 1"]:
    """The threshold that parts each map's values into two groups furthest apart (Otsu 1979)."""
    found = [threshold_otsu(one) for one in maps.double().cpu().numpy()]
    return torch.tensor(found)[:, None, None].to(maps)


@dataclass(frozen=True)
class Signs:
    """What the noised source shows of a batch of edits, on the latents' grid."""

    near: Masks  # change of the prediction at the lower levels of noise
    written: Masks  # by cross-attention
    far: Masks  # change of the prediction at the highest levels
    rows: int  # UNet rows an image took


def signs(
    models: Models,
    tasks: Sequence[Task],
    start: Start,
    *,
    near: Sequence[float] = (0.5, 0.7, 0.8),
    far: Sequence[float] = (0.9, 1.0),
    writing: float = 0.6,
    draws: int = 4,
    strides: Sequence[int] | None = None,
    prompt: str = "instruction",
) -> Signs:
    """Ask about the source at each level once; `near` and `far` are means over theirs."""
    asked = {
        level: probe(models, tasks, start, level=level, draws=draws, prompt=prompt, strides=strides)
        for level in sorted({*near, *far, writing})
    }
    return Signs(
        torch.stack([asked[level].guidance for level in near]).mean(dim=0),
        asked[writing].written,
        torch.stack([asked[level].guidance for level in far]).mean(dim=0),
        sum(one.rows for one in asked.values()),
    )


def evidence(seen: Signs, *, weight: float = 0.5, sigma: float = 1.0) -> Masks:
    """The weighted geometric mean of what is written and of the prediction's change, in 0..1.

    `weight` is that of the writing, between 0 and 1; `sigma` in latent cells.
    """
    both = seen.near ** (1 - weight) * seen.written**weight
    return normalised(blurred(both, sigma))


def median(maps: Masks) -> Float[Tensor, "image 1 1"]:
    """Each map's median."""
    return maps.flatten(1).median(dim=1).values[:, None, None]


def is_global(seen: Signs, scope: float | None) -> Tensor:
    """Whether the text changes half of the cells by over `scope` at the highest levels; by image.

    None: never.
    """
    if scope is None:
        return torch.zeros(len(seen.far), dtype=torch.bool, device=seen.far.device)
    return (median(seen.far) > scope).flatten()


def mask(
    seen: Signs,
    *,
    weight: float = 0.5,
    sigma: float = 1.0,
    grow: float = 1.0,
    scope: float | None = 0.27,
    spare: float = 0.65,
) -> Masks:
    """Where the evidence reaches `grow` times Otsu's threshold (under 1 takes more).

    For an instruction about the whole picture: where the far change reaches `spare` times its
    median.
    """
    found = evidence(seen, weight=weight, sigma=sigma)
    local = found >= grow * otsu(found)
    whole = seen.far >= spare * median(seen.far)
    return torch.where(is_global(seen, scope)[:, None, None], whole, local).float()


Level = Annotated[float, Strict(), Field(gt=0, le=1)]  # of noise, a share of the schedule


class Settings(Regional):
    """Chosen on validation edits."""

    near: Annotated[tuple[Level, ...], Field(min_length=1)] = Field(
        (0.5, 0.7, 0.8), description="levels of noise at which local edits are asked for"
    )
    far: Annotated[tuple[Level, ...], Field(min_length=1)] = Field(
        (0.9, 1.0), description="levels at which edits of the whole picture show"
    )
    writing: Level = Field(0.6, description="level at which attention's writing is looked at")
    draws: Count = Field(4, description="noises at each level")
    strides: Strides = Field(None, description="layers whose writing counts; None: finest")
    weight: Share = Field(0.5, description="of the writing, against the guidance")
    sigma: Scale = Field(1.0, description="blur of the evidence, latent cells")
    grow: Scale = Field(1.0, description="of Otsu's threshold; under 1 takes more")
    scope: Annotated[float, Strict()] | None = Field(
        0.27, description="guidance above which the whole picture is meant"
    )
    spare: Scale = Field(0.65, description="of the median, under which a whole-picture edit stops")
    soften: Scale = Field(0.0, description="blur of the mask's edge, latent cells")
    remap: Flag = Field(
        True, description="cross-attention; False leaves it to guidance and latents"
    )
    paste: Flag = Field(True, description="the source's own pixels outside")


def asked(models: Models, tasks: Sequence[Task], start: Start, settings: Settings) -> Signs:
    """`signs` as the settings ask for them."""
    return signs(
        models, tasks, start, near=settings.near, far=settings.far, writing=settings.writing,
        draws=settings.draws, strides=settings.strides, prompt=settings.prompt,
    )  # fmt: skip


def region(seen: Signs, settings: Settings) -> Masks:
    """`mask` as the settings split it."""
    return mask(
        seen, weight=settings.weight, sigma=settings.sigma, grow=settings.grow,
        scope=settings.scope, spare=settings.spare,
    )  # fmt: skip


@method("remap", Settings, version=2)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Ask the noised source where; then edit with everything else held."""
    start = begin_edit(models, tasks)

    def find() -> Found:
        seen = asked(models, tasks, start, settings)
        sure = evidence(seen, weight=settings.weight, sigma=settings.sigma)
        return abstaining(region(seen, settings), sure, settings.abstain, seen.rows)

    found = regions(tasks, start, settings.region, find)
    masks = blurred(found.masks, settings.soften)

    latents, rows = run_editor(
        models, tasks, start, **settings.guidance,
        guide=gated(masks, text_scale=settings.text_scale, image_scale=settings.image_scale),
        controls=[*([HoldAttention(masks)] if settings.remap else []), *controls],
        after=keep_outside(masks, start),
    )  # fmt: skip
    images = decode(latents, models)
    if settings.paste:
        images = composite(images, [task.image for task in tasks], masks)
    return Made(images, found.rows + rows, masks, found.abstained)
