"""Our maps as DAAM's own objects, and what DAAM makes of a batch with three branches.

daam 0.2.0 (Tang et al. 2023, github.com/castorini/daam) pins old versions of diffusers and
transformers but runs on today's, so it is installed without its dependencies. Its `trace` must not
be used on InstructPix2Pix: to leave out the unconditional rows it keeps the upper half of the
batch, which of text, image, neither is half of image and all of neither. It raises nothing and its
maps look plausible. `daam_slices` shows them beside the right ones.

Conventions of daam 0.2.0, kept here where its objects are made: sums over time; bicubic resizing of
each layer's and head's map to the latent's size, negative values set to 0, then their mean; neither
the middle block nor stride 8; one map for each token up to the end of text.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cirp.attention.maps import fuse, token_maps
from cirp.attention.record import Record
from cirp.attention.site import INSTRUCT_BRANCHES, TEXT
from cirp.attention.tokens import check_length, word_positions

if TYPE_CHECKING:
    from daam.heatmap import GlobalHeatMap, RawHeatMapCollection, WordHeatMap

INSTALL = "pip install --no-deps daam==0.2.0"


def _heatmap():
    try:
        from daam import heatmap
    except ImportError as error:
        raise ImportError(
            f"daam's heat-map objects need daam beside matplotlib, scipy and spacy: {INSTALL}"
            f" (plain `pip install daam` would replace diffusers and transformers); {error}"
        ) from error
    return heatmap


def daam_layers(record: Record) -> list[str]:
    """Return the layers daam looks at, in its order; a layer's place here is daam's `layer_idx`."""
    return record.outer_layers


def raw_heat_maps(record: Record, *, image: int = 0, branch: int = TEXT) -> "RawHeatMapCollection":
    """Return sums over time by (factor, layer, head), as `daam.trace(...).all_heat_maps`.

    The factor is the layer's stride on the latent that was really used; daam's own is one on the
    64 x 64 or 96 x 96 latent it assumes. Raises `ImportError` without daam.
    """
    collection = _heatmap().RawHeatMapCollection()
    for index, name in enumerate(daam_layers(record)):
        if record.stride(name) != 8:
            maps = record.layer(name, image=image, branch=branch, summed=True)
            for head, heat in enumerate(maps):
                collection.update(record.stride(name), index, head, heat.clone())
    return collection


def global_heat_map(
    record: Record,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    image: int = 0,
    branch: int = TEXT,
) -> "GlobalHeatMap":
    """All tokens' maps, as `daam.trace(...).compute_global_heat_map()`; latents of any shape.

    Raises `ImportError` without daam, `ValueError` if the prompt is over the tokenizer's limit.
    """
    daam_heatmap, last = _heatmap(), check_length(tokenizer, prompt)
    maps = token_maps(record, image=image, branch=branch, resize="bicubic", summed=True)
    return daam_heatmap.GlobalHeatMap(tokenizer, prompt, maps[:last])


def word_heat_map(
    record: Record,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    word: str,
    *,
    occurrence: int | None = None,
    image: int = 0,
    branch: int = TEXT,
) -> "WordHeatMap":
    """One word's map, as `compute_word_heat_map`, but `hat` is not found in the tail of `sunhat`.

    Raises `ImportError` without daam, `ValueError` if the word is not in the prompt.
    """
    positions = word_positions(tokenizer, prompt, word, occurrence=occurrence)
    maps = global_heat_map(record, tokenizer, prompt, image=image, branch=branch).heat_maps
    return _heatmap().WordHeatMap(maps[positions].mean(dim=0), word)


# What daam keeps of an InstructPix2Pix batch. Rows are (branch, head), as diffusers orders them.

RELEASED = "daam 0.2.0"
PULL_REQUEST = "daam pull request 60"
OFF_BY_ONE = "pull request 60, any heads"
TEXT_ROWS = "text rows"

_KEEPS: dict[str, Callable[[int], slice]] = {
    RELEASED: lambda rows: slice(rows // 2, rows),
    PULL_REQUEST: lambda rows: slice(rows // 3 + 1) if rows == 24 else slice(rows // 2, rows),
    OFF_BY_ONE: lambda rows: slice(rows // 3 + 1),
    TEXT_ROWS: lambda rows: slice(rows // 3),
}


def sliced(record: Record, rule: str) -> dict[str, Float[Tensor, "kept token row column"]]:
    """Return what one of the rules of `daam_slices` keeps of each layer: raw sums over time.

    Raises `ValueError` if the rule is unknown, or the record is not of one image and all three
    branches in diffusers' order.
    """
    if rule not in _KEEPS:
        raise ValueError(f"rule {rule!r} is not one of {', '.join(map(repr, _KEEPS))}")
    if record.branches != INSTRUCT_BRANCHES or record.images != 1:
        raise ValueError(
            f"the record has branches {record.branches} of {record.images} images; to compare"
            " slices, make it with Record(branches=INSTRUCT_BRANCHES) and edit one image, as daam"
            " does"
        )
    kept = {}
    for name in daam_layers(record):
        if record.stride(name) != 8:
            rows = [record.layer(name, branch=b, summed=True) for b in INSTRUCT_BRANCHES]
            batch = torch.cat(rows)
            kept[name] = batch[_KEEPS[rule](len(batch))]
    return kept


def daam_slices(
    record: Record,
    *,
    positions: Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
) -> dict[str, Float[Tensor, "token row column"]]:
    """One InstructPix2Pix edit's token maps, by what is kept of the guidance batch.

    - "daam 0.2.0", the newest release: rows [n // 2 :]. Of 8 heads, heads 4 to 7 of image and all
      8 of neither; no row ever saw the instruction.
    - "daam pull request 60" (2024, in no release): [: n // 3 + 1] where n is 24, as of 8 heads:
      the 8 of text and head 0 of image. For any other n, what the release does.
    - "pull request 60, any heads": [: n // 3 + 1] for every n, to see the extra row by itself.
    - "text rows": ours, [: n // 3].

    All are then put together alike, in DAAM's way (see above), but for the latent's real shape, so
    that they can be compared at sizes at which daam itself does not run.

    Args:
        record: of one image, made with `Record(branches=INSTRUCT_BRANCHES)`.
        positions: of the tokens wanted; all by default.
        size: rows and columns; the latent's by default.

    Raises `ValueError` if the record is of another kind.
    """
    chosen = slice(None) if positions is None else list(positions)
    return {
        rule: fuse(
            ((maps[:, chosen], len(maps)) for maps in sliced(record, rule).values()),
            size or record.latent(),
            resize="bicubic",
        )
        for rule in _KEEPS
    }
