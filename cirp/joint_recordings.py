"""`cirp.record` where text and picture share one softmax: SD3, FLUX, Kontext, Qwen-Image."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from cirp.attention.joint import Call, JointRecord
from cirp.recordings import Recorded

Kind = Literal["share", "relative", "places"]
Map = Float[np.ndarray, "height width"]


def positions(tokenizer, prompt: str, word: str) -> list[int]:
    """Return the places of a word's tokens, wherever the word stands in the prompt.

    Raises `ValueError` if it does not, naming the words that do.
    """
    spans = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.I)]
    if not spans:
        there = ", ".join(dict.fromkeys(re.findall(r"\w+", prompt)))
        raise ValueError(f"{word!r} is not in {prompt!r}; its words are {there}")
    offsets = tokenizer(prompt, return_offsets_mapping=True).offset_mapping
    return [
        i for i, (begin, end) in enumerate(offsets)
        if end > begin and any(begin < last and end > first for first, last in spans)
    ]  # fmt: skip


@dataclass
class _Run:
    """What one call of the pipeline did: means over layers, steps and heads."""

    prompts: list[str | None]
    lengths: list[int]  # of each image's text, without padding
    grid: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    count: int = 0
    sums: dict[str, Float[Tensor, "image cell token"]] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        self.count += 1
        for name in ("image_to_text", "text_to_image"):
            mean = getattr(call, name).mean(dim=1)
            self.sums[name] = self.sums[name] + mean if name in self.sums else mean

    def mean(self, kind: Kind) -> Float[Tensor, "image cell token"]:
        found = self.sums["text_to_image" if kind == "places" else "image_to_text"] / self.count
        return found / found.sum(dim=-1, keepdim=True) if kind == "relative" else found


KINDS = {  # pipeline -> the attribute whose tokens the transformer sees as text
    "StableDiffusion3Pipeline": "tokenizer_3",
    "StableDiffusion3Img2ImgPipeline": "tokenizer_3",
    "FluxPipeline": "tokenizer_2",
    "FluxImg2ImgPipeline": "tokenizer_2",
    "FluxKontextPipeline": "tokenizer_2",
    "QwenImagePipeline": "tokenizer",
    "QwenImageEditPipeline": "tokenizer",
}


def check(pipe: Any) -> None:
    """Raise `TypeError` for a pipeline whose text is laid out in a way that is not known."""
    name = type(pipe).__name__
    if name not in KINDS:
        raise TypeError(f"{name} cannot be recorded yet; give one of {', '.join(KINDS)}")


class JointRecording(Recorded):
    """Maps of the images that a pipeline made; see `cirp.record`.

    A word has two maps. Its *share* is how much of its attention each cell gives the word (kind
    "share"; "relative" to what it gives all of the text). Its *places* are where in the picture the
    word's own row looks. Pooled text, which reaches every cell by modulation, shows in neither.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.runs, self._asked = pipe, [], False
        self.pictures = []
        self._known = KINDS[type(pipe).__name__]
        self.record = JointRecord(see=self._took)

    def _encoded(self, given: dict, made: Any) -> None:
        """Note the first prompt of each call: those after it are negative ones."""
        if self._asked:
            return
        prompt, each = given.get("prompt"), given.get("num_images_per_prompt") or 1
        prompt = [prompt] if isinstance(prompt, str) else prompt
        states = made[0]
        if prompt is None:
            prompt = [None] * (len(states) // each)
        self._asked = True
        self.record.texts = list(states)
        mask = made[1] if self._known == "tokenizer" else None
        lengths = [states.shape[1]] * len(states) if mask is None else mask.sum(dim=1).tolist()
        self.runs.append(_Run([one for one in prompt for _ in range(each)], lengths))

    def _placed(self, given: dict, made: Any) -> None:
        """Note the grid of the picture that is made: what comes after it is a reference."""
        latents = made[0] if isinstance(made, tuple) else made
        height, width = int(given["height"]), int(given["width"])
        if latents.ndim == 3:  # packed: two by two latents a token
            cells = latents.shape[1]
        else:
            patch = self.pipe.transformer.config.patch_size
            cells = latents.shape[-2] * latents.shape[-1] // patch**2
        rows = round((cells * height / width) ** 0.5)
        run = self.runs[-1]
        run.grid, run.size = (rows, cells // rows), (height, width)
        self.record.cells = cells

    def _took(self, call: Call) -> None:
        self._asked = False  # the next prompt that is encoded is of another call
        self.runs[-1].add(call)

    @property
    def images(self) -> int:
        """How many images were recorded."""
        return sum(len(run.prompts) for run in self.runs if run.count)

    def size(self, image: int = 0) -> tuple[int, int]:
        """Return (height, width) of an image in pixels."""
        return self._image(image)[0].size

    def words(self, image: int = 0) -> list[str]:
        """Return the words of an image's prompt, in order."""
        return re.findall(r"\w+", self.prompt(image))

    def _image(self, image: int) -> tuple[_Run, int]:
        """Return the call that made an image, and its place in the batch."""
        places = [(run, at) for run in self.runs if run.count for at in range(len(run.prompts))]
        if not 0 <= image < len(places):
            raise ValueError(f"no image {image}; {len(places)} were recorded")
        return places[image]

    def _prompt(self, image: int) -> str | None:
        run, at = self._image(image)
        return run.prompts[at]

    def token_maps(self, image: int = 0, *, kind: Kind = "share") -> Float[np.ndarray, "t r c"]:
        """Return one map for each token position: (token, row, column), float32."""
        run, at = self._image(image)
        return run.mean(kind)[at].T.unflatten(1, run.grid).numpy()

    def word_map(
        self,
        word: str,
        image: int = 0,
        *,
        kind: Kind = "share",
        size: Sequence[int] | None = None,
    ) -> Map:
        """Return where a word of the prompt looks: the mean map of its tokens, (height, width).

        Raises `ValueError` if the prompt has no such word, naming its words.
        """
        run, at = self._image(image)
        where = self._positions(word, self.prompt(image), run.lengths[at])
        found = run.mean(kind)[at, :, where].mean(dim=-1).unflatten(0, run.grid)
        size = tuple(size or run.size)
        return interpolate(found[None, None], size, mode="bilinear")[0, 0].numpy()

    def _positions(self, word: str, prompt: str, length: int) -> list[int]:
        """Places of the word in the text of so many tokens that the transformer sees."""
        pipe = self.pipe
        if self._known == "tokenizer_2":
            return positions(pipe.tokenizer_2, prompt, word)
        if self._known == "tokenizer":  # Qwen: the prompt stands within a chat, before its end
            end = pipe.prompt_template_encode.partition("{}")[2]
            start = length - sum(len(pipe.tokenizer(text).input_ids) for text in (prompt, end))
            return [start + p for p in positions(pipe.tokenizer, prompt, word)]
        start = pipe.tokenizer_max_length  # SD3: CLIP's tokens, then T5's, if it is there
        found = [p for p in positions(pipe.tokenizer, prompt, word) if p < start]
        if pipe.tokenizer_3 is not None:
            found += [start + p for p in positions(pipe.tokenizer_3, prompt, word)]
        return found
