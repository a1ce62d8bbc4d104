"""Scores of the outputs of any editor: each is aligned with its source, then compared with it.

    table = score_outputs(cases(folder), {"mine": Path("my-outputs")})

Many editors shift or zoom the whole picture. Compared pixel by pixel, all of it then seems changed.
So an output is aligned first, and where that explains more than half of its change outside, it is
reported as moved and not as over-edited.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from cirp.data.images import DataError, Mask, fit, open_image
from cirp.metrics import regions, similarity, tolerance
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.regions import Regions
from cirp.metrics.registration import Registration, align, register
from cirp.metrics.repair import WHOLE, clear_share, found_region
from cirp.metrics.scores import likeness
from cirp.scoring.cases import Case, output_of
from cirp.statistics.bootstrap import compare, mean_of

NO_EDIT, HALF = "no edit", "half of {}"  # two controls: the source, and its mean with an output
MOVED = 0.5  # share of the change outside that an alignment explains
PROPORTIONS = 0.03  # by which the sides' ratio may differ without a crop
MEASURES = ("l1", "l1_inside", "l1_outside", "ssim", "ssim_outside", "psnr", "psnr_outside")
SUMMARY = {  # of these there are means: measure -> (heading, what is better, digits)
    "l1_outside": ("Change outside", "lower", 4),
    "l1_inside": ("Change inside", "", 4),
    "iou_within": ("Right part (PaintBench's IoU)", "higher", 3),
    "l1_answer": ("Distance to the answer", "lower", 4),
    "clip_i": ("CLIP-I to the source", "", 3),
    "dinov2": ("DINOv2 to the source", "", 3),
    "clip_t": ("CLIP-T", "higher", 3),
    "ssim_outside": ("SSIM outside", "higher", 3),
    "psnr_outside": ("PSNR outside, dB", "higher", 1),
    "l1_outside_excess": ("Change outside beyond the autoencoder's", "lower", 4),
}
COLUMNS = (
    "editor", "id", "instruction", "why", "region", "moved", "dx", "dy", "scale", "angle",
    "explained", "l1_outside_unaligned", *MEASURES, "l1_outside_excess", "iou_within", "l1_answer",
    "region_iou", "clip_i", "dinov2", "clip_t", "width", "height",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """An output beside its source: both at the source's size, and where they were compared."""

    source: Image.Image
    aligned: Image.Image
    answer: Image.Image | None
    region: Mask
    known: Mask
    row: dict[str, object]


def check_editors(editors: Mapping[str, Path]) -> None:
    """Raise `DataError` for a folder that is not there, or a name that a control has."""
    for name, folder in editors.items():
        if not name.strip() or is_control(name):
            raise DataError(f"{name!r} cannot be an editor's name; give another one")
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the one with the outputs of {name}")


def is_control(name: str) -> bool:
    """Whether a row's editor is a control."""
    return name == NO_EDIT or name.startswith(HALF.format(""))


def compared(
    case: Case,
    edited: Image.Image,
    *,
    aligning: bool = True,
    region: Mask | None = None,
    trip: Image.Image | None = None,
) -> Compared:
    """Align one output with its source and score it.

    `region` is where it changed, if the case has no mask; by default it is found. `trip` is the
    source through the autoencoder and back, if that is known; then the change outside that exceeds
    the autoencoder's is a score, too.

    Raises `DataError` if the source, its answer or its mask cannot be read.
    """
    source = open_image(case.source)
    width, height = edited.size
    notes = []
    ratio = (width / height) / (source.width / source.height)
    if abs(ratio - 1) > PROPORTIONS:
        notes.append(f"cropped from {width}x{height} to the source's proportions")
    edited = fit(edited, size=source.size)
    found = register(source, edited) if aligning else Registration(why="not asked for")
    aligned, known = align(edited, found, size=source.size)
    given = None if case.mask is None else case.mask(source)
    if given is not None and given.shape != source.size[::-1]:
        raise DataError(
            f"{case.id}: the mask is {given.shape[1]}x{given.shape[0]}, the source {source.width}x"
            f"{source.height}; resize the mask"
        )
    guessed = found_region(source, aligned) if region is None else region
    region, whole = guessed if given is None else given, case.whole
    share = clear_share(source, aligned)
    if given is None and not whole and share > WHOLE:
        whole = True
        notes.append(f"differs clearly in {share:.0%} of the picture, so it has no region")
    region = np.ones_like(region) if whole else region
    full = regions.split(region, shape=known.shape, is_global=whole)
    sides = Regions(full.inside & known, full.outside & known, full.guard)
    before, after, as_it_was = map(similarity.to_array, (source, aligned, edited))
    row = _pixels(before, after, sides)
    unaligned = regions.average(similarity.change(as_it_was, before), full.outside)
    gain = 1 - row["l1_outside"] / unaligned if unaligned > 0 else 0.0
    row |= {
        "region": "whole picture" if whole else "found" if given is None else "given",
        "moved": bool(found.moved and gain > MOVED),
        "dx": found.dx, "dy": found.dy, "scale": found.scale, "angle": found.angle,
        "explained": found.explained, "l1_outside_unaligned": unaligned,
        "width": width, "height": height,
    }  # fmt: skip
    if given is not None and not whole:
        row["region_iou"] = regions.iou(guessed, given)
    if trip is not None:
        unavoidable = _pixels(before, similarity.to_array(trip), sides)["l1_outside"]
        row["l1_outside_excess"] = row["l1_outside"] - unavoidable
    answer = None if case.answer is None else open_image(case.answer)
    if answer is not None:
        answer = fit(answer, size=source.size)
        pixels = (np.asarray(one) for one in (source, answer, aligned))
        row["iou_within"] = tolerance.iou_within(*pixels)
        row["l1_answer"] = float(similarity.change(after, similarity.to_array(answer)).mean())
    if case.whole:
        notes.append("the whole picture may change, so nothing is outside")
    row["why"] = "; ".join(notes)
    return Compared(source, aligned, answer, region, known, row)


def _pixels(before: np.ndarray, after: np.ndarray, sides: Regions) -> dict[str, float]:
    found = similarity.pixel_metrics(after, before, sides)
    return {name: found.get(name, math.nan) for name in MEASURES}


def score_outputs(
    asked: Sequence[Case],
    editors: Mapping[str, Path],
    *,
    aligning: bool = True,
    features: FeatureExtractor | None = None,
    round_trip: Callable[[Image.Image], Image.Image] | None = None,
    progress: bool = False,
    each: Callable[[str, Case, Compared], None] | None = None,
) -> pd.DataFrame:
    """Return one row per editor and edit, and the rows of two controls.

    The controls are the source itself ("no edit") and the mean of source and output ("half of
    ..."): both are more similar to the source than any edit, and neither is one. A value that is
    not known is NaN; where a whole row is, the column `why` says why. `each` is called with every
    output that could be compared.

    Raises `DataError`, before anything is compared, if no output pairs with any edit, or two do.
    """
    paths = {name: {one.id: output_of(one, folder) for one in asked}
             for name, folder in editors.items()}  # fmt: skip
    for name, found in paths.items():
        if not any(found.values()):
            first, there = asked[0], sorted(one.name for one in editors[name].iterdir())
            raise DataError(
                f"{editors[name]}: holds no output for any of {len(asked)} edits; the first would "
                f"be {first.output}.png; there is {', '.join(there[:3]) or 'nothing'}"
            )
    rows, trips = [], {}
    work = [(name, one) for name in editors for one in asked]
    for name, one in tqdm(work, desc="score", unit="output", disable=not progress):
        blank = {"editor": name, "id": one.id, "instruction": one.instruction}
        path = paths[name][one.id]
        if path is None:
            rows.append({**blank, "why": f"no output {one.output}.png"})
            continue
        try:
            edited = open_image(path)
        except DataError as error:
            rows.append({**blank, "why": str(error)})
            continue
        if one.id not in trips:  # one for all editors
            trips[one.id] = None if round_trip is None else round_trip(open_image(one.source))
        trip = trips[one.id]
        made = compared(one, edited, aligning=aligning, trip=trip)
        rows.append(blank | made.row | _encoded(one, made.source, made.aligned, features))
        half = Image.blend(made.source, made.aligned, 0.5)
        mixed = compared(one, half, aligning=False, region=made.region, trip=trip)
        own = mixed.row | {"region_iou": math.nan} | _encoded(one, made.source, half, features)
        rows.append({**blank, "editor": HALF.format(name), **own})
        if each is not None:
            each(name, one, made)
    for one in asked:
        if one.id in trips:
            source = open_image(one.source)
            made = compared(one, source, aligning=False)
            own = made.row | {"region_iou": math.nan} | _encoded(one, source, source, features)
            rows.append({"editor": NO_EDIT, "id": one.id, "instruction": one.instruction, **own})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    table["why"] = table["why"].fillna("")
    order = {name: n for n, name in enumerate([*editors, *map(HALF.format, editors), NO_EDIT])}
    return table.sort_values(
        "editor", key=lambda names: names.map(order), kind="stable"
    ).reset_index(drop=True)  # fmt: skip


def _encoded(
    case: Case, source: Image.Image, edited: Image.Image, features: FeatureExtractor | None
) -> dict[str, float]:
    return {} if features is None else likeness(edited, source, features, case.caption)


def summary(table: pd.DataFrame) -> dict:
    """Return means with intervals for each editor, and their paired differences.

    Outputs that moved are counted, and stay in the means: they are scored as they were aligned.
    """
    named = table.rename(columns={"editor": "method"}).assign(seed=0)
    endless = named["psnr_outside"] == math.inf  # of equal pictures; a mean of the rest misleads
    named.loc[named["method"].isin(named.loc[endless, "method"]), "psnr_outside"] = math.nan
    names = list(dict.fromkeys(named["method"]))
    real = [name for name in names if not is_control(name)]
    known = [name for name in SUMMARY if named[name].notna().any()]
    editors = {}
    for name in names:
        mine = named[named["method"] == name]
        scored = mine[mine["l1"].notna()]
        editors[name] = {
            "outputs": len(scored),
            "missing": len(mine) - len(scored),
            "moved": int(scored["moved"].fillna(False).sum()),
            **{one: _ends(mean_of(named, name, one)) for one in known if mine[one].notna().any()},
        }
    pairs = [(a, b) for n, a in enumerate(real) for b in real[n + 1 :]]
    differences = [
        {"of": b, "minus": a, "measure": one, **_ends(compare(named, b, a, one))}
        for a, b in pairs
        for one in known
        if all(named.loc[named["method"] == name, one].notna().any() for name in (a, b))
    ]
    return {"editors": editors, "differences": differences}


def _ends(found) -> dict[str, float | int | None]:
    values = {"mean": found.mean, "low": found.low, "high": found.high}
    rounded = {k: None if math.isnan(v) else round(float(v), 6) for k, v in values.items()}
    return rounded | {"n": int(found.n)}
