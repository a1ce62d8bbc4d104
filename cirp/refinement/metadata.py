"""Edits on disk in and out of a refinement."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cirp.data.edits import METADATA, DataError, EditItem, record_of
from cirp.data.text_files import json_lines
from cirp.paths import replacing
from cirp.refinement.batch import Ask, Result

REFINED = "metadata.refined.jsonl"


def asks(items: Sequence[EditItem], *, anew: bool = False) -> tuple[list[Ask], list[str]]:
    """Return the edits to refine, and the ids of those that cannot be: they have no source caption.

    Edits that have a target caption are left as they are, unless `anew`.
    """
    found, without = [], []
    for item in items:
        record = item.record
        if record.target_caption and not anew:
            continue
        if record.source_caption:
            found.append(Ask(record.id, record.instruction, record.source_caption))
        else:
            without.append(record.id)
    return found, without


def check_place(folder: Path, out: Path) -> None:
    """Raise `ValueError` for a file that refined metadata must not replace or cannot be written to.

    Allowed is a new .jsonl file in the folder, or one that a refinement has written before.
    """
    if out.resolve() == (folder / METADATA).resolve():
        raise ValueError(f"{out} is the original metadata; give another file, and look at it first")
    if out.resolve().parent != folder.resolve():
        raise ValueError(f"{out} must stand in {folder}: its file names are relative to the folder")
    if out.suffix != ".jsonl" or out.is_dir():
        raise ValueError(f"{out}: refined metadata is a .jsonl file; give {folder / REFINED}")
    if out.exists():
        try:
            for where, row in json_lines(out):
                record_of(row, where)
        except DataError as error:
            raise ValueError(f"{out} would be lost, and holds no edits ({error})") from error
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{folder}: no permission to write there")


def written(folder: Path, results: Sequence[Result], out: Path) -> Path:
    """Return the folder's metadata with the answers in it, at `out`; the original is left alone.

    Raises `ValueError` as `check_place` does.
    """
    check_place(folder, out)
    answers = {r.ask.id: r.answer for r in results if r.answer is not None}
    lines = []
    for where, row in json_lines(folder / METADATA):
        answer = answers.get(record_of(row, where).id)
        if answer is not None:
            row |= {
                "target_caption": answer.target_caption,
                "target_words": list(answer.target_words),
                "words": row.get("words") or list(answer.words),
            }
            record_of(row, where)  # what is written can be read
        lines.append(json.dumps(row))
    with replacing(out) as half:
        half.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out
