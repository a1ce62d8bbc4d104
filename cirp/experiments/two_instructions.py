"""Two instructions at once, each with its own region: what FoI's disentangled guidance is for."""

from collections.abc import Sequence

from PIL import Image

from cirp.diffusion.tasks import Task
from cirp.miniature.pairs import Pair
from cirp.miniature.scene import render

FOI = "FoI (re-implementation)"
SEPARATOR = " and "


def tasks(first: Pair, second: Pair, *, seed: int) -> tuple[Task, Task, Task]:
    """Return the first instruction alone, the second alone, and both in one, on the same picture.

    All three begin with the same noise.
    """
    image, key = Image.fromarray(render(first.source)), f"double-{first.seed}"

    def said(instruction: str, words: Sequence[str]) -> Task:
        words = tuple(dict.fromkeys(words))
        return Task(image, instruction, second.target_caption, seed, key=key, words=words)

    both = said(
        f"{first.instruction}{SEPARATOR}{second.instruction}", (*first.words, *second.words)
    )
    return said(first.instruction, first.words), said(second.instruction, second.words), both
