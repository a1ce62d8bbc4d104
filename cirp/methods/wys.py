"""Watch Your Steps: the region is where the instruction changes the noise prediction.

Mirzaei et al. 2023 (arXiv 2308.08947). One call of InstructPix2Pix on the image noised to
`level` gives the relevance map |e(I,T) - e(I,0)|; no attention is read. Deviations: the released
code blends with the source one noise level too high; here it is at the level the latents are at.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch.nn.functional import interpolate

from cirp.attention.control import Control
from cirp.attention.site import IMAGE, TEXT
from cirp.diffusion.ddim_inversion import ddim
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import State, decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import EditorRun, Start, begin_edit
from cirp.editing.masks import (
    Found,
    Masks,
    abstaining,
    composite,
    keep_outside,
    normalised,
    regions,
)
from cirp.editing.method import Flag, Portion, Regional, Share, added, method
from cirp.editing.regional import Constraint, Work, finished, run_constrained


def relevance(
    models: Models,
    tasks: Sequence[Task],
    start: Start,
    *,
    level: float,
    prompt: str = "instruction",
) -> Masks:
    """|e(I,T) - e(I,0)| of the noised source, summed over channels (section 4.1). One call."""
    run = EditorRun(
        models, tasks, start, steps=100, strength=level, text_scale=1.0, image_scale=1.0,
        prompt=prompt, contrast=True,
        scheduler=ddim(models.instruct, 100) if models.editor.controllable else None,
    )  # fmt: skip
    seen: list[State] = []
    run.until(1, seen.append)
    said = seen[0].predictions
    return (said[TEXT] - said[IMAGE]).abs().sum(dim=1)


def relative(change: Masks) -> Masks:
    """Outliers clipped at Q3 + 1.5 IQR, stretched to 0..1."""
    flat = change.flatten(1).float()
    low, high = torch.quantile(flat, torch.tensor([0.25, 0.75]).to(flat), dim=1)
    most = (high + 1.5 * (high - low))[:, None, None]
    return normalised(change.clamp(max=most))


def mask(change: Masks, *, threshold: float = 0.5) -> Masks:
    """Return the relevance map, binarised."""
    return (relative(change) >= threshold).float()


class Settings(Regional):
    """The paper's."""

    level: Portion = Field(0.8, description="share of the schedule the region is looked for at")
    threshold: Share = Field(0.5, description="of the stretched relevance map")
    paste: Flag = Field(True, description="the source's own pixels outside, as the paper does last")
    smooth: Flag = added(
        False, "pixels are pasted by the map brought to their grid and then binarised, as released"
    )


@method("wys", Settings, any_editor=True)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Latent blending in the region of the relevance map."""
    work, seen = Work(models, tasks, begin_edit(models, tasks)), []
    start = work.start

    def find() -> Found:
        change = relevance(models, tasks, start, level=settings.level, prompt=settings.prompt)
        seen.append(change)
        masks = mask(change, threshold=settings.threshold)
        rows = len({*models.editor.branches, IMAGE})  # of the one call
        return abstaining(masks, change, settings.abstain, rows)

    found = regions(tasks, start, settings.region, find)
    kept = Constraint(after=keep_outside(found.masks, start))
    latents, rows = run_constrained(work, settings, kept, controls)
    paste = found.masks if settings.paste else None
    made = finished(work, latents, rows, settings, found, paste)
    if not (settings.paste and settings.smooth and seen):
        return made
    factor = models.editor.factor
    pixels = tuple(side * factor for side in start.grid)
    fine = interpolate(relative(seen[0])[:, None].float(), size=pixels, mode="bilinear")
    whole = torch.tensor(found.abstained)[:, None, None].to(fine.device)
    smooth = ((fine[:, 0] >= settings.threshold) | whole).float()
    return replace(made, images=composite(decode(latents, models), work.sources, smooth))
