"""From recorded attention to one map for each word, in the size of the image.

    record = Record()
    with controlled(pipe.unet, record):
        image = pipe(instruction, image=source).images[0]
    heat = word_map(record, pipe.tokenizer, instruction, "hat", size=(512, 512))

The order is DAAM's (Tang et al. 2023, section 3): resize each map, then average over layers and
heads. Unlike DAAM's, maps are means over time, not sums, so values do not depend on the number of
steps, and resizing is bilinear unless told otherwise; `cirp.attention.daam` gives DAAM's own.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import PreTrainedTokenizerBase

from cirp.attention.record import Mean, Record, grid_of, stride_of
from cirp.attention.site import TEXT
from cirp.attention.tokens import word_positions

__all__ = [
    "Mean",
    "Record",
    "Resize",
    "binarise",
    "fuse",
    "grid_of",
    "over_time",
    "resized",
    "stride_of",
    "token_maps",
    "word_map",
]

Resize = Literal["bilinear", "bicubic"]


def resized(
    maps: Float[Tensor, "map token row column"],
    size: tuple[int, int],
    *,
    resize: Resize = "bilinear",
) -> Float[Tensor, "map token new_row new_column"]:
    """Return maps at `size` (rows, columns); cells are areas, so their borders stay where they are.

    "bilinear" averages when it makes smaller; "bicubic" is DAAM's: no averaging, and what the cubic
    undershoots is set to 0.
    """
    if resize == "bicubic":
        return interpolate(maps, size=size, mode="bicubic", align_corners=False).clamp_(min=0)
    return interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)


def fuse(
    parts: Iterable[tuple[Float[Tensor, "_map token _row _column"], int]],
    size: tuple[int, int],
    *,
    resize: Resize = "bilinear",
) -> Float[Tensor, "token new_row new_column"]:
    """Return the mean of maps of several resolutions, each resized to `size` first.

    Each part says how many maps it is the sum of. Parts are added one by one: at most one is held
    at the final size.
    """
    total, weight = 0.0, 0
    for maps, count in parts:
        if resize == "bilinear":  # linear, so the sum may come first, and saves work
            maps = maps.sum(dim=0, keepdim=True)
        total = total + resized(maps, size, resize=resize).sum(dim=0)
        weight += count
    return total / weight


def token_maps(
    record: Record,
    *,
    image: int = 0,
    branch: int = TEXT,
    layers: Collection[str] | None = None,
    heads: Collection[int] | None = None,
    strides: Collection[int] | None = None,
    time: float | None = None,
    positions: Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
    resize: Resize = "bilinear",
    summed: bool = False,
) -> Float[Tensor, "token row column"]:
    """One map for each token of one image: the mean over layers, heads and time.

    Args:
        image: its number in the record.
        branch: one of the record's branches.
        layers: names, of `record.layers`; by default those of `strides`.
        heads: numbers, from 0; all by default.
        strides: the layers of these `record.strides`, the middle block's left out; by default all
            but 8, as in DAAM.
        time: only this one of `record.times`. Layers and heads cannot be chosen then: the record
            has only their mean, at each stride.
        positions: of the tokens wanted, in this order; all by default.
        size: rows and columns; the latent's by default.
        resize: see `resized`.
        summed: over time, as in DAAM, instead of averaged.

    Raises `ValueError` if something chosen was not recorded, naming what was.
    """
    if isinstance(layers, str):
        raise ValueError(f"layers={layers!r}; give a list of names, of {', '.join(record.layers)}")
    if layers is not None and strides is not None:
        raise ValueError(f"layers={layers} have strides of their own: leave strides={strides} out")
    if time is None:
        names = _daam_layers(record, strides) if layers is None else layers
        maps = (record.layer(n, image=image, branch=branch, summed=summed) for n in names)
        parts = [(_take(part, heads, "heads"), len(heads or part)) for part in maps]
    elif layers is not None or heads is not None or summed:
        raise ValueError("maps of one time are means over layers and heads: choose none of those")
    else:
        at = record.time(time, image=image, branch=branch)
        parts = [(total[None], n) for stride, (total, n) in at.items() if _keeps(strides, stride)]
    if not parts:
        raise ValueError(
            f"no map is left of layers={layers}, strides={strides}; recorded were strides"
            f" {record.strides} and layers {', '.join(record.layers)}"
        )
    parts = ((_take(maps, positions, "positions", axis=1), count) for maps, count in parts)
    return fuse(parts, size or record.latent(image), resize=resize)


def _daam_layers(record: Record, strides: Collection[int] | None) -> list[str]:
    return [name for name in record.outer_layers if _keeps(strides, record.stride(name))]


def _keeps(strides: Collection[int] | None, stride: int) -> bool:
    return stride != 8 if strides is None else stride in strides


def _take(maps: Tensor, numbers: Collection[int] | None, what: str, *, axis: int = 0) -> Tensor:
    if numbers is None:
        return maps
    if not numbers or not all(0 <= number < maps.shape[axis] for number in numbers):
        raise ValueError(f"{what} {list(numbers)}: recorded are 0 to {maps.shape[axis] - 1}")
    return maps.index_select(axis, torch.tensor(list(numbers), device=maps.device))


def word_map(
    record: Record,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    word: str,
    *,
    occurrence: int | None = None,
    **selection,
) -> Float[Tensor, "row column"]:
    """Return the map of one word or phrase: the mean over its tokens.

    `prompt` is what the recorded branch was given; `selection` is `token_maps`'.

    Raises `ValueError` if the word is not in the prompt.
    """
    positions = word_positions(tokenizer, prompt, word, occurrence=occurrence)
    return token_maps(record, positions=positions, **selection).mean(dim=0)


def over_time(
    record: Record,
    words: Sequence[Sequence[int]],
    *,
    image: int = 0,
    branch: int = TEXT,
) -> dict[int, Float[Tensor, "time word _row _column"]]:
    """Each word's map at each of `record.times`, by stride, at the stride's own resolution.

    `words` are the positions of each word's tokens. Raises `ValueError` if the record has no times.
    """
    if not record.times:
        raise ValueError('no times were recorded; make the record with Record(times="step")')
    found: dict[int, list[Tensor]] = {}
    for time in record.times:
        for stride, (total, count) in record.time(time, image=image, branch=branch).items():
            maps = [_take(total, positions, "positions").mean(dim=0) / count for positions in words]
            found.setdefault(stride, []).append(torch.stack(maps))
    return {stride: torch.stack(maps) for stride, maps in sorted(found.items())}


def binarise(heat: Float[Tensor, "row column"], threshold: float) -> Bool[Tensor, "row column"]:
    """Where the map reaches `threshold`, a share of its highest value (DAAM's choice is 0.4).

    Raises `ValueError` if the threshold does not lie between 0 and 1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}; give a share of the maximum, over 0 and up to 1")
    return (heat >= threshold * heat.max()) & (heat > 0)
