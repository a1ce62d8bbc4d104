"""Latent blending: edit with InstructPix2Pix, keep the noised source outside a mask.

Avrahami et al. 2023 (Blended Latent Diffusion). With the true mask it is the yardstick that knows
where; with the words' own map, binarised, the simplest thing attention can do. `share` < 1 blends
in the last steps only, as Grounded InstructPix2Pix does.
"""

from collections.abc import Sequence

from pydantic import Field

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import begin_edit, run_editor
from cirp.editing.first_pass import Look, seen_regions
from cirp.editing.masks import Masks, blurred, keep_outside, normalised
from cirp.editing.method import Looking, Portion, Scale, Share, method


def mask(
    seen: Look, *, threshold: float = 0.4, sigma: float = 0.5, strides: Sequence[int] | None = None
) -> Masks:
    """Where the words' map, blurred and stretched to 0..1, reaches the threshold."""
    return (normalised(blurred(seen.words(strides), sigma)) >= threshold).float()


class Settings(Looking):
    """Ours; the paper takes a mask from its user."""

    share: Portion = Field(1.0, description="of the steps that are blended, the last ones")
    threshold: Share = Field(0.4, description="of the blurred and stretched map")
    sigma: Scale = Field(0.5, description="blur of the map, latent cells")


@method("blending", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Outside the region the noised source, step by step."""
    start = begin_edit(models, tasks)
    found = seen_regions(
        models, tasks, start, settings,
        lambda seen: mask(
            seen, threshold=settings.threshold, sigma=settings.sigma, strides=settings.strides
        ),
    )  # fmt: skip
    kept = keep_outside(found.masks, start, share=settings.share)
    latents, rows = run_editor(
        models, tasks, start, **settings.guidance, controls=controls, after=kept
    )
    return Made(decode(latents, models), found.rows + rows, found.masks, found.abstained)
