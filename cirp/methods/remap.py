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

import torch
from jaxtyping import Float
from torch import Tensor

from cirp.attention.control import IMAGE, NEITHER, TEXT, Attn, Control, Site
from cirp.attention.record import grid_of
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Latents, Made, Task, combine, decode
from cirp.editing.driver import (
    Masks,
    Start,
    at,
    begin,
    blurred,
    carry_out,
    composite,
    keep_outside,
    normalised,
    run,
)
from cirp.editing.first_pass import Found, abstaining, regions
from cirp.editing.noise_probe import probe


def otsu(maps: Masks, bins: int = 64) -> Float[Tensor, "image 1 1"]:
    """The threshold that parts each map's values into two groups furthest apart (Otsu 1979)."""
    found = []
    for one in maps.flatten(1).float():
        edges = torch.linspace(float(one.min()), float(one.max()), bins + 1)[1:-1]
        low = one[None] < edges[:, None].to(one)
        share = low.float().mean(dim=1)
        first = (one * low).sum(dim=1) / low.sum(dim=1).clamp_min(1)
        second = (one * ~low).sum(dim=1) / (~low).sum(dim=1).clamp_min(1)
        between = share * (1 - share) * (second - first).square()
        best = between == between.max()  # a plateau's middle
        found.append(edges[best].mean())
    return torch.stack(found)[:, None, None].to(maps)


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
    strides: Sequence[int] = (1,),
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
    scope: float | None = 0.14,
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


class Remap(Control):
    """Outside the masks, the text branch attends as the branch without instruction does."""

    def __init__(self, masks: Masks) -> None:
        self.masks = masks

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        grid = grid_of(probs.shape[2], site.latent)
        inside = at(self.masks, grid).flatten(1)[:, None, :, None].to(probs)
        changed = probs.clone()
        text, image = probs[site.rows(TEXT)], probs[site.rows(IMAGE)]
        changed[site.rows(TEXT)] = inside * text + (1 - inside) * image
        return changed


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    near: tuple[float, ...] = (0.5, 0.7, 0.8),  # levels of noise, shares of the schedule
    far: tuple[float, ...] = (0.9, 1.0),
    writing: float = 0.6,
    draws: int = 4,
    strides: tuple[int, ...] = (1,),  # latent cells, of the layers whose writing counts
    weight: float = 0.5,
    sigma: float = 1.0,  # latent cells
    grow: float = 1.0,
    scope: float | None = 0.14,
    spare: float = 0.65,
    soften: float = 0.0,  # latent cells
    remap: bool = True,  # of cross-attention; False leaves guidance and latents alone to do it
    paste: bool = True,  # the source's own pixels outside
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mask it used.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    if not (near and far and all(0 < level <= 1 for level in (*near, *far, writing))):
        raise ValueError(
            f"near={near}, far={far}, writing={writing}; give levels of noise over 0 and up to 1"
        )
    if not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws={draws!r}; give a whole number of at least 1")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight}; give a share from 0 to 1")
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    asking = dict(near=near, far=far, writing=writing, draws=draws, strides=strides)
    splitting = dict(weight=weight, sigma=sigma, grow=grow, scope=scope, spare=spare)
    settings = usual | asking | splitting
    settings |= dict(soften=soften, remap=remap, paste=paste, abstain=abstain, region=region)

    def find(some: list[Task], start: Start) -> Found:
        seen = signs(models, some, start, prompt=prompt, **asking)
        sure = evidence(seen, weight=weight, sigma=sigma)
        return abstaining(mask(seen, **splitting), sure, abstain, seen.rows)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        found = regions(some, start, region, lambda: find(some, start))
        masks = blurred(found.masks, soften)

        def guide(said: dict[int, Latents]) -> Latents:
            inside = masks[:, None].to(said[TEXT])
            text = said[IMAGE] + inside * (said[TEXT] - said[IMAGE])
            return combine(
                text, said[IMAGE], said[NEITHER], text_scale=text_scale, image_scale=image_scale
            )

        latents, rows = run(
            models, some, start, **usual, guide=guide,
            controls=[*([Remap(masks)] if remap else []), *controls],
            after=keep_outside(masks, start),
        )  # fmt: skip
        images = decode(latents, models)
        if paste:
            images = composite(images, [task.image for task in some], masks)
        return Made(images, found.rows + rows, masks, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="remap",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
