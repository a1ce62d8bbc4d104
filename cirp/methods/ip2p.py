"""InstructPix2Pix (Brooks et al. 2023): the baseline.

Source image concatenated as extra input, pure noise to start with, two guidance scales. Equal to
diffusers' StableDiffusionInstructPix2PixPipeline, but it applies every image scale literally.
"""

from collections.abc import Sequence

from pydantic import Field

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import begin_edit
from cirp.editing.method import Count, Guided, method
from cirp.editing.regional import Constraint, Work, finished, run_constrained


class Settings(Guided):
    """The report's baseline."""

    steps: Count = Field(150, description="sampling steps")


@method("ip2p", Settings, any_editor=True)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Pure noise, the source concatenated."""
    work = Work(models, tasks, begin_edit(models, tasks))
    latents, rows = run_constrained(work, settings, Constraint(), controls)
    return finished(work, latents, rows, settings)
