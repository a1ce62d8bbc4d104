"""LOCATEdit's refined map: the words' attention smoothed along self-attention.

Soni et al. 2025 (arXiv 2503.21541), section 3.2: the refined map m solves

    (W^2 + weight L) m = W^2 m0,   W = diag sigmoid(steepness (m0 - centre))

with m0 the words' map and L the Laplacian of the graph whose edges are the symmetrised
self-attention: pixels that attend to each other get similar values, those where m0 is sure keep
theirs. Deviations: the paper edits with inversion and Prompt-to-Prompt; here the mask blends
InstructPix2Pix's latents, so that masks are compared and not editors. It is found once, in a first
look; as released, anew after each step, from all attention until then (`each_step`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from cirp.attention.control import Control
from cirp.attention.record import Record, grid_of
from cirp.attention.site import IMAGE, TEXT
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, State
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import After, Start, begin_edit
from cirp.editing.first_pass import Look, RecordSelf, by_look, positions
from cirp.editing.masks import Found, Masks, abstaining, at, keep_outside, normalised, regions
from cirp.editing.method import Count, Flag, Looking, Share, added, method
from cirp.editing.regional import Constraint, Work, finished, run_constrained


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
    """Solve the system above for m; `heat` is m0, in 0..1, on the grid of the attention."""
    flat = heat.flatten(1).double()
    sure = torch.sigmoid(steepness * (flat - centre)).square()
    system = torch.diag_embed(sure) + weight * laplacian(attention.double())
    solved = torch.linalg.solve(system, sure * flat)
    return solved.view_as(heat).to(heat)


class Settings(Looking):
    """The released code's weight and threshold."""

    weight: Share = Field(0.78, description="of the neighbours, against the words' map itself")
    threshold: Share = Field(0.2204, description="of the refined map")
    self_stride: Count = Field(2, description="self-attention that refines; 32 x 32 of 64 x 64")
    stretched: Flag = added(True, "attention is stretched to 0..1 before it is refined")
    each_step: Flag = added(
        False, "solved after each step of the edit itself, without a first look"
    )


def mask(seen: Look, settings: Settings) -> Masks:
    """Return the refined map of the words, stretched to 0..1 and binarised, on the latents' grid.

    The released code solves for attention as it is; `stretched` brings it to 0..1 before, where
    `centre` and `steepness` of `refined` tell sure from unsure.
    """
    attention = seen.self_attention
    grid = grid_of(attention.shape[1], seen.grid)
    heat = at(seen.words(settings.strides), grid)
    heat = normalised(heat) if settings.stretched else heat
    solved = normalised(refined(heat, attention, weight=settings.weight))
    return (at(solved, seen.grid) >= settings.threshold).float()


class Refining:
    """Latent blending whose region is found again after each step, as attention adds up."""

    def __init__(self, models: Models, tasks: Sequence[Task], start: Start, settings: Settings):
        tokenizer = models.instruct.tokenizer
        self.words = [positions(tokenizer, task, settings.prompt) for task in tasks]
        self.record = Record(tokens=max(map(max, self.words)) + 1)
        self.attention = RecordSelf(settings.self_stride)
        self.start, self.settings = start, settings
        self.found: Found | None = None  # after the latest step

    def seen(self, state: State) -> Look:
        apart = state.predictions[TEXT] - state.predictions[IMAGE]
        change, own = apart.abs().sum(dim=1), self.attention.mean.value
        return Look(self.record, self.words, [], own, change, apart, {}, state.next, 0)

    def after(self, scheduler) -> After:
        def react(state: State) -> Latents:
            seen, s = self.seen(state), self.settings
            self.found = abstaining(mask(seen, s), seen.words(s.strides), s.abstain)
            return keep_outside(self.found.masks, self.start)(scheduler)(state)

        return react


find = by_look(mask, self_stride=lambda settings: settings.self_stride)


@method("locatedit", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Latent blending in the refined region; found after each step, the last step's is shown."""
    work = Work(models, tasks, begin_edit(models, tasks))
    if settings.each_step and settings.region == "found":
        seen = Refining(models, tasks, work.start, settings)
        constraint = Constraint([seen.record, seen.attention], after=seen.after)
        latents, rows = run_constrained(work, settings, constraint, controls)
        return finished(work, latents, rows, settings, seen.found)
    found = regions(tasks, work.start, settings.region, lambda: find(work, settings))
    kept = Constraint(after=keep_outside(found.masks, work.start))
    latents, rows = run_constrained(work, settings, kept, controls)
    return finished(work, latents, rows, settings, found)
