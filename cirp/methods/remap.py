"""remap: the words' attention is moved to where the edit takes place, and the rest is kept.

Ours. One quick pass of the baseline, all the way to an image in `look_steps` steps, is looked at in
three ways, and each is wrong elsewhere:

- attention of the edit's words (chapter 3) knows *what* is meant, but not how far it reaches;
- the prediction's change with the text, e(I,T) - e(I,0), knows what the instruction does, and it is
  where over-editing starts: it is large in texture far from the object;
- what the quick edit really changed, |z - source|, has the object's outline, and the over-editing.

Their product has only what all three agree on. It is carried along self-attention, so that an
object is taken or left as a whole, and split by Otsu's threshold, so that no number has to be
chosen per image. No mask, no other model, no training; words are the instruction's own.

Then the edit runs once more. Inside the region: the baseline's own guidance. In cross-attention,
outside the region, the text branch takes the attention of the branch without instruction; text
guidance is zero there; and the latents outside are the noised source's. The last step leaves a soft
border of `soften` cells.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cirp.attention import IMAGE, NEITHER, TEXT, Attn, Control, Site
from cirp.editing import (
    Masks,
    Start,
    at,
    begin,
    blurred,
    carry_out,
    keep_outside,
    normalised,
    run,
)
from cirp.finding import Found, Look, abstaining, look, regions
from cirp.models import Models
from cirp.recording import grid_of
from cirp.sampling import Edit, Latents, Made, Task, combine, decode


def carried(maps: Masks, attention: Float[Tensor, "image query key"], times: int) -> Masks:
    """Each cell's mean of the map over what it attends to, `times` over (a random walk)."""
    grid = grid_of(attention.shape[1], tuple(maps.shape[-2:]))
    walk = at(maps, grid).flatten(1).to(attention)
    for _ in range(times):
        walk = torch.einsum("bqk,bk->bq", attention, walk)
    return at(walk.unflatten(1, grid), tuple(maps.shape[-2:]))


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


def evidence(
    seen: Look,
    start: Start,
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0),
    sigma: float = 0.7,
    walk: int = 1,
    strides: Sequence[int] | None = None,
) -> Masks:
    """The product of the three maps, each to the power of its weight, carried, in 0..1."""
    parts = (
        seen.words(strides),
        seen.guidance.abs().sum(dim=1),
        (seen.latents - start.clean).abs().sum(dim=1),
    )
    found = torch.ones_like(parts[1])
    for part, weight in zip(parts, weights, strict=True):
        found = found * normalised(blurred(part.to(found), sigma)) ** weight
    if walk and seen.self_attention is not None:
        found = carried(found, seen.self_attention, walk)
    return normalised(found)


def mask(seen: Look, start: Start, *, grow: float = 1.0, **how) -> Masks:
    """Where the evidence reaches Otsu's threshold times `grow` (under 1 takes more)."""
    found = evidence(seen, start, **how)
    return (found >= grow * otsu(found)).float()


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
    look_steps: int = 10,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),  # words, guidance, what changed
    sigma: float = 0.7,  # latent cells
    walk: int = 1,
    self_stride: int = 2,
    strides: tuple[int, ...] | None = None,
    grow: float = 1.0,
    soften: float = 0.0,  # latent cells
    remap: bool = True,  # of cross-attention; False leaves guidance and latents alone to do it
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mask it used.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    usual = dict(text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    own = dict(weights=weights, sigma=sigma, walk=walk, strides=strides, grow=grow)
    settings = usual | own | dict(steps=steps)
    settings |= dict(
        look_steps=look_steps, self_stride=self_stride, soften=soften, remap=remap,
        abstain=abstain, region=region,
    )  # fmt: skip

    def find(some: list[Task], start: Start) -> Found:
        seen = look(
            models, some, start, steps=look_steps, first=look_steps,
            self_stride=self_stride if walk else None, **usual,
        )  # fmt: skip
        found = mask(seen, start, **own)
        return abstaining(found, evidence(seen, start, **own_evidence), abstain, seen.rows)

    own_evidence = {name: value for name, value in own.items() if name != "grow"}

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
            models, some, start, steps=steps, **usual, guide=guide,
            controls=[*([Remap(masks)] if remap else []), *controls],
            after=keep_outside(masks, start),
        )  # fmt: skip
        return Made(decode(latents, models), found.rows + rows, masks, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="remap",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
