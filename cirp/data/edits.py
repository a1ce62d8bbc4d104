"""The edits on disk: one validated record per row of `metadata.jsonl`, images and masks on demand.

A folder of edits follows the Hugging Face *imagefolder* convention: images beside a file
`metadata.jsonl`, one JSON object a line, every path in a column `*_file_name` (`*_file_names` for
several), relative to the folder. `data/README.md` describes the columns. A folder of your own
needs `source_file_name` and `instruction` in each row; all the rest is optional. (To be read by
`datasets`, too, a list of files that is empty must be written as [] and not left out.)

Everything wrong with a folder ends in one `DataError`: which file and row, which value, what to do.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cirp.data.images import (
    DataError,
    Mask,
    fingerprint,
    fit,
    fit_mask,
    fit_size,
    open_image,
    open_mask,
)
from cirp.data.text_files import json_lines
from cirp.paths import EDITS

__all__ = [
    "DataError",
    "EditItem",
    "EditRecord",
    "Mask",
    "fingerprint",
    "fit",
    "fit_mask",
    "fit_size",
    "load_edits",
    "open_image",
    "open_mask",
]

METADATA = "metadata.jsonl"
DRAFT = "draft.jsonl"  # the same of pictures that have no instruction yet


class EditRecord(BaseModel):
    """One row of `metadata.jsonl`: an image, what to do to it, and what is known of the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    id: str = Field(min_length=1)  # by default the source's path without its ending, as dog-left
    source_file_name: str = Field(min_length=1)
    target_file_name: str | None = None
    mask_file_name: str | None = None  # white = may change
    edited_file_name: str | None = None  # an editor's output, for `cirp score --edits`
    object_names: list[str] = []
    object_mask_file_names: list[str] = []  # one for each of object_names
    instruction: str = Field(min_length=1)
    source_caption: str | None = None
    target_caption: str | None = None  # the "refined" prompt
    words: list[str] = []  # the words of the instruction that carry the edit
    target_words: list[str] = []  # the words of target_caption that carry it
    edit_type: str = "unspecified"
    is_global: bool = False  # everything may change: there is no outside
    example: bool = False  # one of the report's ten
    seed: int | None = None
    gained: list[str] = []  # labels the judge must see afterwards
    lost: list[str] = []  # labels it must no longer see
    kept: list[str] = []  # labels it must still see
    split: str = ""  # of a drawn world: with seed and edit_type, the pair
    novel_wording: bool = False  # worded as no training pair is
    source_dataset: str = ""
    license: str = ""
    author: str = ""
    notes: str = ""

    @model_validator(mode="before")
    @classmethod
    def _name_after_file(cls, row: Any) -> Any:
        if isinstance(row, dict):  # the imagefolder's own names
            for theirs, ours in (("file_name", "source_file_name"), ("text", "instruction")):
                if theirs in row and ours in row:
                    raise ValueError(f"both {theirs} and {ours} are given; drop one of them")
                if theirs in row:
                    row = {**{k: v for k, v in row.items() if k != theirs}, ours: row[theirs]}
        if (
            isinstance(row, dict)
            and "id" not in row
            and isinstance(row.get("source_file_name"), str)
        ):
            path = PurePosixPath(row["source_file_name"]).with_suffix("")
            return {**row, "id": "-".join(path.parts)}
        return row

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "EditRecord":
        if len(self.object_mask_file_names) not in (0, len(self.object_names)):
            raise ValueError(
                f"{len(self.object_mask_file_names)} object_mask_file_names for "
                f"{len(self.object_names)} object_names; give one mask for each object, or none"
            )
        for column, words, text_column, text in (
            ("words", self.words, "instruction", self.instruction),
            ("target_words", self.target_words, "target_caption", self.target_caption or ""),
        ):
            for word in words:
                if not word or word.lower() not in text.lower():
                    raise ValueError(
                        f"{column} has {word!r}, which is not in {text_column} {text!r}; "
                        f"copy the words from the {text_column}"
                    )
        for name in (*self.file_names, self.edited_file_name or "."):
            if (
                PurePosixPath(name).is_absolute()
                or PureWindowsPath(name).drive
                or ".." in PurePosixPath(name).parts
            ):
                raise ValueError(f"{name!r} leaves the folder; give a path relative to {METADATA}")
        return self

    @property
    def file_names(self) -> list[str]:
        """Every file the row points to."""
        single = (self.source_file_name, self.target_file_name, self.mask_file_name)
        return [name for name in (*single, *self.object_mask_file_names) if name is not None]


@dataclass(frozen=True)
class EditItem:
    """A record with the folder it lives in; opens its images when asked.

    `at(size)` gives the same edit at another size: image and masks are scaled and centre-cropped
    alike, so that they stay in register.
    """

    record: EditRecord
    folder: Path
    fitted: tuple[int, int] | None = None  # (width, height); None is the size on disk

    @property
    def id(self) -> str:
        """The name of the edit."""
        return self.record.id

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what `source()` returns, in pixels."""
        return self.fitted or self.source().size

    def at(self, size: tuple[int, int] | None) -> "EditItem":
        """Return the edit with all its pictures at this size (width, height), or at their own."""
        return replace(self, fitted=size)

    def worded(self, words: list[str]) -> "EditItem":
        """Return the same with these as the words of the instruction that carry the edit."""
        return replace(self, record=self.record.model_copy(update={"words": words}))

    def source(self) -> Image.Image:
        """Return the picture before the edit."""
        return self._image(self.record.source_file_name)

    def target(self) -> Image.Image | None:
        """Return the exact answer, or None where there is none."""
        name = self.record.target_file_name
        return None if name is None else self._image(name)

    def mask(self) -> Mask | None:
        """Return True where the edit may change the image; None where nobody has said."""
        name = self.record.mask_file_name
        return None if name is None else self._mask(name)

    def object_masks(self) -> dict[str, Mask]:
        """Object name -> mask, in the record's order; a second donut is called "donut 2"."""
        seen: Counter[str] = Counter()
        masks = {}
        for name, file_name in zip(
            self.record.object_names, self.record.object_mask_file_names, strict=False
        ):
            seen[name] += 1
            masks[name if seen[name] == 1 else f"{name} {seen[name]}"] = self._mask(file_name)
        return masks

    def _image(self, name: str) -> Image.Image:
        image = open_image(self.folder / name)
        return image if self.fitted is None else fit(image, size=self.fitted)

    def _mask(self, name: str) -> Mask:
        mask = open_mask(self.folder / name)
        return mask if self.fitted is None else fit_mask(mask, size=self.fitted)


def load_edits(folder: Path | str = EDITS, limit: int | None = None) -> list[EditItem]:
    """Load a folder of edits, completely checked; by default the examples of the package.

    Parameters
    ----------
    folder : path
        Holds `metadata.jsonl` and its pictures; `cirp curate` writes one.
    limit : int, optional
        Load only so many, in the order of the file.

    Returns
    -------
    list of EditItem
        Each with `source()`, `mask()`, `target()` and its `record`: `instruction`, captions, words.

    Raises
    ------
    DataError
        In one line: which file and row, which value, what to do. Every file is decoded once, so
        that a mistake costs a second now and not an hour later.

    Examples
    --------
    >>> import cirp
    >>> item = cirp.load_edits()[1]
    >>> item.record.instruction
    'change donut topping to chocolate'
    >>> item.source().size, item.mask().shape
    ((64, 64), (64, 64))
    """
    folder = Path(folder)
    if limit is not None and limit < 1:
        raise DataError(f"limit={limit}; ask for at least 1 edit, or None for all")
    metadata = folder / METADATA
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one that holds {METADATA} and its images")
    if not metadata.is_file() and (folder / DRAFT).is_file():
        raise DataError(
            f"{folder}: has pictures without an instruction; write it into a text file beside each "
            f"photograph (cat.png: cat.txt) and draw again, or say it in: cirp review {folder}"
        )
    if not metadata.is_file():
        raise DataError(f"{folder}: has no {METADATA}; write one line per edit (data/README.md)")

    items, lines = [], {}
    for where, row in json_lines(metadata):
        record = record_of(row, where)
        if record.id in lines:
            raise DataError(f"{where}: id {record.id!r} is taken by {lines[record.id]}; rename one")
        lines[record.id] = where
        item = EditItem(record, folder)
        check_files(where, item)
        items.append(item)
        if len(items) == limit:
            break
    if not items:
        raise DataError(f"{metadata}: has no rows; write one line per edit (data/README.md)")
    return items


def record_of(row: Any, where: str) -> EditRecord:
    """Return a row as a record. Raises `DataError`: where, which value, what would be right."""
    try:
        return EditRecord.model_validate(row)
    except ValidationError as error:
        raise DataError(f"{where}: {_one_line(error, row)}") from error


def _one_line(error: ValidationError, row: Any) -> str:
    """Return what pydantic found, as one sentence about the first problem."""
    if not isinstance(row, dict):
        return f"{row!r} is not an object; write {{...}} with the columns of an edit"
    first, *others = error.errors()
    column = ".".join(str(part) for part in first["loc"])
    label = f"id {row['id']!r}: " if row.get("id") else ""
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "missing":
        return f"{label}no {column}; add the column {column!r} to the row{more}"
    if first["type"] == "extra_forbidden":
        known = ", ".join(EditRecord.model_fields)
        return f"{label}unknown column {column!r}; remove or rename it, known are {known}{more}"
    if first["type"] == "string_too_short":
        return f"{label}{column} is {first['input']!r}; write a text that is not empty{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not column:
        return f"{label}{message}{more}"
    return f"{label}{column} is {first['input']!r}; {message[0].lower()}{message[1:]}{more}"


def check_files(where: str, item: EditItem) -> None:
    """Decode every file of a row; masks and target must be as large as the source."""
    record = item.record
    try:
        size = item.source().size
        mask = item.mask()
        sizes = [(name, item._mask(name).shape[::-1]) for name in record.object_mask_file_names]
        if mask is not None:
            sizes.append((record.mask_file_name, mask.shape[::-1]))
        if record.target_file_name is not None:
            sizes.append((record.target_file_name, item._image(record.target_file_name).size))
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    for name, other in sizes:
        if tuple(other) != size:
            raise DataError(
                f"{where}: {name} is {other[0]}x{other[1]} pixels but "
                f"{record.source_file_name} is {size[0]}x{size[1]}; resize it to match"
            )
    if mask is not None and not mask.any():
        raise DataError(
            f"{where}: {record.mask_file_name} is all black, so nothing may change; "
            "paint the region of the edit white, or leave mask_file_name out"
        )
