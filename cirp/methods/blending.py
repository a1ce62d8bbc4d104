"""Latent blending: edit with InstructPix2Pix, keep the noised source outside a mask.

Avrahami et al. 2023 (Blended Latent Diffusion). With the true mask it is the yardstick that knows
where; with the words' own map, binarised, the simplest thing attention can do. `share` < 1 blends
in the last steps only, as Grounded InstructPix2Pix does.
"""

from collections.abc import Sequence

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Made, Task, decode
from cirp.editing.driver import (
    Masks,
    Start,
    begin,
    blurred,
    carry_out,
    keep_outside,
    normalised,
    run,
)
from cirp.editing.first_pass import Found, Look, abstaining, look, regions


def mask(
    seen: Look, *, threshold: float = 0.4, sigma: float = 0.5, strides: Sequence[int] | None = None
) -> Masks:
    """Where the words' map, blurred and stretched to 0..1, reaches the threshold."""
    return (normalised(blurred(seen.words(strides), sigma)) >= threshold).float()


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    share: float = 1.0,  # of the steps, the last ones
    threshold: float = 0.4,
    sigma: float = 0.5,  # latent cells
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
    own = dict(threshold=threshold, sigma=sigma, strides=strides)
    settings = usual | own
    settings |= dict(share=share, look_steps=look_steps, abstain=abstain, region=region)

    def find(some: list[Task], start: Start) -> Found:
        seen = look(models, some, start, first=min(look_steps, steps), **usual)
        return abstaining(mask(seen, **own), seen.words(strides), abstain, seen.rows)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        found = regions(some, start, region, lambda: find(some, start))
        kept = keep_outside(found.masks, start, share=share)
        latents, rows = run(models, some, start, **usual, controls=controls, after=kept)
        return Made(decode(latents, models), found.rows + rows, found.masks, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="blending",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
