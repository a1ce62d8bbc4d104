"""Focus on Your Instruction (FoI), a re-implementation: the authors never released code.

Guo & Lin 2024 (CVPR, arXiv 2312.10113), from its abstract and secondary descriptions; what those
leave open is a setting here, and no number of this file is a number of FoI. For each instruction:

1. region: the keywords' attention over the first steps, blurred, then `rounds` times squared and
   stretched to 0..1, binarised;
2. cross-condition attention modulation: inside the region the keywords' scores are raised towards
   the row's maximum, fading with the timestep; outside, the text branch takes the attention of the
   branch without instruction;
3. disentangled sampling, e(0,0) + s_I [e(I,0) - e(0,0)] + s_T sum_i M_i [e(I,T_i) - e(I,0)].

Several instructions are written as one, parted by `separator`; each has its own branch and region.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from cirp.attention.control import Attn, Control, controlled
from cirp.attention.record import grid_of
from cirp.attention.site import IMAGE, NEITHER, TEXT, Site
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, denoise, scheduler_of
from cirp.diffusion.tasks import Made, Task
from cirp.diffusion.text import encode_prompts
from cirp.editing.driver import begin_edit, copy_of, drive
from cirp.editing.first_pass import look, positions
from cirp.editing.instructions import check_separator, instructions, part_of
from cirp.editing.masks import Found, Masks, abstaining, at, blurred, normalised, regions
from cirp.editing.method import (
    Flag,
    Looking,
    Portion,
    Scale,
    Share,
    method,
)
from cirp.editing.regional import Work, finished


def contrasted(heat: Masks, *, sigma: float = 0.5, rounds: int = 2) -> Masks:
    """Blurred, then squared and stretched to 0..1, `rounds` times."""
    found = normalised(blurred(heat, sigma))
    for _ in range(rounds):
        found = normalised(found.square())
    return found


class Modulate(Control):
    """Cross-condition attention modulation of every text branch of a run.

    `branches[i]` has the regions `masks[i]` and the keywords `keywords[i]`.
    """

    def __init__(
        self,
        branches: Sequence[int],
        masks: Sequence[Masks],
        keywords: Sequence[Bool[Tensor, "image token"]],
        *,
        weight: float,
        degree: float,
        borrow: bool,
        until: float,
    ) -> None:
        self.parts = list(zip(branches, masks, keywords, strict=True))
        self.weight, self.degree, self.borrow, self.until = weight, degree, borrow, until

    def wants(self, site: Site) -> bool:
        return site.is_cross and site.timestep >= self.until

    def _inside(self, masks: Masks, count: int, site: Site) -> Float[Tensor, "image 1 query 1"]:
        return at(masks, grid_of(count, site.latent)).flatten(1)[:, None, :, None]

    def on_scores(self, scores: Attn, site: Site) -> Attn:
        fading = self.weight * (site.timestep / 1000) ** self.degree
        changed = scores.clone()
        for branch, masks, keywords in self.parts:
            rows = scores[site.rows(branch)]
            most = rows.amax(dim=-1, keepdim=True)
            key = keywords[:, None, None, : rows.shape[-1]].to(rows)
            inside = self._inside(masks, rows.shape[2], site).to(rows)
            changed[site.rows(branch)] = rows + fading * inside * key * (most - rows)
        return changed

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        if not self.borrow:
            return probs
        changed, without = probs.clone(), probs[site.rows(IMAGE)]
        for branch, masks, _ in self.parts:
            inside = self._inside(masks, probs.shape[2], site).to(probs)
            changed[site.rows(branch)] = inside * probs[site.rows(branch)] + (1 - inside) * without
        return changed


def disentangled(
    said: dict[int, Latents],
    masks: dict[int, Masks],
    *,
    text_scale: float,
    image_scale: float,
) -> Latents:
    """Each instruction's guidance in its own region only; `masks` maps its branch to it."""
    found = said[NEITHER] + image_scale * (said[IMAGE] - said[NEITHER])
    for branch, inside in masks.items():
        found = found + text_scale * inside[:, None].to(found) * (said[branch] - said[IMAGE])
    return found


class Settings(Looking):
    """What the paper says; the rest is ours."""

    separator: str | None = Field(None, description="parts several instructions")
    sigma: Scale = Field(0.5, description="blur of the map, latent cells")
    rounds: int = Field(2, ge=0, description="how often the map is squared and stretched")
    threshold: Share = Field(0.2, description="of the stretched map")
    weight: Scale = Field(1.0, description="of the keywords' scores inside")
    degree: Scale = Field(5.0, description="how fast that fades with the timestep")
    borrow: Flag = Field(True, description="attention without instruction outside")
    share: Portion = Field(1.0, description="of the steps that are modulated, the first ones")

    @model_validator(mode="after")
    def _runs(self) -> "Settings":
        check_separator(self.separator, self.prompt)
        if self.image_until < 1:
            raise ValueError(
                f"image_until={self.image_until}; this method has image guidance to the end"
            )
        return self


def parted(tasks: Sequence[Task], settings: Settings, tokenizer) -> list[list[Task]]:
    """Return the n-th instruction of every task, for each n; tasks with fewer repeat their last."""
    if settings.prompt != "instruction":
        return [list(tasks)]
    each = [instructions(task, settings.separator) for task in tasks]
    return [
        [
            part_of(task, some[min(n, len(some) - 1)], tokenizer)
            for task, some in zip(tasks, each, strict=True)
        ]
        for n in range(max(map(len, each)))
    ]


def keys(part: Sequence[Task], settings: Settings, tokenizer) -> Bool[Tensor, "image token"]:
    """Return True at the tokens of the words that carry the edit."""
    found = torch.zeros(len(part), tokenizer.model_max_length, dtype=torch.bool)
    for i, task in enumerate(part):
        found[i, positions(tokenizer, task, settings.prompt)] = True
    return found


@method("foi", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Return the mask is the union of the instructions' regions."""
    pipe, start = models.instruct, begin_edit(models, tasks)

    def find(part: list[Task]) -> Found:
        first = min(settings.look_steps, settings.steps)
        seen = look(models, part, start, first=first, **settings.guidance)
        heat = seen.words(settings.strides)
        clear = contrasted(heat, sigma=settings.sigma, rounds=settings.rounds)
        masks = (clear >= settings.threshold).float()
        return abstaining(masks, heat, settings.abstain, seen.rows)

    parts = parted(tasks, settings, pipe.tokenizer)
    found = [regions(part, start, settings.region, lambda p=part: find(p)) for part in parts]
    counts = [len(instructions(task, settings.separator)) for task in tasks]
    texts = [TEXT, *range(NEITHER + 1, NEITHER + len(parts))]
    masks = {}
    for n, branch in enumerate(texts):  # an instruction that is said again has no extent
        real = torch.tensor([n == 0 or n < count for count in counts])[:, None, None]
        masks[branch] = found[n].masks.to(start.source) * real.to(start.source)
    scheduler = scheduler_of(pipe, settings.steps)
    last = max(round(settings.share * settings.steps), 1) - 1
    modulate = Modulate(
        texts, list(masks.values()), [keys(part, settings, pipe.tokenizer) for part in parts],
        weight=settings.weight, degree=settings.degree, borrow=settings.borrow,
        until=float(scheduler.timesteps[last]),
    )  # fmt: skip
    branches = (TEXT, IMAGE, NEITHER, *texts[1:])
    empty = encode_prompts([""], pipe).repeated(len(tasks))
    prompts = {
        branch: encode_prompts([getattr(task, settings.prompt) for task in part], pipe)
        for branch, part in zip(texts, parts, strict=True)
    }
    shown = {branch: start.source for branch in branches}
    latents = start.noise * scheduler.init_noise_sigma
    loop = denoise(
        models, pipe.unet, scheduler, scheduler.timesteps, latents,
        [copy_of(g) for g in start.generators],
        branches=branches,
        text=prompts | {IMAGE: empty, NEITHER: empty},
        image=shown | {NEITHER: torch.zeros_like(start.source)},
        guide=lambda e: disentangled(
            e, masks, text_scale=settings.text_scale, image_scale=settings.image_scale
        ),
    )  # fmt: skip
    with controlled(pipe.unet, modulate, *controls, branches=branches):
        latents, rows = drive(loop, latents, None)
    union = torch.stack(list(masks.values())).amax(dim=0)
    diffuse = [any(kinds) for kinds in zip(*(f.abstained for f in found), strict=True)]
    every = Found(union, diffuse, sum(one.rows for one in found))
    return finished(Work(models, tasks, start), latents, rows, settings, every)
