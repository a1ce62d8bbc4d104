"""Edits on disk in and out of a refinement."""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from cirp.data.edits import METADATA, EditItem
from cirp.refinement.batch import Ask, Result


def asks(items: Sequence[EditItem], *, anew: bool = False) -> tuple[list[Ask], list[str]]:
    """The edits to refine, and the ids of those that cannot be: they have no source caption.

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
    """Raise `ValueError` if `out` is the original, or its file names would lead nowhere."""
    if out.resolve() == (folder / METADATA).resolve():
        raise ValueError(f"{out} is the original metadata; give another file, and look at it first")
    if out.resolve().parent != folder.resolve():
        raise ValueError(f"{out} must stand in {folder}: its file names are relative to the folder")


def written(folder: Path, results: Sequence[Result], out: Path) -> Path:
    """The folder's metadata with the answers in it, at `out`; the original is left alone.

    Raises `ValueError` as `check_place` does.
    """
    check_place(folder, out)
    answers = {r.ask.id: r.answer for r in results if r.answer is not None}
    lines = []
    for line in (folder / METADATA).read_text().splitlines():
        if not line.strip():
            continue
        row = json.loads(line)
        name = row.get("id") or Path(row.get("source_file_name", row.get("file_name", ""))).stem
        answer = answers.get(name)
        if answer is not None:
            row["target_caption"] = answer.target_caption
            row["target_words"] = list(answer.target_words)
            row["words"] = row.get("words") or list(answer.words)
        lines.append(json.dumps(row, ensure_ascii=False))
    half = out.with_name(f"{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    half.write_text("\n".join(lines) + "\n")
    os.replace(half, out)
    return out
