"""ZONE's mask: where the begin-of-text token is looked at less than the end-of-text token.

Li et al. 2024, section 3.2: all words of an instruction share one region in InstructPix2Pix, so its
special tokens say it without a keyword. Deviations: without the segmentation model (SAM), the
classifier of instructions and the second editor of the paper, and with a Gaussian in place of its
edge smoother in the frequency domain. What is compared here is the mask.
"""

from collections.abc import Sequence

from pydantic import Field

from cirp.editing.first_pass import Look, by_look
from cirp.editing.masks import Masks, blurred, normalised
from cirp.editing.method import Flag, Looking, Scale, Share, added
from cirp.editing.regional import Constraint, Work, regional


class Settings(Looking):
    """The released code's threshold."""

    threshold: Share = Field(108 / 255, description="of the stretched contrast")
    soften: Scale = Field(0.5, description="blur of the mask's edge, latent cells")
    released: Flag = added(False, "the contrast as in the released code")


def _ends(seen: Look, strides: Sequence[int] | None) -> tuple[Masks, Masks]:
    """Return the maps of begin and end of text."""
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


def mask(seen: Look, settings: Settings) -> Masks:
    """Where the contrast exceeds the threshold; as `released`, where its inverse does not."""
    if settings.released:
        return (contrast_released(seen, settings.strides) >= 1 - settings.threshold).float()
    return (contrast(seen, settings.strides) > settings.threshold).float()


@regional("zone", Settings, by_look(mask, lambda seen, settings: contrast(seen, settings.strides)))
def edit(work: Work, masks: Masks, settings: Settings) -> Constraint:
    """Return the baseline's edit, and outside the mask the source's own pixels."""
    return Constraint(paste=blurred(masks, settings.soften))
