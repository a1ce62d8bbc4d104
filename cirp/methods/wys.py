"""Watch Your Steps: the region is where the instruction changes the noise prediction.

Mirzaei et al. 2023 (arXiv 2308.08947). One call of InstructPix2Pix on the image noised to
`level` gives the relevance map |e(I,T) - e(I,0)|; no attention is read. Deviations: the released
code blends with the source one noise level too high; here it is at the level the latents are at.
"""

from collections.abc import Sequence

import torch

from cirp.attention.control import IMAGE, TEXT, Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Made, Task, decode, instruct_steps, noised, scheduler
from cirp.editing.driver import (
    Masks,
    Start,
    begin,
    carry_out,
    composite,
    keep_outside,
    normalised,
    run,
)
from cirp.editing.first_pass import Found, abstaining, regions


def relevance(models: Models, tasks: Sequence[Task], start: Start, *, level: float) -> Masks:
    """|e(I,T) - e(I,0)| of the noised source, summed over channels (section 4.1). One call."""
    mine = scheduler(models.instruct, 100)
    latents, timesteps = noised(mine, start.clean, start.noise, level)
    steps = instruct_steps(
        models, mine, timesteps[:1], latents, start.source, [t.instruction for t in tasks],
        start.generators, text_scale=1.0, image_scale=1.0,
    )  # fmt: skip
    said = next(steps).predictions
    return (said[TEXT] - said[IMAGE]).abs().sum(dim=1)


def mask(change: Masks, *, threshold: float = 0.5) -> Masks:
    """Outliers clipped at Q3 + 1.5 IQR, stretched to 0..1, binarised."""
    flat = change.flatten(1).float()
    low, high = torch.quantile(flat, torch.tensor([0.25, 0.75]).to(flat), dim=1)
    most = (high + 1.5 * (high - low))[:, None, None]
    return (normalised(change.clamp(max=most)) >= threshold).float()


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    level: float = 0.8,  # share of the noise schedule the region is looked for at
    threshold: float = 0.5,
    abstain: float | None = None,
    paste: bool = True,  # the source's own pixels outside, as the paper does last
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mask it used.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    settings = usual | dict(
        level=level, threshold=threshold, abstain=abstain, paste=paste, region=region
    )

    def find(some: list[Task], start: Start) -> Found:
        change = relevance(models, some, start, level=level)
        return abstaining(mask(change, threshold=threshold), change, abstain, rows=3)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        found = regions(some, start, region, lambda: find(some, start))
        kept = keep_outside(found.masks, start)
        latents, rows = run(models, some, start, **usual, controls=controls, after=kept)
        images = decode(latents, models)
        if paste:
            images = composite(images, [task.image for task in some], found.masks)
        return Made(images, found.rows + rows, found.masks, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="wys",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
