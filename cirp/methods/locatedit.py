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
from pydantic import Field
from torch import Tensor

from cirp.attention.control import Control
from cirp.attention.record import grid_of
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import begin_edit, run_editor
from cirp.editing.first_pass import Look, seen_regions
from cirp.editing.masks import Masks, at, keep_outside, normalised
from cirp.editing.method import Count, Flag, Looking, Share, added, method


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
    seen: Look,
    *,
    strides: Sequence[int] | None = None,
    threshold: float = 0.2204,
    stretched: bool = True,
    **how,
) -> Masks:
    """The refined map of the words, stretched to 0..1 and binarised, on the latents' grid.

    The released code solves for attention as it is; `stretched` brings it to 0..1 before, where
    `centre` and `steepness` tell sure from unsure.
    """
    attention = seen.self_attention
    grid = grid_of(attention.shape[1], seen.grid)
    heat = at(seen.words(strides), grid)
    heat = normalised(heat) if stretched else heat
    return (at(normalised(refined(heat, attention, **how)), seen.grid) >= threshold).float()


class Settings(Looking):
    """The released code's weight and threshold."""

    weight: Share = Field(0.78, description="of the neighbours, against the words' map itself")
    threshold: Share = Field(0.2204, description="of the refined map")
    self_stride: Count = Field(2, description="self-attention that refines; 32 x 32 of 64 x 64")
    stretched: Flag = added(True, "attention is stretched to 0..1 before it is refined")


@method("locatedit", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Latent blending in the refined region."""
    start = begin_edit(models, tasks)
    found = seen_regions(
        models, tasks, start, settings,
        lambda seen: mask(
            seen, weight=settings.weight, threshold=settings.threshold, strides=settings.strides,
            stretched=settings.stretched,
        ),
        self_stride=settings.self_stride,
    )  # fmt: skip
    kept = keep_outside(found.masks, start)
    latents, rows = run_editor(
        models, tasks, start, **settings.guidance, controls=controls, after=kept
    )
    return Made(decode(latents, models), found.rows + rows, found.masks, found.abstained)
