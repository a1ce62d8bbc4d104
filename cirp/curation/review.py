"""Looking through a draw: keep, drop, correct the instruction, paint the region; with undo.

Every decision is one line at the end of `review.jsonl`, written before the next picture is shown,
so that a review can be ended at any moment and goes on where it was. What was drawn is never
changed: `finish` writes what is kept into a folder of its own.
"""

import json
import os
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from cirp.curation.folder import ATTRIBUTIONS, REFERENCES, check_new, whole
from cirp.curation.own import as_picture
from cirp.data.edits import (
    DRAFT,
    METADATA,
    EditItem,
    EditRecord,
    check_files,
    load_edits,
    record_of,
)
from cirp.data.images import DataError, open_image, open_mask
from cirp.data.text_files import json_lines

LOG, MASKS = "review.jsonl", "review-masks"
KEEP, DROP = "keep", "drop"
LONGEST = 1000  # characters of an instruction
Mask = Bool[np.ndarray, "row column"]


@dataclass(frozen=True)
class Decision:
    """What was decided of one edit."""

    id: str
    verdict: str  # keep or drop
    instruction: str
    mask: str | None  # file in the folder; None if no region is known


@dataclass
class Review:
    """A folder that is looked through. `open_review` reads one."""

    folder: Path
    rows: list[dict]
    log: list[Decision] = field(default_factory=list)

    @property
    def decided(self) -> dict[str, Decision]:
        """The last decision of each edit that has one."""
        return {one.id: one for one in self.log}

    @property
    def left(self) -> list[str]:
        """The edits without a decision, in order."""
        decided = self.decided
        return [row["id"] for row in self.rows if row["id"] not in decided]

    def row(self, name: str) -> dict:
        """Return what is known of an edit, with what was decided of it. Raises `DataError`."""
        for row in self.rows:
            if row["id"] == name:
                last = self.decided.get(name)
                if last is None:
                    return row
                return row | {"instruction": last.instruction, "mask_file_name": last.mask}
        raise DataError(f"no edit {name!r} in {self.folder}")

    def picture(self, name: str) -> Image.Image:
        """Return the edit's source."""
        return open_image(self.folder / self.row(name)["source_file_name"])

    def mask(self, name: str) -> Mask | None:
        """Return the region as it is now."""
        file = self.row(name).get("mask_file_name")
        return None if file is None else open_mask(self.folder / file)

    def decide(
        self, name: str, verdict: str, *, instruction: str | None = None, mask: Mask | None = None
    ) -> Decision:
        """Keep or drop an edit, perhaps with another instruction or region; saved at once.

        `mask` is True where the edit may change the picture, in any size of the picture's shape; an
        empty one takes the region away; None leaves it as it is.

        Raises `DataError` for an unknown edit or verdict, or an edit kept without an instruction.
        """
        row = self.row(name)
        text = row["instruction"] if instruction is None else " ".join(instruction.split())
        if verdict not in (KEEP, DROP):
            raise DataError(f"unknown verdict {verdict!r}; give {KEEP} or {DROP}")
        if verdict == KEEP and not text:
            raise DataError(f"{name}: no instruction; say what to do with the picture, or drop it")
        if len(text) > LONGEST:
            raise DataError(f"{name}: an instruction of {len(text)} characters; at most {LONGEST}")
        file = row.get("mask_file_name")
        if mask is not None:
            file = self._write_mask(name, mask) if mask.any() else None
        made = Decision(name, verdict, text, file)
        self._append(made.__dict__ | {"at": _now()})
        self.log.append(made)
        return made

    def undo(self) -> Decision | None:
        """Take the last decision back; which it was, None if there is none."""
        if not self.log:
            return None
        self._append({"undo": True, "at": _now()})
        return self.log.pop()

    def _write_mask(self, name: str, mask: Mask) -> str:
        picture = self.picture(name)
        found = as_picture(mask).resize(picture.size, Image.Resampling.NEAREST)
        (self.folder / MASKS).mkdir(exist_ok=True)
        file = f"{MASKS}/{uuid.uuid4().hex}.png"  # a new one each time: an undo needs the old
        found.save(self.folder / file)
        return file

    def _append(self, line: dict) -> None:
        path = self.folder / LOG
        _end_last_line(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self, out: Path) -> Path:
        """Return what is kept as a folder of its own, written beside its place and moved.

        Raises `DataError` if some edits have no decision, none is kept, or `out` is there already.
        """
        out = Path(out)
        check_new(out)
        if self.left:
            raise DataError(f"{len(self.left)} edits have no decision yet, first {self.left[0]!r}")
        kept = [row for row in self.rows if self.decided[row["id"]].verdict == KEEP]
        if not kept:
            raise DataError("every edit was dropped; keep at least one")
        with whole(out) as half:
            records = [self._copied(row, half) for row in kept]
            lines = "".join(record.model_dump_json() + "\n" for record in records)
            (half / METADATA).write_text(lines, encoding="utf-8")
            self._copy_origins({record.id for record in records}, half)
            load_edits(half)
        return out

    def _copied(self, row: dict, half: Path) -> EditRecord:
        """One kept edit with its files in the new folder; the notes say what was changed."""
        last, changed = self.decided[row["id"]], []
        new = row | {"instruction": last.instruction}
        if last.instruction != row["instruction"]:
            changed.append(f"instruction was {row['instruction']!r}" if row["instruction"] else
                           "instruction written in the review")  # fmt: skip
            lower = last.instruction.lower()
            new["words"] = [word for word in row.get("words", []) if word.lower() in lower]
        if last.mask != row.get("mask_file_name"):
            changed.append("region painted in the review" if last.mask else "region taken away")
            new["mask_file_name"] = last.mask and f"{row['id']}/mask-reviewed.png"
            if last.mask:
                _copy(self.folder / last.mask, half / new["mask_file_name"])
        new["notes"] = "; ".join(filter(None, (row.get("notes", ""), *changed)))
        record = record_of(new, f"{self.folder} {row['id']}")
        for name in record.file_names:
            if not (half / name).exists():
                _copy(self.folder / name, half / name)
        return record

    def _copy_origins(self, kept: set[str], half: Path) -> None:
        """References of what is kept; the attributions as they are."""
        if (self.folder / REFERENCES).is_file():
            rows = (row for _, row in json_lines(self.folder / REFERENCES))
            some = [json.dumps(row) + "\n" for row in rows if row.get("id") in kept]
            (half / REFERENCES).write_text("".join(some), encoding="utf-8")
        if (self.folder / ATTRIBUTIONS).is_file():
            shutil.copyfile(self.folder / ATTRIBUTIONS, half / ATTRIBUTIONS)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def open_review(folder: Path | str) -> Review:
    """A folder of edits, or a draft whose instructions are not all written, with its decisions.

    Raises `DataError` for a folder that is neither, or a log that is of another folder.
    """
    folder = Path(folder)
    draft, metadata = folder / DRAFT, folder / METADATA
    if metadata.is_file():
        rows = [item.record.model_dump() for item in load_edits(folder)]
    elif draft.is_file():
        rows = [_draft_row(folder, where, row) for where, row in json_lines(draft)]
    else:
        raise DataError(f"{folder}: has no {METADATA} and no {DRAFT}; make one with: cirp curate")
    found = Review(folder, rows)
    known = {row["id"] for row in rows}
    log = json_lines(folder / LOG, torn_end=True) if (folder / LOG).is_file() else ()
    for where, one in log:
        if not isinstance(one, dict):
            raise DataError(f"{where}: {one!r} is no decision; remove the line")
        if one.get("undo"):
            found.log[-1:] = []
        elif one.get("id") in known:
            found.log.append(Decision(*(one.get(name) for name in Decision.__annotations__)))
        else:
            raise DataError(f"{where}: {one.get('id')!r} is no edit here")
    return found


def _draft_row(folder: Path, where: str, row: object) -> dict:
    """Return a row of a draft, checked in all but its instruction."""
    said, filled = "", row  # what is no object is refused by `record_of`
    if isinstance(row, dict):
        said = str(row.get("instruction") or "")
        filled = {**row, "instruction": said or "x"}
    checked = record_of(filled, where)
    check_files(where, EditItem(checked, folder))
    return checked.model_dump() | {"instruction": said}


def _end_last_line(path: Path) -> None:
    """End a last line without its line feed; drop what a kill left of one."""
    data = path.read_bytes() if path.is_file() else b""
    whole, feed, tail = data.rpartition(b"\n")
    if not tail:
        return
    try:
        json.loads(tail)
    except ValueError:
        path.write_bytes(whole + feed)
    else:
        path.write_bytes(data + b"\n")
