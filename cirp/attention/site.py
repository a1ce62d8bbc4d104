"""Where and when an attention map is born, and the branches of guidance."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

# The branches of guidance: with text and image, with the image only, with neither.
TEXT, IMAGE, NEITHER = 0, 1, 2
INSTRUCT_BRANCHES = (TEXT, IMAGE, NEITHER)  # diffusers' InstructPix2Pix pipeline, and the paper's
TEXT_TO_IMAGE_BRANCHES = (NEITHER, TEXT)  # diffusers' Stable Diffusion pipelines
_NAMES = {TEXT: "TEXT", IMAGE: "IMAGE", NEITHER: "NEITHER"}


@dataclass(frozen=True)
class Site:
    """Where and when one attention map is born."""

    layer: str  # "up_blocks.1.attentions.0.transformer_blocks.0.attn2"
    is_cross: bool  # keys are text tokens, not pixels
    timestep: float  # 999 is pure noise, 0 a clean image
    latent: tuple[int, int]  # rows, columns of the latent the UNet was given
    branches: tuple[int, ...] = INSTRUCT_BRANCHES  # in the order of the batch
    images: int = 1  # the batch has this many rows of each branch
    text: Tensor | None = field(default=None, compare=False, repr=False)  # the UNet's, all rows

    def rows(self, branch: int) -> slice:
        """Return the rows of a map that belong to `branch`, one for each image.

        Raises `ValueError` if the batch has no such branch.
        """
        if branch not in self.branches:
            raise ValueError(
                f"the batch has no branch {named([branch])}; it has {named(self.branches)}"
            )
        first = self.branches.index(branch) * self.images
        return slice(first, first + self.images)


def named(branches: Sequence[int]) -> str:
    """Return the names of branches, for messages."""
    return (
        "(" + ", ".join(f"{branch} {_NAMES.get(branch, '')}".strip() for branch in branches) + ")"
    )


def usual_branches(unet: nn.Module) -> tuple[int, ...]:
    """Return the branches of diffusers' guided pipelines with this UNet, in their order."""
    takes_image = unet.config.in_channels == 2 * unet.config.out_channels
    return INSTRUCT_BRANCHES if takes_image else TEXT_TO_IMAGE_BRANCHES
