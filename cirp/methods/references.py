"""What every real method must be compared with: doing nothing, the round trip, and blending."""

from collections.abc import Sequence

from PIL import Image

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode, encode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.method import MethodSettings, method


@method("nothing", MethodSettings, any_editor=True)
def nothing(
    models: Models, tasks: list[Task], settings: MethodSettings, _: Sequence[Control]
) -> Made:
    """Return the input itself, at the working size: the best preservation there is, and no edit."""
    return Made([task.image for task in tasks], 0)


@method("round trip", MethodSettings, any_editor=True)
def round_trip(
    models: Models, tasks: list[Task], settings: MethodSettings, _: Sequence[Control]
) -> Made:
    """Return the input through the autoencoder and back: no editor of latents preserves more."""
    source = encode([task.image for task in tasks], models)
    return Made(decode(models.editor.clean(source), models), 0)


def blend(edited: Image.Image, source: Image.Image, *, alpha: float) -> Image.Image:
    """Return alpha * source + (1 - alpha) * edited, pixel by pixel.

    Raises `ValueError` if alpha is outside 0 to 1 or the sizes differ.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}; give a share from 0 (the edit) to 1 (the source)")
    if edited.size != source.size:
        raise ValueError(f"cannot blend {edited.size} with {source.size}; fit the source first")
    return Image.blend(edited, source, alpha)
