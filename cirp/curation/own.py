"""A folder of one's own as candidates: with metadata, with texts beside the pictures, or bare.

metadata.jsonl, metadata.csv    imagefolder's names (file_name, text) and ours (data/README.md)
dog.jpg, dog.txt                the instruction of a picture beside it
dog.jpg                         no instruction yet: it is written in the review
"""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from cirp.curation.candidate import Candidate
from cirp.data.edits import METADATA, EditItem, EditRecord, load_edits, record_of
from cirp.data.images import DataError, open_image
from cirp.data.text_files import read_text

OWN = "folder"
TABLE = "metadata.csv"
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
KEPT = ("words", "target_words", "edit_type", "is_global")  # columns that a draw leaves as they are
ONE_A_LINE = "one edit a line, columns in the first"


def own(folder: Path) -> Iterator[Candidate]:
    """The pictures of a folder, in the order of its metadata or, without, of their names.

    Raises `DataError`: which file and row, which value, what would be right.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with pictures")
    has_rows, has_table = (folder / METADATA).is_file(), (folder / TABLE).is_file()
    if has_rows and has_table:
        raise DataError(f"{folder}: has {METADATA} and {TABLE}; keep one of them")
    if has_rows:
        return (_candidate(item) for item in load_edits(folder))
    return _of_table(folder) if has_table else _bare(folder)


def _candidate(item: EditItem) -> Candidate:
    record = item.record
    further = {name: getattr(record, name) for name in KEPT if name in record.model_fields_set}
    return Candidate(
        OWN, record.id, item.source(), record.instruction, record.source_caption,
        record.target_caption, item.target(), item.mask(), record.notes, record.license,
        record.author, further,
    )  # fmt: skip


def _of_table(folder: Path) -> Iterator[Candidate]:
    """Rows of a CSV file; empty cells are left out, as imagefolder does."""
    path = folder / TABLE
    text = io.StringIO(read_text(path), newline="")
    try:
        rows = list(csv.DictReader(text))
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error}); {ONE_A_LINE}") from error
    if not rows:
        raise DataError(f"{path}: has no rows; {ONE_A_LINE}")
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path} line {number}"
        if None in row:
            raise DataError(f"{where}: more cells than columns; put quotes around commas")
        record = _record({k: v for k, v in row.items() if v and v.strip()}, where)
        if record.id in seen:
            raise DataError(f"{where}: id {record.id!r} is taken by line {seen[record.id]}")
        seen[record.id] = number
        try:
            yield _candidate(EditItem(record, folder))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error


def _record(row: Mapping[str, str], where: str) -> EditRecord:
    lists = {
        name for name, field in EditRecord.model_fields.items() if field.annotation == list[str]
    }
    cells = {k: v.split(";") if k in lists else v for k, v in row.items()}
    return record_of(cells, where)


def _bare(folder: Path) -> Iterator[Candidate]:
    """Pictures by name, each with the text beside it, if there is one."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.is_file())
    if not found:
        raise DataError(f"{folder}: no pictures; known are {', '.join(PICTURES)}")
    stems: dict[str, Path] = {}
    for path in found:
        if path.stem in stems:
            raise DataError(f"{folder}: {stems[path.stem].name} and {path.name}; rename one")
        stems[path.stem] = path
    for path in found:
        yield Candidate(OWN, path.name, open_image(path), instruction_beside(path))


def instruction_beside(picture: Path) -> str:
    """The text of the file beside a picture, in one line; "" without one."""
    path = picture.with_suffix(".txt")
    return " ".join(read_text(path).split()) if path.is_file() else ""


def as_picture(mask: np.ndarray) -> Image.Image:
    """A mask as it lies on disk: white where the edit may change the picture."""
    return Image.fromarray(mask.astype(np.uint8) * 255)
