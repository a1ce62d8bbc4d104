"""Layouts of benchmarks: what an editor was asked, and where its outputs are.

A folder of edits is ours (`data/README.md`) or one of four published benchmarks; `cases` recognises
them by a file that only one of them has. Of MIRAGE no published files were at hand.

| benchmark | has | an editor's outputs |
|---|---|---|
| a folder of edits | metadata.jsonl | `<id>.png`, or the file that `edited_file_name` names |
| PIE-Bench | mapping_file.json, annotation_images/ | `annotation_images/<path of the source>` |
| MagicBrush | edit_sessions.json, images/ | `<image>/<image>_1.png`, `<image>_inde_2.png`, ... |
| ImgEdit | basic_edit.json | `<key>.png` |
| GEdit | fullset/, or none | `fullset/<task>/<language>/<key>.png` beside `<key>_SRCIMG.png` |
| PaintBench | `<task>/<number>_input.png` | `<task>/<number>_output.png` |
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from cirp.curation.sources import painted, run_lengths
from cirp.data.edits import METADATA, load_edits
from cirp.data.images import DataError, Mask

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Case:
    """One edit that was asked for.

    Attributes
    ----------
    id : str
        Its name.
    source : Path
        The picture before the edit.
    output : str
        Where an editor's output lies in its folder, without the ending.
    instruction, caption : str
        What was asked, and what the result should show; empty where it is not known.
    answer : Path, optional
        The right answer.
    mask : callable, optional
        From the source's picture to where it may change; None is not known.
    whole : bool
        The whole picture may change.
    """

    id: str
    source: Path
    output: str
    instruction: str = ""
    caption: str = ""
    answer: Path | None = None
    mask: Callable[[Image.Image], Mask | None] | None = None
    whole: bool = False


def cases(folder: Path) -> list[Case]:
    """Return what was asked, from a folder of edits or of a published benchmark.

    Raises `DataError` if the folder is of none of the known layouts, or is not as it should be.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that holds the edits")
    for mark, read in LAYOUTS.items():
        if next(folder.glob(mark), None) is not None:
            try:
                found = list(read(folder))
            except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
                raise DataError(
                    f"{folder}: {mark} is not as published ({error!r}); see cirp.scoring.cases"
                ) from error
            if not found:
                raise DataError(f"{folder}: {mark} names no edit")
            return found
    raise DataError(
        f"{folder}: has no {METADATA} and is no benchmark that is known here; write one line per "
        "edit (data/README.md)"
    )


def output_of(case: Case, folder: Path) -> Path | None:
    """Return an editor's output for a case, whatever its ending; None if there is none.

    Raises `DataError` if there are two.
    """
    if (named := folder / case.output).is_file():
        return named
    found = [path for end in ENDINGS for path in _either_case(folder / f"{case.output}{end}")]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{folder}: two outputs for {case.id!r}, {names}; keep one of them")
    return found[0] if found else None


def _either_case(path: Path) -> list[Path]:
    """Return the file, with its ending in small or capital letters."""
    both = dict.fromkeys((path, path.with_name(path.stem + path.suffix.upper())))
    return [one for one in both if one.is_file()]


def _own(folder: Path) -> Iterator[Case]:
    for item in load_edits(folder):
        record = item.record
        yield Case(
            record.id, folder / record.source_file_name, record.edited_file_name or record.id,
            record.instruction, record.target_caption or "",
            answer=folder / record.target_file_name if record.target_file_name else None,
            mask=(lambda _, item=item: item.mask()) if record.mask_file_name else None,
            whole=record.is_global,
        )  # fmt: skip


def _pie_bench(folder: Path) -> Iterator[Case]:
    """Yield PIE-Bench's edits; a mask is pairs of start and length, by rows of 512 pixels."""
    for key, row in _json(folder / "mapping_file.json").items():
        numbers = " ".join(map(str, row["mask"]))
        name = str(Path("annotation_images") / row["image_path"])
        yield Case(
            key, folder / name, name, row.get("editing_instruction", ""),
            row["editing_prompt"].replace("[", "").replace("]", ""),
            mask=lambda picture, numbers=numbers: _scaled(run_lengths(numbers), picture),
        )  # fmt: skip


def _magicbrush(folder: Path) -> Iterator[Case]:
    """Yield MagicBrush's turns; the source of one is the annotators' result of the one before."""
    for image, turns in _json(folder / "edit_sessions.json").items():
        for number, turn in enumerate(turns, start=1):
            where = folder / "images" / image
            mask = where / turn.get("mask", "")
            last = f"_{number}" if number == 1 else f"_inde_{number}"
            yield Case(
                f"{image}-{number}", where / turn["input"], f"{image}/{image}{last}",
                turn["instruction"], answer=_if_there(where / turn.get("output", "")),
                mask=lambda picture, path=mask: _painted(path, picture),
            )  # fmt: skip


def _imgedit(folder: Path) -> Iterator[Case]:
    for key, row in _json(folder / "basic_edit.json").items():
        yield Case(
            key, folder / row["id"], key, row["prompt"],
            whole=row["edit_type"] in ("style", "background"),
        )  # fmt: skip


def _gedit(folder: Path) -> Iterator[Case]:
    """Yield GEdit's edits; what was asked is in the dataset, and not beside the outputs."""
    for path in sorted(folder.glob("fullset/*/*/*_SRCIMG.png")):
        key = path.name.removesuffix("_SRCIMG.png")
        task, language = path.parts[-3:-1]
        yield Case(
            f"{key}-{language}", path, f"fullset/{task}/{language}/{key}",
            whole=task in ("style_change", "background_change", "tone_transfer"),
        )  # fmt: skip


def _paintbench(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*/*_input.png")):
        number = path.name.removesuffix("_input.png")
        known = path.with_name(f"{number}.json")
        asked = _json(known).get("instruction", "") if known.is_file() else ""
        task = path.parent.name
        yield Case(
            f"{task}-{number}", path, f"{task}/{int(number):04d}_output", asked,
            answer=_if_there(path.with_name(f"{number}_answer.png")),
        )  # fmt: skip


LAYOUTS = {  # a file that only this layout has -> how it is read
    METADATA: _own,
    "mapping_file.json": _pie_bench,
    "edit_sessions.json": _magicbrush,
    "basic_edit.json": _imgedit,
    "fullset/*/*/*_SRCIMG.png": _gedit,
    "*/*_input.png": _paintbench,
}


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _scaled(mask: Mask | None, picture: Image.Image) -> Bool[np.ndarray, "rows columns"] | None:
    if mask is None or mask.shape == picture.size[::-1]:
        return mask
    return np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _painted(path: Path, picture: Image.Image) -> Mask | None:
    if not path.is_file():
        return None
    with Image.open(path) as mask:
        return painted(mask.copy(), picture)
