"""ZONE's mask: where the begin-of-text token is looked at less than the end-of-text token.

Li et al. 2024, section 3.2: all words of an instruction share one region in InstructPix2Pix, so its
special tokens say it without a keyword. Deviations: without the segmentation model (SAM), the
classifier of instructions and the second editor of the paper, and with a Gaussian in place of its
edge smoother in the frequency domain. What is compared here is the mask.
"""

from collections.abc import Sequence

from pydantic import Field

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import begin_edit, run_editor
from cirp.editing.first_pass import Look, seen_regions
from cirp.editing.masks import Masks, blurred, composite, normalised
from cirp.editing.method import Flag, Looking, Scale, Share, added, method


def _ends(seen: Look, strides: Sequence[int] | None) -> tuple[Masks, Masks]:
    """The maps of begin and end of text."""
    count = len(seen.ends)
    return seen.tokens([[0]] * count, strides), seen.tokens([[end] for end in seen.ends], strides)


def contrast(seen: Look, strides: Sequence[int] | None = None) -> Masks:
    """End-of-text minus begin-of-text attention, each stretched to 0..1, and the difference too."""
    first, last = _ends(seen, strides)
    return normalised(normalised(last) - normalised(first))


def contrast_released(seen: Look, strides: Sequence[int] | None = None) -> Masks:
    """1 minus twice what begin-of-text exceeds end-of-text by, each divided by its maximum.

    As ZONE @9788584, msk_from_attn.py, but for the rounding to bytes.
    """
    first, last = (one / one.amax((-2, -1), keepdim=True) for one in _ends(seen, strides))
    return 1 - 2 * (first - last).clamp(0, 0.5)


def mask(
    seen: Look,
    *,
    threshold: float = 108 / 255,
    strides: Sequence[int] | None = None,
    released: bool = False,
) -> Masks:
    """Where the contrast exceeds the threshold; as `released`, where its inverse does not."""
    if released:
        return (contrast_released(seen, strides) >= 1 - threshold).float()
    return (contrast(seen, strides) > threshold).float()


class Settings(Looking):
    """The released code's threshold."""

    threshold: Share = Field(108 / 255, description="of the stretched contrast")
    soften: Scale = Field(0.5, description="blur of the mask's edge, latent cells")
    released: Flag = added(False, "the contrast as in the released code")


@method("zone", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """The baseline's edit, and outside the mask the source's own pixels."""
    start = begin_edit(models, tasks)
    found = seen_regions(
        models, tasks, start, settings,
        lambda seen: mask(
            seen, threshold=settings.threshold, strides=settings.strides,
            released=settings.released,
        ),
        evidence=lambda seen: contrast(seen, settings.strides),
    )  # fmt: skip
    latents, rows = run_editor(models, tasks, start, **settings.guidance, controls=controls)
    soft = blurred(found.masks, settings.soften)
    images = composite(decode(latents, models), [task.image for task in tasks], soft)
    return Made(images, found.rows + rows, soft, found.abstained)
