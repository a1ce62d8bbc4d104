"""The published collections: their columns, their conventions, what their licences allow.

Columns and conventions are those of the collections' own pages. Each reader turns one row into
candidates; what a row lacks raises `DataError`, naming the collection, the row and the column.
Nothing here runs code of a collection: rows come from parquet or JSON.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from cirp.curation.candidate import Candidate
from cirp.data.images import DataError, as_rgb

WHITE = 250  # of 255: a mask's pixel is painted if all its channels are at least this
PLACEHOLDER = "{}"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True)
class Source:
    """A collection on the Hugging Face hub."""

    hub: str
    split: str
    columns: tuple[str, ...]  # a row must have
    read: Callable[[Mapping, str], Iterator[Candidate]]
    licence: str  # as its page states it; "" if it states none
    attribution: str
    pixels_allowed: bool  # whether its pictures may be passed on
    configuration: str | None = None


def opened(value: object, place: str) -> Image.Image:
    """Return the picture of a cell: one that is open, or the bytes of a file.

    A collection can name a file or address in place of pixels; that one is never read: it may be
    anybody's. Raises `DataError`.
    """
    if isinstance(value, Mapping):
        data, name = value.get("bytes"), value.get("path")
        if not isinstance(data, bytes) or not data:
            raise DataError(f"{place} names {name!r} in place of pixels; only pixels are taken")
        try:
            value = Image.open(io.BytesIO(data), formats=FORMATS)
            value.load()
        except Exception as error:  # a broken file may fail anywhere in the decoder
            raise DataError(f"{place} cannot be read as a picture ({error})") from error
    if not isinstance(value, Image.Image):
        raise DataError(f"{place} is {type(value).__name__}; it must be a picture")
    return value


def _picture(row: Mapping, column: str, where: str) -> Image.Image:
    """Return an upright RGB picture; of an animation the first frame."""
    value = opened(row[column], f"{where}: {column}")
    if getattr(value, "is_animated", False):
        value.seek(0)
    return as_rgb(value, f"{where}: {column}")


def _text(row: Mapping, column: str, where: str) -> str:
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {column} is {value!r}; it must be a text that is not empty")
    return value.strip()


def _instruct_pix2pix(row: Mapping, where: str) -> Iterator[Candidate]:
    yield Candidate(
        "instruct-pix2pix",
        where.rsplit(" ", 1)[-1],
        _picture(row, "original_image", where),
        _text(row, "edit_prompt", where),
        _text(row, "original_prompt", where),
        _text(row, "edited_prompt", where),
        _picture(row, "edited_image", where),
        notes="seen by InstructPix2Pix in training with a probability of about 90 %",
    )


def painted(mask: Image.Image, source: Image.Image) -> Bool[np.ndarray, "row column"] | None:
    """Where a mask picture is see-through or, without such places, was painted white.

    What is white in the source already, a bright background, was not painted. None if nowhere.
    """
    size = source.size
    mask = mask.resize(size, Image.Resampling.NEAREST) if mask.size != size else mask
    if mask.mode == "RGBA":
        inside = np.asarray(mask)[..., 3] < 128
        if inside.any():
            return inside
    inside = _white(mask) & ~_white(source)
    return inside if inside.any() else None


def _white(image: Image.Image) -> Bool[np.ndarray, "row column"]:
    return (np.asarray(image.convert("RGB")) >= WHITE).all(axis=-1)


def _magicbrush(row: Mapping, where: str) -> Iterator[Candidate]:
    picture = _picture(row, "source_img", where)
    mask = row["mask_img"]
    turn = int(row["turn_index"])
    yield Candidate(
        "magicbrush",
        f"{_text(row, 'img_id', where)}-{turn}",
        picture,
        _text(row, "instruction", where),
        target=_picture(row, "target_img", where),
        mask=None if mask is None else painted(opened(mask, f"{where}: mask_img"), picture),
        notes="" if turn == 1 else f"turn {turn}: the picture is an edit of a photograph",
    )


def _dreambooth(row: Mapping, where: str) -> Iterator[Candidate]:
    """Return a subject's photograph with a prompt that has a place for the subject's class."""
    prompt, subject = _text(row, "prompt", where), _text(row, "class", where)
    if PLACEHOLDER not in prompt:
        raise DataError(f"{where}: prompt is {prompt!r}; it needs {PLACEHOLDER} for the subject")
    target = prompt.replace(PLACEHOLDER, subject)
    yield Candidate(
        "dreambooth",
        f"{_text(row, 'subject', where)}-{where.rsplit(' ', 1)[-1]}",
        _picture(row, "image", where),
        f"make it {target}",
        f"a {subject}",
        target,
        notes="the instruction is made of the prompt: the collection has none",
    )


def _tedbench(row: Mapping, where: str) -> Iterator[Candidate]:
    """Return a target text and Imagic's own result, which is no truth; so it is no target."""
    target = _text(row, "caption", where)
    yield Candidate(
        "tedbench",
        where.rsplit(" ", 1)[-1],
        _picture(row, "original_image", where),
        f"make it {target[:1].lower()}{target[1:]}",
        target_caption=target,
        notes="the instruction is made of the target text: the collection has none",
    )


def run_lengths(text: str, size: int = 512) -> Bool[np.ndarray, "row column"] | None:
    """PIE-Bench's masks: pairs of start and length, row by row; 1 is where the edit is."""
    numbers = [int(number) for number in text.split()]
    if len(numbers) % 2:
        raise DataError(f"a mask of {len(numbers)} numbers; starts and lengths come in pairs")
    flat = np.zeros(size * size, dtype=bool)
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        if start < 0 or length < 0 or start + length > flat.size:
            raise DataError(f"a mask's run of {length} from {start} leaves {size} x {size} pixels")
        flat[start : start + length] = True
    return flat.reshape(size, size) if flat.any() else None


def _pie_bench(row: Mapping, where: str) -> Iterator[Candidate]:
    picture = _picture(row, "image", where)
    try:
        mask = run_lengths(str(row["mask"]))
    except (DataError, ValueError) as error:
        raise DataError(f"{where}: mask: {error}") from error
    if mask is not None and mask.shape != picture.size[::-1]:
        resized = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
        mask = np.asarray(resized)
    target = _text(row, "target_prompt", where).replace("[", "").replace("]", "")
    yield Candidate(
        "pie-bench",
        _text(row, "id", where),
        picture,
        f"make it {target[:1].lower()}{target[1:]}",
        _text(row, "source_prompt", where).replace("[", "").replace("]", ""),
        target,
        mask=mask,
        notes="the instruction is made of the target text",
    )


SOURCES: dict[str, Source] = {
    "instruct-pix2pix": Source(
        "timbrooks/instructpix2pix-clip-filtered", "train",
        ("original_prompt", "original_image", "edit_prompt", "edited_prompt", "edited_image"),
        _instruct_pix2pix, "", "Brooks, Holynski and Efros 2023, InstructPix2Pix", False,
    ),
    "magicbrush": Source(
        "osunlp/MagicBrush", "dev",
        ("img_id", "turn_index", "source_img", "mask_img", "instruction", "target_img"),
        _magicbrush, "CC-BY-4.0", "Zhang, Mo, Chen, Sun and Su 2023, MagicBrush", True,
    ),
    "dreambooth": Source(
        "google/dreambooth", "train", ("image", "subject", "class", "prompt"),
        _dreambooth, "CC-BY-4.0",
        "Ruiz et al. 2023, DreamBooth; photographers in its references_and_licenses.txt", True,
    ),
    "tedbench": Source(
        "bahjat-kawar/tedbench", "val", ("original_image", "caption"),
        _tedbench, "", "Kawar et al. 2023, Imagic (TEdBench)", False,
    ),
    "pie-bench": Source(
        "UB-CVML-Group/PIE_Bench_pp", "V1",
        ("image", "id", "source_prompt", "target_prompt", "mask"),
        _pie_bench, "CC-BY-SA-4.0", "Huang et al. 2024, PIE-Bench++; Ju et al. 2024, PIE-Bench",
        True, configuration="0_random_140",
    ),
}  # fmt: skip


def candidates(name: str, rows) -> Iterator[Candidate]:
    """Return the candidates of rows of a collection, in their order.

    Raises `DataError` for a collection that is not known, or a row that lacks a column.
    """
    if name not in SOURCES:
        raise DataError(f"unknown source {name!r}; there are {', '.join(SOURCES)}")
    source = SOURCES[name]
    for number, row in enumerate(rows):
        where = f"{name} row {number}"
        lacking = [column for column in source.columns if column not in row]
        if lacking:
            raise DataError(f"{where}: no column {lacking[0]!r}; it has {', '.join(row)}")
        yield from source.read(row, where)
