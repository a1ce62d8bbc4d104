"""Latent blending: edit with InstructPix2Pix, keep the noised source outside a mask.

Avrahami et al. 2023 (Blended Latent Diffusion). With the true mask it is the yardstick that knows
where; with the words' own map, binarised, the simplest thing attention can do. `share` < 1 blends
in the last steps only, as Grounded InstructPix2Pix does.
"""

from pydantic import Field

from cirp.editing.first_pass import by_look, words_mask
from cirp.editing.masks import Masks, keep_outside
from cirp.editing.method import Looking, Portion, Scale, Share
from cirp.editing.regional import Constraint, Work, regional


class Settings(Looking):
    """Ours; the paper takes a mask from its user."""

    share: Portion = Field(1.0, description="of the steps that are blended, the last ones")
    threshold: Share = Field(0.4, description="of the blurred and stretched map")
    sigma: Scale = Field(0.5, description="blur of the map, latent cells")


@regional("blending", Settings, by_look(words_mask))
def edit(work: Work, masks: Masks, settings: Settings) -> Constraint:
    """Outside the region the noised source, step by step."""
    return Constraint(after=keep_outside(masks, work.start, share=settings.share))
