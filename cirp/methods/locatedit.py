"""LOCATEdit's refined map: the words' attention smoothed along self-attention.

Soni et al. 2025 (arXiv 2503.21541), section 3.2: the refined map m solves

    (W^2 + weight L) m = W^2 m0,   W = diag sigmoid(steepness (m0 - centre))

with m0 the words' map and L the Laplacian of the graph whose edges are the symmetrised
self-attention: pixels that attend to each other get similar values, those where m0 is sure keep
theirs. Deviation: the paper edits with inversion and Prompt-to-Prompt; here the mask blends
InstructPix2Pix's latents, so that masks are compared and not editors.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cirp.attention.control import Control
from cirp.attention.record import grid_of
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Made, Task, decode
from cirp.editing.driver import Masks, Start, at, begin, carry_out, keep_outside, normalised, run
from cirp.editing.first_pass import Found, Look, abstaining, look, regions


def laplacian(attention: Float[Tensor, "image query key"]) -> Float[Tensor, "image query key"]:
    """D - S of the symmetrised attention S; its rows sum to 0."""
    graph = (attention + attention.mT) / 2
    return torch.diag_embed(graph.sum(dim=-1)) - graph


def refined(
    heat: Masks,
    attention: Float[Tensor, "image query key"],
    *,
    weight: float = 0.78,
    steepness: float = 2.61,
    centre: float = 0.4858,
) -> Masks:
    """The solution m of the system above; `heat` is m0 in 0..1 on the attention's own grid."""
    flat = heat.flatten(1).double()
    sure = torch.sigmoid(steepness * (flat - centre)).square()
    system = torch.diag_embed(sure) + weight * laplacian(attention.double())
    solved = torch.linalg.solve(system, sure * flat)
    return solved.view_as(heat).to(heat)


def mask(
    seen: Look, *, strides: Sequence[int] | None = None, threshold: float = 0.2204, **how
) -> Masks:
    """The refined map of the words, stretched to 0..1 and binarised, on the latents' grid."""
    attention = seen.self_attention
    grid = grid_of(attention.shape[1], seen.grid)
    heat = normalised(at(seen.words(strides), grid))
    return (at(normalised(refined(heat, attention, **how)), seen.grid) >= threshold).float()


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    weight: float = 0.78,
    threshold: float = 0.2204,
    self_stride: int = 2,  # 32 x 32 of 64 x 64 latents
    look_steps: int = 10,
    strides: tuple[int, ...] | None = None,
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mask it used.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    own = dict(weight=weight, threshold=threshold, strides=strides)
    settings = usual | own
    settings |= dict(self_stride=self_stride, look_steps=look_steps, abstain=abstain, region=region)

    def find(some: list[Task], start: Start) -> Found:
        seen = look(
            models, some, start, first=min(look_steps, steps), self_stride=self_stride, **usual
        )
        return abstaining(mask(seen, **own), seen.words(strides), abstain, seen.rows)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        found = regions(some, start, region, lambda: find(some, start))
        kept = keep_outside(found.masks, start)
        latents, rows = run(models, some, start, **usual, controls=controls, after=kept)
        return Made(decode(latents, models), found.rows + rows, found.masks, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="locatedit",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
