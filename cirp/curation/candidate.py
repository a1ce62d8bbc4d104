"""One edit as a collection has it, and what its instruction and mask say of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from PIL import Image

SMALL, LARGE = 0.1, 0.35  # shares of a picture: regions below, above

_KINDS = (  # the first that matches; verbs as the collections use them
    ("remove", r"\b(remove|delete|erase|get rid of|take (away|out)|without)\b"),
    (
        "restyle",
        r"\b(style|painting|sketch|drawing|cartoon|watercolou?r|van gogh|anime)\b",
    ),
    ("change setting", r"\b(background|weather|season|snow(ing|y)?|night|sunset|at the beach)\b"),
    ("add", r"\b(add|put|place|insert|include|give|have)\b"),
    ("swap object", r"\b(replace|swap|turn|into|change .+ (to|into)|instead of)\b"),
    ("change colour", r"\b(colou?r|red|green|blue|yellow|black|white|pink|purple|orange)\b"),
)


@dataclass(frozen=True)
class Candidate:
    """An edit that may be chosen. What a collection does not have is None."""

    source: str  # the collection
    source_id: str  # within it
    image: Image.Image = field(repr=False)
    instruction: str  # "" if nobody has said it yet
    source_caption: str | None = None
    target_caption: str | None = None
    target: Image.Image | None = field(default=None, repr=False)
    mask: Bool[np.ndarray, "row column"] | None = field(default=None, repr=False)
    notes: str = ""
    licence: str = ""  # of this picture, where the collection has no licence for all
    author: str = ""
    objects: Sequence[Bool[np.ndarray, "row column"]] = field(default=(), repr=False)  # masks
    further: Mapping[str, object] = field(default_factory=dict)  # columns of ours that it has
    from_file: bool = False  # source_id is a file name, not an id that somebody gave

    @property
    def kind(self) -> str:
        """What sort of edit the instruction asks for, by its verbs; "other" if none is known."""
        if "edit_type" in self.further:
            return str(self.further["edit_type"])
        said = self.instruction.lower()
        return next((kind for kind, pattern in _KINDS if re.search(pattern, said)), "other")

    @property
    def extent(self) -> str:
        """How much of the picture the mask covers: small, medium, large, or unknown."""
        if self.mask is None:
            return "unknown"
        share = float(self.mask.mean())
        return "small" if share < SMALL else "large" if share > LARGE else "medium"
