"""`cirp.record` of today's editors: SD3, FLUX, Kontext, Qwen-Image, DreamLite."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from cirp.attention.joint import Call, JointRecord
from cirp.attention.maps import resized
from cirp.attention.record import grid_of
from cirp.diffusion.editors import EDITORS
from cirp.diffusion.editors.dreamlite import DreamLite
from cirp.recordings import Recorded

Kind = Literal["share", "relative", "places", "source"]
SUMMED = {"places": "places", "source": "source"}  # kind -> what is summed; else the share
Map = Float[np.ndarray, "height width"]


def positions(tokenizer, prompt: str, word: str, before: str = "") -> list[int]:
    """Return the places of a word's tokens, wherever the word stands in the prompt.

    `before` is what the pipeline writes before the prompt; places count from its first token.

    Raises `ValueError` if the prompt has no such word, naming those that it has.
    """
    spans = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.I)]
    if not spans:
        there = ", ".join(dict.fromkeys(re.findall(r"\w+", prompt)))
        raise ValueError(f"{word!r} is not in {prompt!r}; its words are {there}")
    spans = [(begin + len(before), end + len(before)) for begin, end in spans]
    offsets = tokenizer(before + prompt, return_offsets_mapping=True).offset_mapping
    return [
        i for i, (begin, end) in enumerate(offsets)
        if end > begin and any(begin < last and end > first for first, last in spans)
    ]  # fmt: skip


def first_token(pipe: Any, said: str, length: int) -> int:
    """Return where a text begins among the `length` tokens that the transformer is given.

    Qwen's stands within a chat, before the chat's end; FLUX's is alone.
    """
    if known(pipe) != "tokenizer":
        return 0
    name = "prompt_template_encode" + ("_edit" if hasattr(pipe, "unet") else "")
    end = getattr(pipe, name).partition("{}")[2]
    return length - sum(len(pipe.tokenizer(text).input_ids) for text in (said, end))


@dataclass
class _Run:
    """What one call of the pipeline did: means over layers, steps and heads."""

    prompts: list[str | None]
    lengths: list[int]  # of each image's text, without padding
    grid: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    count: int = 0
    before: str = ""  # what the pipeline writes before the prompt
    beside: bool = False  # target and source are halves of one wide grid
    sums: dict[str, Float[Tensor, "image cell token"]] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        self.count += 1
        share = call.image_to_text.mean(dim=1)
        found = {"share": share}
        if self.beside:
            rows, columns = grid_of(share.shape[1] // 2, self.grid)
            halves = share.unflatten(1, (rows, 2, columns)).unbind(2)
            found = dict(zip(("share", "source"), map(self._fine, halves), strict=True))
        else:
            found["places"] = call.text_to_image.mean(dim=1)
        for name, mean in found.items():
            self.sums[name] = self.sums[name] + mean if name in self.sums else mean

    def _fine(
        self, maps: Float[Tensor, "image row column token"]
    ) -> Float[Tensor, "image cell token"]:
        """Return a layer's maps on the latents' grid."""
        return resized(maps.movedim(-1, 1), self.grid).flatten(2).mT

    def mean(self, kind: Kind) -> Float[Tensor, "image cell token"]:
        name = SUMMED.get(kind, "share")
        if name not in self.sums:
            there = [one for one in get_args(Kind) if SUMMED.get(one, "share") in self.sums]
            raise ValueError(f"kind={kind!r}; this editor has {', '.join(there)}")
        found = self.sums[name] / self.count
        return found / found.sum(dim=-1, keepdim=True) if kind == "relative" else found


BEFORE = (DreamLite.before, "[Generate]: ")  # of its two modes
KINDS = {  # pipeline that is no editor -> the attribute whose tokens its transformer sees as text
    "StableDiffusion3Pipeline": "tokenizer_3",
    "StableDiffusion3Img2ImgPipeline": "tokenizer_3",
    "FluxPipeline": "tokenizer_2",
    "FluxImg2ImgPipeline": "tokenizer_2",
    "QwenImagePipeline": "tokenizer",
}


def known(pipe: Any) -> str:
    """Return the attribute whose tokens the network sees as text.

    Raises `TypeError` for a pipeline whose text is laid out in a way that is not known.
    """
    name = type(pipe).__name__
    if name in KINDS:
        return KINDS[name]
    editors = {one: kind for one, kind in EDITORS.items() if not kind.controllable}
    if name in editors:
        return editors[name].tokens
    there = ", ".join((*KINDS, *editors))
    raise TypeError(f"{name} cannot be recorded yet; give one of {there}")


class JointRecording(Recorded):
    """Maps of the images that a pipeline made; see `cirp.record`.

    A word has two maps. Its *share* is how much of its attention each cell gives the word (kind
    "share"; "relative" to what it gives all of the text). Its *places* are where in the picture the
    word's own row looks. Pooled text, which reaches every cell by modulation, shows in neither.
    DreamLite has cross-attention: its shares sum to 1, words look nowhere, and a word has one more
    map, on the *source* that stands beside the picture that is made.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.runs, self._asked = pipe, [], False
        self.pictures = []
        self._known = known(pipe)
        self.network = getattr(pipe, "unet", None) or pipe.transformer
        self._beside = hasattr(pipe, "unet")
        self.record = JointRecord(see=self._took)

    def _encoded(self, given: dict, made: Any) -> None:
        """Note the first prompt of each call: those after it are negative ones."""
        if self._asked:
            return
        prompt, each = given.get("prompt"), given.get("num_images_per_prompt") or 1
        prompt = [prompt] if isinstance(prompt, str) else prompt
        states = made[0]
        mask, before = made[1] if self._known == "tokenizer" else None, ""
        if self._beside:  # all branches in one call: the last has the prompt
            before = next(one for one in BEFORE if given["prompts"][-1].startswith(one))
            prompt = [given["prompts"][-1].removeprefix(before)]
            states, mask = states[-1:], mask[-1:]
        if prompt is None:
            prompt = [None] * (len(states) // each)
        self._asked = True
        self.record.texts = list(states)
        lengths = [states.shape[1]] * len(states) if mask is None else mask.sum(dim=1).tolist()
        prompts = [one for one in prompt for _ in range(each)]
        self.runs.append(_Run(prompts, lengths, before=before, beside=self._beside))

    def called(self, _: Any, args: tuple, kwargs: dict) -> None:
        """Note the grid of the picture that is made: what comes after it is a reference."""
        if "img_shapes" in kwargs:
            (_, rows, columns), *_ = kwargs["img_shapes"][0]
        elif "img_ids" in kwargs:
            ids = kwargs["img_ids"]
            rows, columns = (int(n) + 1 for n in ids[ids[:, 0] == 0, 1:].amax(dim=0))
        else:
            x = args[0] if args else kwargs["hidden_states"]
            patch = (1, 2) if self._beside else [self.network.config.patch_size] * 2
            rows, columns = (side // n for side, n in zip(x.shape[-2:], patch, strict=True))
        run = self.runs[-1]
        run.grid, self.record.cells = (rows, columns), rows * columns
        side = self.pipe.vae_scale_factor * (1 if self._beside else 2)
        if self._known == "tokenizer_3":
            side = self.pipe.vae_scale_factor * self.network.config.patch_size
        run.size = rows * side, columns * side

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
        where = self._positions(word, self.prompt(image), run.lengths[at], run.before)
        found = run.mean(kind)[at, :, where].mean(dim=-1).unflatten(0, run.grid)
        size = tuple(size or run.size)
        return interpolate(found[None, None], size, mode="bilinear")[0, 0].numpy()

    def _positions(self, word: str, prompt: str, length: int, before: str = "") -> list[int]:
        """Places of the word in the text of so many tokens that the transformer sees."""
        pipe = self.pipe
        if self._known == "tokenizer_2":
            return positions(pipe.tokenizer_2, prompt, word)
        if self._known == "tokenizer":
            start = first_token(pipe, before + prompt, length)
            return [start + p for p in positions(pipe.tokenizer, prompt, word, before)]
        start = pipe.tokenizer_max_length  # SD3: CLIP's tokens, then T5's, if it is there
        found = [p for p in positions(pipe.tokenizer, prompt, word) if p < start]
        if pipe.tokenizer_3 is not None:
            found += [start + p for p in positions(pipe.tokenizer_3, prompt, word)]
        return found
