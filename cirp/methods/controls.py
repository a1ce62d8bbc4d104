"""What every real method must be compared with: doing nothing, the round trip, and blending."""

from collections.abc import Sequence

from PIL import Image

from cirp.data.images import fit
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Made, Task, decode, encode, in_batches, working_size


def nothing(models: Models, tasks: Sequence[Task], **_) -> list[Edit]:
    """The input itself, at the working size: the best preservation there is, and no edit."""
    return [
        Edit(fit(t.image, size=working_size(t.image, models)), "nothing", {}, 0, 0.0) for t in tasks
    ]


def round_trip(
    models: Models, tasks: Sequence[Task], *, batch_size: int = 16, progress: bool = False, **_
) -> list[Edit]:
    """The input through the autoencoder and back: the best an editor of latents can preserve."""

    def one(some: list[Task]):
        source = encode([task.image for task in some], models)
        return Made(decode(source * models.vae.config.scaling_factor, models), 0)

    return in_batches(
        tasks,
        models,
        one,
        method="round trip",
        settings={},
        batch_size=batch_size,
        progress=progress,
    )


def blend(edited: Image.Image, source: Image.Image, *, alpha: float) -> Image.Image:
    """alpha * source + (1 - alpha) * edited, pixel by pixel: "less editing" without any idea.

    Raises `ValueError` if alpha is outside 0 to 1 or the sizes differ.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}; give a share from 0 (the edit) to 1 (the source)")
    if edited.size != source.size:
        raise ValueError(f"cannot blend {edited.size} with {source.size}; fit the source first")
    return Image.blend(edited, source, alpha)
