"""Prompt-to-Prompt on real images: the target's attention is taken from the source's.

Hertz et al. 2022 (arXiv 2208.01626), section 3.2. The image is inverted by DDIM on its source
caption; then source and target captions are denoised side by side. In the first steps the target's
cross-attention to words that both captions have, or to words that replace others, is the source's,
and so is its self-attention at low resolutions; attention to the edited words is weighted. Local
blending keeps the source's latents outside the edited words' maps. The settings are PIE-Bench's
(Ju et al. 2024), whose direct inversion, `exact`, puts the source back on the path of the inversion
after each step, so that it needs no guidance and ends in the image itself.

Deviations: the source runs at guidance 1, at which it was inverted; the maps for blending come from
all layers unless `strides` says which (the paper's: 4 on 64 x 64 latents).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d
from transformers import CLIPTokenizer

from cirp.attention.alignment import alignment, changed, read
from cirp.attention.control import Attn, Control, controlled
from cirp.attention.maps import token_maps
from cirp.attention.record import Record
from cirp.attention.site import NEITHER, TEXT, Site
from cirp.attention.tokens import token_positions
from cirp.diffusion.ddim_inversion import ddim, invert, latents_after, remaining
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Latents,
    decode,
)
from cirp.diffusion.tasks import Made, Task
from cirp.diffusion.text import Text, encode_prompts, joined, predict
from cirp.editing.driver import begin_edit
from cirp.editing.masks import Masks, given
from cirp.editing.method import Count, Flag, MethodSettings, Portion, Scale, Share, Strides, method

SOURCE = 3  # a branch beside those of cirp.attention.control; TEXT is the target's
BRANCHES = (NEITHER, TEXT, SOURCE)
BLEND_FROM = 0.2  # of the steps
BLEND_CELLS = 16  # the longer side of the maps that blending pools 3 x 3


@dataclass(frozen=True)
class Plan:
    """What two captions say about an edit."""

    mapper: Float[Tensor, "source_token target_token"]
    edited: dict[int, list[int]]  # branch -> positions of the words that differ


def plan(tokenizer: CLIPTokenizer, task: Task) -> Plan:
    """Raise `ValueError` if a target word is not in the caption."""
    source, target = read(tokenizer, task.source_caption), read(tokenizer, task.caption)
    gone, new = changed(tokenizer, source, target)
    if task.target_words:
        positions = (token_positions(tokenizer, task.caption, word) for word in task.target_words)
        new = sorted({p for some in positions for p in some})
    return Plan(alignment(source, target, tokenizer.model_max_length), {SOURCE: gone, TEXT: new})


class ReplaceCross(Control):
    """Attention to aligned tokens is the source's; other columns stay. Rows need not sum to 1."""

    def __init__(
        self, mappers: Float[Tensor, "image source_token target_token"], times: Collection[float]
    ) -> None:
        self.mappers, self.times = mappers, frozenset(times)

    def wants(self, site: Site) -> bool:
        return site.is_cross and site.timestep in self.times

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        mapper = self.mappers.to(probs)[:, None]
        aligned = mapper.sum(dim=-2, keepdim=True) > 0
        taken = probs[site.rows(SOURCE)] @ mapper
        return _with_text(probs, site, torch.where(aligned, taken, probs[site.rows(TEXT)]))


class ReplaceSelf(Control):
    """The target's self-attention is the source's in these layers."""

    def __init__(self, layers: Collection[str], times: Collection[float]) -> None:
        self.layers, self.times = frozenset(layers), frozenset(times)

    def wants(self, site: Site) -> bool:
        return site.layer in self.layers and site.timestep in self.times

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        return _with_text(probs, site, probs[site.rows(SOURCE)])


class Reweight(Control):
    """Attention to some tokens of each image's target caption times a weight."""

    def __init__(
        self, weights: Float[Tensor, "image target_token"], times: Collection[float]
    ) -> None:
        self.weights, self.times = weights, frozenset(times)

    def wants(self, site: Site) -> bool:
        return site.is_cross and site.timestep in self.times

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        weighted = probs[site.rows(TEXT)] * self.weights.to(probs)[:, None, None]
        return _with_text(probs, site, weighted)


def _with_text(probs: Attn, site: Site, text: Float[Tensor, "image head query key"]) -> Attn:
    after = probs.clone()
    after[site.rows(TEXT)] = text
    return after


def coarse(unet) -> list[str]:
    """Return the self-attention layers below the latents' own resolution."""
    fine = ("down_blocks.0.", f"up_blocks.{len(unet.up_blocks) - 1}.")
    names = (name for name, _ in unet.named_modules() if name.endswith(".attn1"))
    return [name for name in names if not name.startswith(fine)]


def blend_mask(
    maps: Float[Tensor, "map row column"], grid: tuple[int, int], threshold: float
) -> Float[Tensor, "new_row new_column"]:
    """1 where any map, pooled 3 x 3 and divided by its maximum, is over the threshold."""
    pooled = interpolate(max_pool2d(maps[None], 3, stride=1, padding=1), size=grid)[0]
    return (pooled > threshold * pooled.amax((-2, -1), keepdim=True)).any(dim=0).to(maps)


def blend_masks(
    record: Record,
    plans: Sequence[Plan],
    grid: tuple[int, int],
    *,
    threshold: float = 0.3,
    strides: Sequence[int] | None = None,
) -> Masks:
    """Each image's mask of the words that differ, of source and target; without any it is empty."""
    size = _pooling_grid(grid)
    masks = []
    for image, plan in enumerate(plans):
        maps = [
            token_maps(
                record, image=image, branch=branch, positions=some, strides=strides, size=size
            ).mean(dim=0)
            for branch, some in plan.edited.items()
            if some
        ]
        masks.append(blend_mask(torch.stack(maps), grid, threshold) if maps else torch.zeros(grid))
    return torch.stack([mask.to(masks[0]) for mask in masks])


def _pooling_grid(grid: tuple[int, int]) -> tuple[int, int]:
    stride = max(1, max(grid) // BLEND_CELLS)
    return tuple(-(-side // stride) for side in grid)


def first(timesteps: Tensor, share: float) -> list[float]:
    """Return the timesteps of the first `share` of the steps."""
    return timesteps[: round(share * len(timesteps))].tolist()


@torch.no_grad()
def side_by_side(
    models: Models,
    scheduler,
    timesteps: Tensor,
    path: Float[Tensor, "step image channel row column"],
    text: dict[int, Text],
    *,
    text_scale: float,
    exact: bool,
    mask: Callable[[int], Masks | None],
) -> tuple[Latents, Masks | None]:
    """Denoise source and target from the end of the path; the target's last latents and mask.

    `mask(step)` says, after each step, where the target may differ from the source; None: anywhere.
    """
    context = joined([text[branch] for branch in BRANCHES])
    source = target = path[-1]
    for step, t in enumerate(timesteps):
        x = torch.cat([target, target, source])
        with models.arithmetic():
            out = predict(models.text.unet, x, t, context)
        neither, wanted, kept = out.to(source).chunk(len(BRANCHES))
        guided = neither + text_scale * (wanted - neither)
        target = scheduler.step(guided, t, target, return_dict=False)[0]
        source = (
            latents_after(path, step)
            if exact
            else scheduler.step(kept, t, source, return_dict=False)[0]
        )
        inside = mask(step)
        if inside is not None:
            target = source + inside[:, None].to(source) * (target - source)
    return target, inside


class Settings(MethodSettings):
    """The paper's shares, with a near-exact inversion."""

    steps: Count = Field(50, description="sampling steps of the whole schedule")
    strength: Portion = Field(0.8, description="share of the schedule the source is inverted to")
    text_scale: Scale = Field(7.5, description="text guidance")
    cross_replace: Share = Field(0.4, description="steps in which cross-attention is replaced")
    self_replace: Share = Field(0.6, description="steps in which self-attention is replaced")
    equalizer: Scale = Field(2.0, description="weight of the target words meanwhile")
    inversion_iterations: Count = Field(3, description="fixed-point steps; the paper's is 1")
    exact: Flag = Field(True, description="the source branch walks the inverted path")
    local_blend: Flag = Field(True, description="keep the source outside the words' maps")
    threshold: Share = Field(0.3, description="of the maps for blending")
    strides: Strides = Field(None, description="layers of the maps for blending")
    region: Literal["found", "given"] = Field("found", description="or the task's own mask")

    @model_validator(mode="after")
    def _runs(self) -> "Settings":
        if self.region == "given" and not self.local_blend:
            raise ValueError("region='given' says where to blend: it needs local_blend=True")
        return self

    @property
    def runs(self) -> str:
        return "text"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption", "source_caption")


def check(tokenizer: CLIPTokenizer, tasks: Sequence[Task], settings: Settings) -> None:
    """Raise `ValueError` for target words that are not in the caption."""
    for task in tasks:
        plan(tokenizer, task)


@method("p2p", Settings, check)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """From the source caption to the caption; target words, if any, are weighted.

    The mask is that of the last step, unless `local_blend` is off. If the captions do not differ
    and no target words are given, it is empty. `controls` see what this method made of the
    attention, in branches `BRANCHES`; they do not see the inversion.
    """
    start, tokenizer = begin_edit(models, tasks), models.text.tokenizer
    plans = [plan(tokenizer, task) for task in tasks]
    scheduler = ddim(models.text, settings.steps)
    timesteps = remaining(scheduler, settings.strength)
    sources = [task.source_caption for task in tasks]
    path = invert(
        models, scheduler, timesteps, start.clean, sources,
        iterations=settings.inversion_iterations,
    )  # fmt: skip
    weights = torch.ones(len(tasks), tokenizer.model_max_length)
    for row, each in zip(weights, plans, strict=True):
        row[each.edited[TEXT]] = settings.equalizer
    record = Record(branches=(TEXT, SOURCE))

    def mask(step: int) -> Masks | None:
        if not settings.local_blend or step < round(BLEND_FROM * len(timesteps)):
            return None
        if settings.region == "given":
            return given(tasks, start.grid)
        how = dict(threshold=settings.threshold, strides=settings.strides)
        return blend_masks(record, plans, start.grid, **how)

    crossed = first(timesteps, settings.cross_replace)
    own = [
        ReplaceCross(torch.stack([each.mapper for each in plans]).to(path.device), crossed),
        Reweight(weights.to(path.device), crossed),
        ReplaceSelf(coarse(models.text.unet), first(timesteps, settings.self_replace)),
    ]
    blends = settings.local_blend and settings.region == "found"
    seen = [record] if blends else []  # what was really used: last
    text = {
        NEITHER: encode_prompts([""], models.text).repeated(len(tasks)),
        TEXT: encode_prompts([task.caption for task in tasks], models.text),
        SOURCE: encode_prompts(sources, models.text),
    }
    with controlled(models.text.unet, *own, *controls, *seen, branches=BRANCHES):
        latents, masks = side_by_side(
            models, scheduler, timesteps, path, text, text_scale=settings.text_scale,
            exact=settings.exact, mask=mask,
        )  # fmt: skip
    rows = (settings.inversion_iterations + len(BRANCHES)) * len(timesteps)
    return Made(decode(latents, models), rows, masks)
