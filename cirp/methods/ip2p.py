"""InstructPix2Pix (Brooks et al. 2023): the baseline.

Source image concatenated as extra input, pure noise to start with, two guidance scales. Equal to
diffusers' StableDiffusionInstructPix2PixPipeline, except that any image scale is taken at its word.
"""

from collections.abc import Sequence

from pydantic import Field

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import begin_edit, run_editor
from cirp.editing.method import Count, Guided, method


class Settings(Guided):
    """The report's baseline."""

    steps: Count = Field(150, description="sampling steps")


@method("ip2p", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Pure noise, the source concatenated."""
    start = begin_edit(models, tasks)
    latents, rows = run_editor(models, tasks, start, **settings.guidance, controls=controls)
    return Made(decode(latents, models), rows)
