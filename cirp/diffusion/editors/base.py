"""What the methods ask of an instruction editor: which rows it runs, and what each of them says.

An editor is one class of at most 80 lines; the page *Add an editor* writes one.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from cirp.attention.record import grid_of
from cirp.attention.site import IMAGE, NEITHER, TEXT

Latents = Float[Tensor, "image channel row column"]
Output = Float[Tensor, "row query channel"]  # of an attention layer, of its pictures' cells
Grid = tuple[int, int]
EDITORS: dict[str, type["Editor"]] = {}  # by the name of the pipeline's class


def editor(*pipelines: str) -> Callable[[type["Editor"]], type["Editor"]]:
    """Make a class the editor of these diffusers pipelines, by their names."""

    def register(kind: type["Editor"]) -> type["Editor"]:
        EDITORS.update(dict.fromkeys(pipelines, kind))
        return kind

    return register


def editor_of(pipe: Any) -> "Editor":
    """Return the editor that a pipeline is. Raises `TypeError` for one that is not known."""
    for kind in type(pipe).__mro__:
        if kind.__name__ in EDITORS:
            return EDITORS[kind.__name__](pipe)
    raise TypeError(f"a {type(pipe).__name__} cannot edit here; give one of {', '.join(EDITORS)}")


def combine(
    text: Latents, image: Latents, neither: Latents, *, text_scale: float, image_scale: float
) -> Latents:
    """e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)] (InstructPix2Pix, equation 3).

    Any scales. diffusers' pipeline runs without guidance, as if both were 1, when
    `image_guidance_scale < 1`; here 0.4 is 0.4.
    """
    # summed in the order of diffusers' pipeline, so that equal seeds give equal pixels
    return neither + text_scale * (text - image) + image_scale * (image - neither)


class Editor:
    """One editor's own ways, behind which every loop and method is the same.

    A subclass says how pictures are `encode`d and `decode`d, what the text is `read` as, and what
    the network answers for `rows` of branches; and, where they differ, its guidance and which cells
    of an attention layer are the target's.
    """

    branches: ClassVar[tuple[int, ...]] = (TEXT, IMAGE, NEITHER)  # that its guidance needs
    most: ClassVar[int | None] = None  # pictures it can edit in one call; None: any number
    defaults: ClassVar[dict[str, float]] = {}  # settings where the user gives none
    tokens: ClassVar[str] = "tokenizer"  # the part that cuts the prompt into what attention sees
    controllable: ClassVar[bool] = False  # its cross-attention can be changed, not only watched
    joint: ClassVar[bool] = False  # text and picture share one softmax
    before: ClassVar[str] = ""  # what its pipeline writes before an instruction
    resolution: int = 1024  # pixels of the longer side of what it edits; set it to edit smaller

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @property
    def network(self) -> nn.Module:
        """The UNet or transformer."""
        found = getattr(self.pipe, "unet", None)
        return self.pipe.transformer if found is None else found

    @property
    def tokenizer(self) -> Any:
        """What cuts the prompt into tokens."""
        return getattr(self.pipe, self.tokens)

    @property
    def factor(self) -> int:
        """Pixels of one side of a latent cell."""
        return self.pipe.vae_scale_factor

    @property
    def multiple(self) -> int:
        """Sides of a picture are multiples of so many pixels."""
        return 2 * self.factor

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "image 3 height width"]:
        """Return images of one size as the autoencoder takes them, -1 to 1."""
        x = self.pipe.image_processor.preprocess(list(images))
        return x.to(self.network.device, self.pipe.vae.dtype)

    def pictures(self, pixels: Float[Tensor, "image 3 height width"]) -> list[Image.Image]:
        """Return what the autoencoder made as images."""
        return self.pipe.image_processor.postprocess(pixels, output_type="pil")

    def encode(self, images: Sequence[Image.Image]) -> Latents:
        """Return the latents that the network is shown."""
        raise NotImplementedError

    def clean(self, shown: Latents) -> Latents:
        """Return them as the end of a run: what decodes to the source."""
        return shown

    def decode(self, latents: Latents) -> Float[Tensor, "image 3 height width"]:
        """Return pixels, -1 to 1."""
        raise NotImplementedError

    def schedule(self, steps: int, grid: Grid) -> Any:
        """Return a copy of the pipeline's scheduler, set to `steps`; `grid` is the latents'."""
        scheduler = copy.deepcopy(self.pipe.scheduler)
        known = scheduler.config.get
        # the more tokens, the longer at much noise: a line through two known points, as diffusers'
        short, long = known("base_image_seq_len", 256), known("max_image_seq_len", 4096)
        least, most = known("base_shift", 0.5), known("max_shift", 1.15)
        slope = (most - least) / (long - short)
        shift = grid[0] * grid[1] // 4 * slope + (least - slope * short)
        sigmas = np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(sigmas=sigmas, mu=shift, device=self.network.device)
        return scheduler

    def read(
        self, prompts: Sequence[str], images: Sequence[Image.Image], shown: Latents, scale: float
    ) -> Any:
        """Return what `rows` needs of the texts and the pictures; `scale` is the text guidance."""
        raise NotImplementedError

    def rows(self, latents: Latents, time: Tensor, read: Any, branches: Sequence[int]) -> Tensor:
        """Return the network's answer for each branch, all pictures of the first branch first."""
        raise NotImplementedError

    def guided(self, said: dict[int, Latents], *, text_scale: float, image_scale: float) -> Latents:
        """Return one prediction of those of the branches."""
        neither = said.get(NEITHER, said[IMAGE])  # without that row image guidance is 1
        return combine(
            said[TEXT], said[IMAGE], neither, text_scale=text_scale, image_scale=image_scale
        )

    # which cells of an attention layer's output are which picture's

    def writes(self, layer: str) -> bool:
        """Whether text reaches the picture through the layer of this name."""
        return layer.endswith("attn2")

    def picture(self, out: Any, grid: Grid) -> Output:
        """Return the part of a layer's output that is of pictures."""
        return out

    def with_picture(self, out: Any, picture: Output, grid: Grid) -> Any:
        """Return a layer's output with this in place of the part that is of pictures."""
        return picture

    def target(self, picture: Output, grid: Grid) -> Float[Tensor, "row y x channel"]:
        """Return the part of it that is of the picture that is made."""
        return picture.unflatten(1, grid_of(picture.shape[1], grid))

    def cells(self, queries: int, grid: Grid) -> Grid:
        """Return the target's rows and columns in a layer with so many queries of pictures."""
        return grid_of(queries, grid)

    def spread(self, weights: Float[Tensor, "image y x"]) -> Float[Tensor, "image query"]:
        """Return weights of the target's cells for all queries; a source beside it has the same."""
        return weights.flatten(1)


class JointEditor(Editor):
    """An editor of one softmax over text, target and source; a token is two by two latents."""

    most = 1
    joint = True

    @staticmethod
    def pack(latents: Latents) -> Float[Tensor, "image token width"]:
        """Return latents as the transformer's tokens."""
        return pixel_unshuffle(latents, 2).flatten(2).mT

    @staticmethod
    def unpack(tokens: Float[Tensor, "image token width"], grid: Grid) -> Latents:
        """Return the tokens of a picture as latents."""
        rows, columns = grid[0] // 2, grid[1] // 2
        return pixel_shuffle(tokens[:, : rows * columns].mT.unflatten(-1, (rows, columns)), 2)

    def writes(self, layer: str) -> bool:
        return layer.endswith(".attn")

    def picture(self, out: Any, grid: Grid) -> Output:
        found = out[0] if isinstance(out, tuple) else out  # a single stream begins with the text
        return found[:, -math.prod(grid) // 2 :]

    def with_picture(self, out: Any, picture: Output, grid: Grid) -> Any:
        if isinstance(out, tuple):
            return (picture, *out[1:])
        return torch.cat([out[:, : out.shape[1] - picture.shape[1]], picture], dim=1)

    def cells(self, queries: int, grid: Grid) -> Grid:
        return grid[0] // 2, grid[1] // 2

    def target(self, picture: Output, grid: Grid) -> Float[Tensor, "row y x channel"]:
        cells = self.cells(picture.shape[1], grid)
        return picture[:, : math.prod(cells)].unflatten(1, cells)

    def spread(self, weights: Float[Tensor, "image y x"]) -> Float[Tensor, "image query"]:
        return weights.flatten(1).repeat(1, 2)
