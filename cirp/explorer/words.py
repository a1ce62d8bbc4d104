"""Which words the miniature was trained on."""

import json
from collections.abc import Sequence
from functools import cache

from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task
from cirp.paths import MODELS


@cache
def vocabulary() -> frozenset[str]:
    """The words of the miniature's instructions, from its tokenizer: those that are one token."""
    path = MODELS / "instruct-pix2pix" / "tokenizer" / "tokenizer.json"
    pieces = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    return frozenset(piece.removesuffix("</w>") for piece in pieces if piece.endswith("</w>"))


def unknown_words(instruction: str) -> list[str]:
    """Words of an instruction that the miniature has never seen."""
    words = [word.strip(".,'!?").lower() for word in instruction.split()]
    return [word for word in words if word and word not in vocabulary()]


def warnings_for(models: Models, task: Task, reads: Sequence[str]) -> list[str]:
    """Return what a user should know before the miniature edits a picture, one line each."""
    if not models.is_miniature:
        return []
    lines = []
    if max(task.image.size) > models.resolution:
        lines.append(
            f"the miniature draws {models.resolution}-pixel scenes of its own world, so this "
            f"{task.image.width}x{task.image.height} picture will come out coarse; photographs "
            'need real models: --models real, or cirp.load("real")'
        )
    if models.name == "miniature":
        unknown = [word for name in reads for word in unknown_words(getattr(task, name) or "")]
        if unknown:
            lines.append(f"the miniature never saw: {', '.join(dict.fromkeys(unknown))}")
    return lines
