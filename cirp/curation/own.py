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
from cirp.data.edits import METADATA, EditItem, EditRecord, check_files, load_edits, record_of
from cirp.data.images import DataError, open_image
from cirp.data.text_files import read_text

OWN = "folder"
TABLE = "metadata.csv"
PICTURES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip
UNREADABLE = (".arw", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".nef", ".orf", ".raf", ".rw2")
# columns that a draw writes by itself; all others stay as they are
WRITTEN = (
    "id", "source_file_name", "target_file_name", "mask_file_name", "object_mask_file_names",
    "instruction", "source_caption", "target_caption", "notes", "license", "author",
)  # fmt: skip
ONE_A_LINE = "one edit a line, columns in the first"


def own(folder: Path) -> Iterator[Candidate]:
    """Return the pictures of a folder, in the order of its metadata or, without, of their names.

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
    given = record.model_fields_set
    further = {name: getattr(record, name) for name in given if name not in WRITTEN}
    return Candidate(
        OWN, record.id, item.source(), record.instruction, record.source_caption,
        record.target_caption, item.target(), item.mask(), record.notes, record.license,
        record.author, list(item.object_masks().values()), further,
    )  # fmt: skip


def _of_table(folder: Path) -> Iterator[Candidate]:
    """Rows of a CSV file; empty cells are left out, as imagefolder does."""
    path = folder / TABLE
    text = io.StringIO(read_text(path), newline="")
    try:
        reader = csv.DictReader(text)
        _check_header(list(reader.fieldnames or ()), path)
        rows = list(reader)
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
        item = EditItem(record, folder)
        check_files(where, item)
        yield _candidate(item)


def _check_header(names: list[str], path: Path) -> None:
    """Raise `DataError` for a header that is not columns between commas, each named once."""
    for sign, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and sign in names[0]:
            raise DataError(f"{path}: columns are parted by {called}; save it with commas")
    for name in names:
        if name != name.strip():
            raise DataError(f"{path}: blanks around the column name {name!r}; remove them")
        if not name:
            raise DataError(f"{path}: a column without a name; name it, or remove it")
        if names.count(name) > 1:
            raise DataError(f"{path}: two columns are called {name!r}; remove one")


def _record(row: Mapping[str, str], where: str) -> EditRecord:
    lists = {
        name for name, field in EditRecord.model_fields.items() if field.annotation == list[str]
    }
    cells = {k: v.split(";") if k in lists else v for k, v in row.items()}
    return record_of(cells, where)


def _bare(folder: Path) -> Iterator[Candidate]:
    """Pictures by name, each with the text beside it, if there is one."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    for path in files:
        if path.suffix.lower() in UNREADABLE:
            raise DataError(f"{path}: {path.suffix} cannot be read; save it as JPEG or PNG")
    found = [p for p in files if p.suffix.lower() in PICTURES]
    if not found:
        raise DataError(f"{folder}: no pictures; known are {', '.join(PICTURES)}")
    stems: dict[str, Path] = {}
    for path in found:
        if path.stem in stems:
            raise DataError(f"{folder}: {stems[path.stem].name} and {path.name}; rename one")
        stems[path.stem] = path
    for path in found:
        yield Candidate(OWN, path.name, open_image(path), instruction_beside(path), from_file=True)


def left_alone(folder: Path) -> list[str]:
    """Files of a folder without metadata that are neither pictures nor texts of pictures."""
    files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    stems = {p.stem for p in files if p.suffix.lower() in PICTURES}
    texts = {p for p in files if p.suffix.lower() == ".txt" and p.stem in stems}
    return sorted(p.name for p in files if p.suffix.lower() not in PICTURES and p not in texts)


def instruction_beside(picture: Path) -> str:
    """The text of the file beside a picture (dog.txt, DOG.TXT), in one line; "" without one."""
    beside = (p for p in picture.parent.iterdir() if p.stem == picture.stem and p.is_file())
    texts = sorted(path for path in beside if path.suffix.lower() == ".txt")
    return " ".join(read_text(texts[0]).split()) if texts else ""


def as_picture(mask: np.ndarray) -> Image.Image:
    """Return a mask as it lies on disk: white where the edit may change the picture."""
    return Image.fromarray(mask.astype(np.uint8) * 255)
