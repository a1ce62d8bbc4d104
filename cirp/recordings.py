"""What `cirp.record` yields: the maps of words, drawn and saved."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from cirp.attention.maps import token_maps
from cirp.attention.record import Record
from cirp.attention.site import TEXT
from cirp.attention.tokens import token_positions, words
from cirp.data.images import as_picture

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from matplotlib.axes import Axes

Picture = Image.Image | Path | str | np.ndarray
Map = Float[np.ndarray, "row column"]
CHOICES = [
    name
    for name in inspect.signature(token_maps).parameters
    if name not in ("record", "image", "size")
]


class Recorded:
    """What recordings of all kinds of attention can do, given `word_map` and `token_maps`."""

    images: int
    pictures: list[Image.Image | None]  # one per image; None: it was not decoded

    def _prompt(self, image: int) -> str | None:
        """Return an image's prompt; None if embeddings were given. Raises `ValueError`."""
        raise NotImplementedError

    def prompt(self, image: int = 0) -> str:
        """Return what an image was made of.

        Raises `ValueError` if there is no such image, or embeddings were given in place of a text.
        """
        found = self._prompt(image)
        if found is None:
            raise ValueError(
                f"image {image} was made of prompt embeddings, or by another pipeline than the one "
                "given to record, so its words are not known; use token_maps(), whose first axis "
                "is the token's position"
            )
        return found

    def word_maps(self, chosen: Sequence[str], image: int = 0, **choice) -> dict[str, Map]:
        """Return the map of each of these words; see `word_map`."""
        chosen = [chosen] if isinstance(chosen, str) else chosen
        return {word: self.word_map(word, image, **choice) for word in chosen}

    def plot(
        self,
        word: str | Sequence[str],
        image: int = 0,
        *,
        ax: "Axes | None" = None,
        picture: Picture | None = None,
        **choice,
    ) -> "Axes":
        """Draw a word's map over the picture, with a colour bar; several words side by side.

        Parameters
        ----------
        word : str or sequence of str
            As of `word_map`.
        image : int
            Number of the image.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure, with an axes for each word.
        picture : PIL.Image.Image, path or array, optional
            What lies under the map; by default the picture that the pipeline made, or none if it
            made latents. Give the input picture to see where an edit looks.

        Notes
        -----
        Each word's colours run from 0 to its own maximum, which its bar names.

        Returns
        -------
        matplotlib.axes.Axes or list of them
        """
        import matplotlib.pyplot as plt

        from cirp.figures.pictures import overlay

        chosen = [word] if isinstance(word, str) else list(word)
        maps = self.word_maps(chosen, image, **choice)
        made = self.pictures[image] if image < len(self.pictures) else None
        under = made if picture is None else as_picture(picture)
        opacity = 0.65 if under is not None else 1.0
        under = under or Image.new("RGB", self.size(image)[::-1])
        if ax is None:
            _, all_axes = plt.subplots(
                1, len(chosen), figsize=(4 * len(chosen), 3.4), squeeze=False, layout="constrained"
            )
            axes = list(all_axes[0])
        elif len(chosen) == 1:
            axes = [ax]
        else:
            raise ValueError(f"{len(chosen)} words for one ax; leave ax out, or give one word")
        for one, (name, heat) in zip(axes, maps.items(), strict=True):
            drawn = overlay(one, under, heat, name, interpolation="bicubic", opacity=opacity)
            one.figure.colorbar(drawn, ax=one, label="attention", shrink=0.9)
        return axes[0] if isinstance(word, str) else axes

    def _decoded(self, given: dict, made: Any) -> None:
        pictures = made if isinstance(made, list) else []
        self.pictures += [one if isinstance(one, Image.Image) else None for one in pictures]

    def __repr__(self) -> str:
        """Say how many images there are, and what the first one was made of."""
        first = f": {self._prompt(0) or 'embeddings'!r}" if self.images else ""
        return f"<{type(self).__name__} of {self.images} images{first}>"

    def save(self, path: Path | str) -> Path:
        """Write `token_maps` of each image to an .npz file: `maps_0`, ... and `prompts`.

        Raises `ValueError` for another ending.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise ValueError(f"{path}: maps are saved as .npz; give {path.with_suffix('.npz')}")
        self.size()  # refuses an empty recording
        maps = {f"maps_{image}": self.token_maps(image) for image in range(self.images)}
        texts = [self._prompt(image) or "" for image in range(self.images)]
        np.savez_compressed(path, prompts=np.array(texts), **maps)
        return path


class Recording(Recorded):
    """The cross-attention of every image that a pipeline makes within `record`.

    Images are numbered from 0 in the order in which they were made, over all calls of the block.
    """

    def __init__(self, pipe: "DiffusionPipeline", record: Record) -> None:
        self.pipe, self.record = pipe, record
        self.prompts: list[str | None] = []  # one per image; None: embeddings were given
        self.pictures: list[Image.Image | None] = []  # one per image; None: it was not decoded

    @property
    def images(self) -> int:
        """How many images were recorded."""
        return self.record.images

    def _prompt(self, image: int) -> str | None:
        self.record.latent(image)
        return self.prompts[image] if len(self.prompts) == self.images else None

    def words(self, image: int = 0) -> list[str]:
        """Return the words of an image's prompt, in order."""
        return [word.text for word in words(self.pipe.tokenizer, self.prompt(image))]

    def size(self, image: int = 0) -> tuple[int, int]:
        """Return (height, width) of an image in pixels."""
        rows, columns = self.record.latent(image)
        return rows * self.pipe.vae_scale_factor, columns * self.pipe.vae_scale_factor

    def token_maps(self, image: int = 0, *, size: tuple[int, int] | None = None, **choice) -> Any:
        """Return one map for each token position: (token, row, column), float32.

        Parameters
        ----------
        image : int
            Number of the image.
        size : (int, int), optional
            Rows and columns; by default the latents' own.
        **choice
            What is averaged: `layers` (names, of `rec.record.layers`), `heads` (numbers), `strides`
            (resolutions: latent cells that a map's cell covers), `branch` (of `record`'s
            branches); by default all layers but the middle block's, as in DAAM, of the branch
            with the text. Or `time`, one of `rec.record.times`, if `record` was given `times`:
            the mean over these layers and heads.

        Raises `ValueError` for a choice that there is not, or that was not recorded.
        """
        for name in choice:
            if name not in CHOICES:
                raise ValueError(f"{name!r} chooses nothing; there are {', '.join(CHOICES)}")
            if name in ("heads", "strides") and isinstance(choice[name], int):
                raise ValueError(f"{name}={choice[name]}; give a list, such as [{choice[name]}]")
        maps = token_maps(self.record, image=image, size=size, **choice)
        return maps.float().cpu().numpy()

    def word_map(
        self,
        word: "str | Sequence[str]",
        image: int = 0,
        *,
        occurrence: int | None = None,
        **choice,
    ) -> Map:
        """Return where a word or phrase of the prompt looks: the mean map of its tokens.

        Parameters
        ----------
        word : str
            A word or phrase of the prompt; or "begin", "end" or "padding" for the tokens that are
            no words, unless the prompt has that word. The map of padding is the sum over its
            tokens: all the attention that padding takes.
        image : int
            Number of the image.
        occurrence : int, optional
            Which one, from 0, of a word that stands there more than once; by default all.
        **choice
            As of `token_maps`; `size` is by default that of the image.

        Returns
        -------
        numpy.ndarray
            (height, width), float32; attention, so between 0 and 1.

        Raises
        ------
        ValueError
            If the prompt has no such word, naming its words; if embeddings were given in place of a
            prompt; or for another branch than the text's, which was given another text.
        """
        if not isinstance(word, str):
            raise ValueError(f"word={word!r}; give one word, or use word_maps for several")
        if choice.get("branch", TEXT) != TEXT:
            raise ValueError(
                "only the text branch was given this prompt; use token_maps for others"
            )
        size = choice.pop("size", None) or self.size(image)
        positions = self._positions(word, image, occurrence)
        maps = self.token_maps(image, size=size, positions=positions, **choice)
        return maps.sum(axis=0) if positions[0] > self._end(image) else maps.mean(axis=0)

    def _end(self, image: int) -> int:
        """Return the position of the end-of-text token."""
        return len(self.pipe.tokenizer(self.prompt(image)).input_ids) - 1

    def _positions(self, word: str, image: int, occurrence: int | None) -> list[int]:
        return token_positions(self.pipe.tokenizer, self.prompt(image), word, occurrence=occurrence)

    def _encoded(self, given: dict, made: Any) -> None:
        """Note the prompts of a call, one for each of its images."""
        prompt, each = given.get("prompt"), given.get("num_images_per_prompt") or 1
        if isinstance(prompt, str):
            prompt = [prompt]
        if prompt is None:
            embeddings = given.get("prompt_embeds")
            prompt = [None] * (0 if embeddings is None else len(embeddings))
        self.prompts += [one for one in prompt for _ in range(each)]
