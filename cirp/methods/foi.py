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
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cirp.attention.control import IMAGE, NEITHER, TEXT, Attn, Control, Site, controlled
from cirp.attention.record import grid_of
from cirp.attention.tokens import word_positions
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Latents, Made, Task, decode, scheduler, states
from cirp.diffusion.sampling import run as loop
from cirp.editing.driver import (
    Masks,
    Start,
    at,
    begin,
    blurred,
    carry_out,
    copy_of,
    drive,
    normalised,
)
from cirp.editing.first_pass import Found, abstaining, look, positions, regions


def contrasted(heat: Masks, *, sigma: float = 0.5, rounds: int = 2) -> Masks:
    """Blurred, then squared and stretched to 0..1, `rounds` times."""
    found = normalised(blurred(heat, sigma))
    for _ in range(rounds):
        found = normalised(found.square())
    return found


def instructions(task: Task, separator: str | None) -> list[str]:
    """The parts of the instruction, each an instruction of its own."""
    parts = task.instruction.split(separator) if separator else [task.instruction]
    return [part.strip() for part in parts if part.strip()]


def part_of(task: Task, said: str, tokenizer) -> Task:
    """The task with one of its instructions, and those of its words that stand in it."""
    mine = []
    for word in task.words:
        try:
            word_positions(tokenizer, said, word)
            mine.append(word)
        except ValueError:
            continue
    return replace(task, instruction=said, words=tuple(mine))


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


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    separator: str | None = None,
    look_steps: int = 10,
    sigma: float = 0.5,  # latent cells
    rounds: int = 2,
    threshold: float = 0.2,
    strides: tuple[int, ...] | None = None,
    weight: float = 1.0,  # of the keywords' scores
    degree: float = 5.0,  # how fast that fades with the timestep
    borrow: bool = True,  # attention without instruction outside
    share: float = 1.0,  # of the steps that are modulated, the first ones
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the union of its instructions' regions.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    settings = usual | dict(
        separator=separator, look_steps=look_steps, sigma=sigma, rounds=rounds,
        threshold=threshold, strides=strides, weight=weight, degree=degree, borrow=borrow,
        share=share, abstain=abstain, region=region,
    )  # fmt: skip
    pipe = models.instruct
    if separator and prompt != "instruction":
        raise ValueError(f"separator={separator!r} parts instructions; drop prompt={prompt!r}")

    def find(some: list[Task], start: Start) -> Found:
        seen = look(models, some, start, first=min(look_steps, steps), **usual)
        heat = seen.words(strides)
        masks = (contrasted(heat, sigma=sigma, rounds=rounds) >= threshold).float()
        return abstaining(masks, heat, abstain, seen.rows)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        each = [instructions(task, separator) for task in some]
        count = max(map(len, each))
        parts = [  # those with fewer say the last again, in a region of no extent
            [
                part_of(t, said[min(n, len(said) - 1)], pipe.tokenizer)
                for t, said in zip(some, each, strict=True)
            ]
            for n in range(count)
        ]
        if prompt != "instruction":
            parts = [list(some)]
        found = [regions(part, start, region, lambda p=part: find(p, start)) for part in parts]
        texts = [TEXT, *range(NEITHER + 1, NEITHER + count)]
        masks = {}
        for n, branch in enumerate(texts):
            real = torch.tensor([n < len(said) for said in each])[:, None, None]
            masks[branch] = found[n].masks.to(start.source) * real.to(start.source)
        keywords = []
        for part in parts:
            key = torch.zeros(len(some), pipe.tokenizer.model_max_length, dtype=torch.bool)
            for i, task in enumerate(part):
                key[i, positions(pipe.tokenizer, task, prompt)] = True
            keywords.append(key)
        mine = scheduler(pipe, steps)
        last = max(round(share * steps), 1) - 1
        modulate = Modulate(
            texts, list(masks.values()), keywords, weight=weight, degree=degree, borrow=borrow,
            until=float(mine.timesteps[last]),
        )  # fmt: skip
        branches = (TEXT, IMAGE, NEITHER, *texts[1:])
        empty = states([""], pipe).expand(len(some), -1, -1)
        said = {
            branch: states([getattr(task, prompt) for task in part], pipe)
            for branch, part in zip(texts, parts, strict=True)
        }
        shown = {branch: start.source for branch in branches}
        latents = start.noise * mine.init_noise_sigma
        run = loop(
            models, pipe.unet, mine, mine.timesteps, latents,
            [copy_of(g) for g in start.generators],
            branches=branches,
            text=said | {IMAGE: empty, NEITHER: empty},
            image=shown | {NEITHER: torch.zeros_like(start.source)},
            guide=lambda e: disentangled(
                e, masks, text_scale=text_scale, image_scale=image_scale
            ),
        )  # fmt: skip
        with controlled(pipe.unet, modulate, *controls, branches=branches):
            latents, rows = drive(run, latents, None)
        union = torch.stack(list(masks.values())).amax(dim=0)
        diffuse = [any(kinds) for kinds in zip(*(f.abstained for f in found), strict=True)]
        return Made(decode(latents, models), sum(f.rows for f in found) + rows, union, diffuse)

    return carry_out(
        models,
        tasks,
        one,
        method="foi",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
