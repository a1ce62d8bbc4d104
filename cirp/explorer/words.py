"""Which words the miniature was trained on."""

import json
from functools import cache

from cirp.paths import MODELS


@cache
def vocabulary() -> frozenset[str]:
    """The words of the miniature's instructions, from its tokenizer: those that are one token."""
    path = MODELS / "instruct-pix2pix" / "tokenizer" / "tokenizer.json"
    pieces = json.loads(path.read_text())["model"]["vocab"]
    return frozenset(piece.removesuffix("</w>") for piece in pieces if piece.endswith("</w>"))


def unknown_words(instruction: str) -> list[str]:
    """Words of an instruction that the miniature has never seen."""
    words = [word.strip(".,'!?").lower() for word in instruction.split()]
    return [word for word in words if word and word not in vocabulary()]
