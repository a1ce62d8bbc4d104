"""ZONE's mask: where the begin-of-text token is looked at less than the end-of-text token.

Li et al. 2024, section 3.2: all words of an instruction share one region in InstructPix2Pix, so its
special tokens say it without a keyword. Deviations: without the segmentation model (SAM), the
classifier of instructions and the second editor of the paper, and with a Gaussian in place of its
edge smoother in the frequency domain. What is compared here is the mask.
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
    composite,
    normalised,
    run,
)
from cirp.editing.first_pass import Found, Look, abstaining, look, regions


def contrast(seen: Look, strides: Sequence[int] | None = None) -> Masks:
    """End-of-text minus begin-of-text attention, each stretched to 0..1, and the difference too."""
    first = seen.tokens([[0]] * len(seen.ends), strides)
    last = seen.tokens([[end] for end in seen.ends], strides)
    return normalised(normalised(last) - normalised(first))


def mask(
    seen: Look, *, threshold: float = 108 / 255, strides: Sequence[int] | None = None
) -> Masks:
    """Where the contrast exceeds the threshold."""
    return (contrast(seen, strides) > threshold).float()


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    threshold: float = 108 / 255,
    look_steps: int = 10,
    strides: tuple[int, ...] | None = None,
    soften: float = 0.5,  # of the mask's edge, latent cells
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task, then put the source's own pixels outside the mask.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    own = dict(threshold=threshold, strides=strides)
    settings = usual | own
    settings |= dict(look_steps=look_steps, soften=soften, abstain=abstain, region=region)

    def find(some: list[Task], start: Start) -> Found:
        seen = look(models, some, start, first=min(look_steps, steps), **usual)
        return abstaining(mask(seen, **own), contrast(seen, strides), abstain, seen.rows)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        found = regions(some, start, region, lambda: find(some, start))
        latents, rows = run(models, some, start, **usual, controls=controls)
        soft = blurred(found.masks, soften)
        images = composite(decode(latents, models), [task.image for task in some], soft)
        return Made(images, found.rows + rows, soft, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="zone",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
