"""The page *Your editor*: scores with intervals, and every output beside its source.

It opens from a folder, without a server and without the network. The same scores give the same
bytes.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from PIL import Image
from scipy import ndimage

from cirp.metrics import similarity, tolerance
from cirp.scoring.cases import Case
from cirp.scoring.outputs import SUMMARY, Compared, is_control, summary

MARK = ".cirp-scores"  # in a folder that was made here, and may be made anew
LONGEST = 320  # pixels of a picture's longer side on the page
STRONGEST = 0.5  # mean change of the channels at which a map's colour ends


@dataclass
class Gallery:
    """The pictures of a page, written as they are made.

    `add` is what `score_outputs` calls with every output.
    """

    folder: Path
    cards: list[dict] = field(default_factory=list)

    def add(self, editor: str, case: Case, made: Compared) -> None:
        """Save source, output and map of one output."""
        number = f"{len(self.cards):05d}"
        card = {"editor": editor, "id": case.id, "instruction": case.instruction}
        for name, picture in (
            ("source", made.source), ("output", made.aligned), ("map", error_map(made)),
        ):  # fmt: skip
            path = self.folder / "pictures" / f"{number}-{name}.webp"
            path.parent.mkdir(exist_ok=True)
            small = picture.copy()
            small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
            small.save(path, quality=85, method=4)
            card[name] = path.relative_to(self.folder).as_posix()
        self.cards.append(card | made.row | {"answered": made.answer is not None})


def error_map(made: Compared) -> Image.Image:
    """Draw where an output is right or wrong; without an answer, how much it changed.

    With the right answer these are PaintBench's four colours, at a tolerance of 10. Without, the
    mean change of the channels, dark to bright up to 0.5, and the line is the region's.
    """
    if made.answer is not None:
        pixels = (np.asarray(one) for one in (made.source, made.answer, made.aligned))
        return tolerance.four_colours(*pixels)
    change = similarity.change(*map(similarity.to_array, (made.aligned, made.source)))
    drawn = matplotlib.colormaps["magma"](np.clip(change / STRONGEST, 0, 1))[..., :3]
    thick = max(1, min(change.shape) // 160)
    inner = ndimage.binary_erosion(made.region, iterations=thick, border_value=1)
    drawn[made.region & ~inner] = 1.0
    drawn[~made.known] = 0.5
    return Image.fromarray((255 * drawn).round().astype(np.uint8))


def write(out: Path, table: pd.DataFrame, cards: list[dict]) -> dict:
    """Write scores.csv, summary.json and index.html beside the pictures; returns the summary."""
    found = summary(table)
    table.to_csv(out / "scores.csv", index=False, float_format="%.6g", lineterminator="\n")
    said = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (out / "summary.json").write_text(said, encoding="utf-8")
    (out / "index.html").write_text(html(found, table, cards), encoding="utf-8")
    return found


def html(found: dict, table: pd.DataFrame, cards: list[dict]) -> str:
    """Return the page of these scores."""
    known = [one for one in SUMMARY if any(one in editor for editor in found["editors"].values())]
    editors = [
        {"name": name, "control": is_control(name), **one} for name, one in found["editors"].items()
    ]
    real = [one for one in editors if not one["control"]]
    ends = [one["l1_outside"]["high"] or one["l1_outside"]["mean"] or 0
            for one in real if "l1_outside" in one]  # fmt: skip
    lacking = table[(table["why"] != "") & table["editor"].isin([one["name"] for one in real])]
    loader = PackageLoader("cirp", "scoring")
    known_pages = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = known_pages.get_template("page.html.jinja")
    return page.render(
        editors=editors, real=real, words={one: SUMMARY[one] for one in known},
        lead=_lead(found, real), differences=found["differences"], cell=_cell, said=_said,
        widest=max(ends, default=0) or 1, cards=sorted(cards, key=_strayed), lacking=lacking,
        answered=any(card["answered"] for card in cards), number=_number,
    ) + "\n"  # fmt: skip


def _strayed(card: dict) -> tuple:
    """Sort what was moved last, and the rest by their change outside, the most changed first."""
    change = card["l1_outside"]
    return bool(card["moved"]), 0.0 if math.isnan(change) else -change, card["editor"], card["id"]


def _number(value: float, digits: int = 4) -> str:
    if value is None or math.isnan(value):
        return "–"
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # -0.0 is 0
    return text.replace("-", "\u2212")


def _cell(one: dict | None, digits: int) -> str:
    if one is None or one["mean"] is None:
        return "–"
    if one["low"] is None:
        return _number(one["mean"], digits)
    low, high = (_number(one[end], digits) for end in ("low", "high"))
    return f"{_number(one['mean'], digits)} [{low}, {high}]"


def _said(one: dict) -> str:
    if one["low"] is None:
        return "unknown: only one edit"
    if one["low"] > 0 or one["high"] < 0:
        return "higher" if one["mean"] > 0 else "lower"
    return "not significantly different"


def _lead(found: dict, real: list[dict]) -> str:
    """Say in two sentences what the page shows."""
    known = [one for one in real if "l1_outside" in one]
    moved = sum(one["moved"] for one in real)
    tail = ""
    if moved:
        many = f"{moved} outputs were" if moved > 1 else "One output was"
        tail = f" {many} moved as a whole; that was undone, and is not counted as over-editing."
    if not known:
        return "No edit has an outside: the whole picture may change in each." + tail
    best = min(known, key=lambda one: one["l1_outside"]["mean"])
    value = f"{100 * best['l1_outside']['mean']:.2f} %"
    start = f"Outside the region of the edit, {best['name']} changes pixels by {value} on average"
    if len(known) == 1:
        return f"{start}." + tail
    others = [one["name"] for one in known if one is not best]
    sure = [name for name in others if _sure(found, best["name"], name)]
    if len(others) == 1:
        word = "significantly" if sure else "but not significantly"
        return f"{start}, {word} less than {others[0]}." + tail
    return (
        f"{start}, the least of {len(known)} editors and significantly less than {len(sure)} of "
        f"the {len(others)} others." + tail
    )


def _sure(found: dict, one: str, other: str) -> bool:
    """Whether the interval of the difference outside leaves out zero."""
    return any(
        {row["of"], row["minus"]} == {one, other} and row["low"] is not None
        and row["measure"] == "l1_outside" and not row["low"] <= 0 <= row["high"]
        for row in found["differences"]
    )  # fmt: skip
