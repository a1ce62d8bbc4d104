"""One tidy row of metrics per edited image: the glue between items, features and metrics.

Columns are `{metric}_{against}_{where}`: against the *source* or the exact *target*, over the whole
image, `inside` or `outside` the mask. `_excess` is what remains of an outside value after
subtracting that of the autoencoder's round trip of the source, which no latent editor can avoid:
positive is worse for distances, negative is worse for PSNR (dB) and SSIM. `_if_success` is NaN
where the edit did not happen. Every row has every column; what is unknown or undefined is NaN.

| columns | from |
|---|---|
| gained_seen, lost_gone, kept_seen, whole | the judge, if there is one; `similarity.verdicts` |
| nothing_added | the judge, of source and edit; `similarity.nothing_added` |
| nearer, answer_distance, answer_share, answer_iou | right answers; `answers.nearest` |
| success | all of these that are known; NaN without a judge or anything gained or lost |
| success_soft | mean probability of what is gained, and of the absence of what is lost |
| clip_i_*, dinov2_* | cosine of the image embeddings |
| clip_t | cosine of the edited image and the target caption |
| clip_direction | cosine of the image's and the caption's movement |
| l1, mse, psnr, ssim, feature_distance_dinov2 | pixels, and DINOv2 patches |
| leakage_auc, leakage_share, selectivity | where the change is |
| inside_area, outside_area | shares of the image; between them lies the guard band |
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from cirp.data.edits import EditItem
from cirp.metrics import regions, similarity
from cirp.metrics.answers import Pixels, nearest
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.regions import Regions

PATCHES = "feature_distance_dinov2"
DISTANCES = ("l1", "mse", "psnr", "ssim", PATCHES)
JUDGED = ("gained_seen", "lost_gone", "kept_seen", "whole", "nothing_added")
VERDICTS = (*JUDGED, "nearer")
METRICS = (
    "success",
    "success_soft",
    *VERDICTS,
    "answer_distance",
    "answer_share",
    "answer_iou",
    "clip_i_source",
    "clip_i_target",
    "dinov2_source",
    "dinov2_target",
    "clip_t",
    "clip_direction",
    *(
        f"{name}_source{where}"
        for name in DISTANCES
        for where in ("", "_inside", "_outside", "_outside_excess")
    ),
    *(f"{name}_target{where}" for name in DISTANCES for where in ("", "_inside")),
    "l1_source_outside_excess_if_success",
    "leakage_auc",
    "leakage_share",
    "selectivity",
    "inside_area",
    "outside_area",
)
CODE = "scores 4"  # raise it when a measure changes: rows of tables carry it
AT_ONCE = 32  # items whose images are held and encoded together


def score(
    item: EditItem,
    edited: Image.Image,
    features: FeatureExtractor,
    *,
    round_trip: Image.Image | None = None,
    guard: int | None = None,
    answers: Sequence[Pixels] | None = None,
) -> dict[str, float | str | bool]:
    """All metrics of one edited image; see `score_all`."""
    trips = None if round_trip is None else [round_trip]
    table = score_all([item], [edited], features, round_trips=trips, guard=guard, answers=[answers])
    return table.iloc[0].to_dict()


def score_all(
    items: Sequence[EditItem],
    edited: Sequence[Image.Image],
    features: FeatureExtractor,
    *,
    round_trips: Sequence[Image.Image] | None = None,
    guard: int | None = None,
    answers: Sequence[Sequence[Pixels] | None] | None = None,
) -> pd.DataFrame:
    """One row per item and edited image, in order: id, edit_type, is_global, example, METRICS.

    `round_trips` are the autoencoder's reconstructions of the sources; without them the excess is
    NaN. `guard` is the width of the band around the mask in pixels (default: 1/32 of the image).
    `answers` are the right answers to each item, at its size.

    Raises `ValueError`, before anything is encoded, if the numbers of items and images differ or an
    image has another size than its source.
    """
    trips = list(round_trips) if round_trips is not None else [None] * len(items)
    answers = list(answers) if answers is not None else [None] * len(items)
    if not len(items) == len(edited) == len(trips) == len(answers) > 0:
        raise ValueError(
            f"{len(items)} items, {len(edited)} edited images and {len(trips)} round trips; "
            "give one of each, and at least one item"
        )
    for item, *images in zip(items, edited, trips, strict=True):
        size = item.size
        for image in images:
            if image is not None and image.size != size:
                raise ValueError(
                    f"{item.id}: an image of {image.size[0]}x{image.size[1]} pixels cannot be "
                    f"compared with its source of {size[0]}x{size[1]}; "
                    f"use item.at(({image.size[0]}, {image.size[1]})) for editing and scoring"
                )
    rows = []
    for start in range(0, len(items), AT_ONCE):
        columns = (items, edited, trips, answers)
        some = [list(column[start : start + AT_ONCE]) for column in columns]
        _encode_together(*some[:3], features)
        rows += [_row(*one, features, guard) for one in zip(*some, strict=True)]
    return pd.DataFrame(rows)


def verdict(
    item: EditItem,
    edited: Image.Image,
    features: FeatureExtractor,
    right: Sequence[Pixels] | None,
) -> dict[str, float]:
    """Whether the edit happened, and what says so; only what the judge and the answers know.

    Raises `ValueError` if a label is unknown to the judge.
    """
    record, found = item.record, {}
    if right:
        found |= nearest(np.asarray(edited), np.asarray(item.source()), right)
    if features.has_judge:
        said = features.judge([edited, item.source()]).astype(float)
        seen, before = said.T.to_dict().values()  # "records" is slow where columns are many
        try:
            found |= similarity.verdicts(seen, record.gained, record.lost, record.kept)
        except ValueError as error:
            raise ValueError(f"{item.id}: {error}") from error
        if record.gained or record.lost:  # else nobody knows what was asked for
            belongs = (*record.gained, *record.kept)
            found["nothing_added"] = similarity.nothing_added(seen, before, belongs)
        found["success_soft"] = similarity.soft_success(seen, record.gained, record.lost)
        known = {name: found.get(name, math.nan) for name in VERDICTS}
        found["success"] = similarity.success(known)
    return found


def _encode_together(
    items: list[EditItem],
    edited: list[Image.Image],
    trips: list[Image.Image | None],
    features: FeatureExtractor,
) -> None:
    """Encode in batches what the rows will ask for one by one; the extractor remembers it."""
    sources, targets = [item.source() for item in items], [item.target() for item in items]
    pictures = [*edited, *sources, *(image for image in (*targets, *trips) if image is not None)]
    features.clip_image(pictures)
    features.dinov2(pictures)
    if features.has_judge:
        features.judge([*edited, *sources])


def _row(
    item: EditItem,
    edited: Image.Image,
    trip: Image.Image | None,
    right: Sequence[Pixels] | None,
    features: FeatureExtractor,
    guard: int | None,
) -> dict[str, float | str | bool]:
    record, source, target = item.record, item.source(), item.target()
    sides = regions.split(
        item.mask(), shape=source.size[::-1], is_global=record.is_global, guard=guard
    )
    row = {
        "id": record.id,
        "edit_type": record.edit_type,
        "is_global": record.is_global,
        "example": record.example,
        **dict.fromkeys(METRICS, math.nan),
    }
    row |= _similarities(item, edited, source, target, features)
    row |= verdict(item, edited, features, right)

    found = _distances(edited, source, sides, features)
    row |= {f"{name}_source{where}": value for (name, where), value in found.items()}
    if trip is not None:
        unavoidable = _distances(trip, source, sides, features)
        for name in DISTANCES:
            excess = found[name, "_outside"] - unavoidable[name, "_outside"]
            row[f"{name}_source_outside_excess"] = excess
    if target is not None:
        against = _distances(edited, target, sides, features)
        for (name, where), value in against.items():
            if where != "_outside":  # outside, the exact target is the source
                row[f"{name}_target{where}"] = value

    changes = similarity.change(similarity.to_array(edited), similarity.to_array(source))
    row["leakage_auc"] = similarity.leakage_auc(changes, sides)
    row["leakage_share"] = similarity.leakage_share(changes, sides)
    row["selectivity"] = similarity.selectivity(row["l1_source_inside"], row["l1_source_outside"])
    row["inside_area"], row["outside_area"] = sides.inside_area, sides.outside_area
    row["l1_source_outside_excess_if_success"] = similarity.gated(
        row["l1_source_outside_excess"], row["success"]
    )
    return row


def likeness(
    edited: Image.Image, source: Image.Image, features: FeatureExtractor, caption: str | None
) -> dict[str, float]:
    """Return `clip_i` and `dinov2` of a picture to its source, and `clip_t` to a caption."""

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.clip(similarity.cosine(one, other), -1, 1))

    mine, theirs = features.clip_image([edited, source])
    found = {"clip_i": cosine(mine, theirs), "dinov2": cosine(*features.dinov2([edited, source]))}
    if caption:
        found["clip_t"] = cosine(mine, features.clip_text([caption])[0])
    return found


def _similarities(
    item: EditItem,
    edited: Image.Image,
    source: Image.Image,
    target: Image.Image | None,
    features: FeatureExtractor,
) -> dict[str, float]:
    found = {}
    pictures = [edited, source] if target is None else [edited, source, target]
    clip, dinov2 = features.clip_image(pictures), features.dinov2(pictures)
    for against, row in zip(("source", "target"), range(1, len(pictures)), strict=False):
        found[f"clip_i_{against}"] = similarity.cosine(clip[0], clip[row])
        found[f"dinov2_{against}"] = similarity.cosine(dinov2[0], dinov2[row])
    before, after = item.record.source_caption, item.record.target_caption
    if after:
        (goal,) = features.clip_text([after])
        found["clip_t"] = similarity.cosine(clip[0], goal)
        if before:
            (start,) = features.clip_text([before])
            found["clip_direction"] = similarity.clip_direction(clip[0], clip[1], goal, start)
    return found


def _distances(
    image: Image.Image, reference: Image.Image, sides: Regions, features: FeatureExtractor
) -> dict[tuple[str, str], float]:
    """(metric, where) -> value, for every metric of DISTANCES and "", "_inside", "_outside"."""
    pixels = similarity.pixel_metrics(
        similarity.to_array(image), similarity.to_array(reference), sides
    )
    found = {}
    for key, value in pixels.items():
        name, _, where = key.partition("_")
        found[name, where and f"_{where}"] = value
    (mine, theirs), _ = features.dinov2_patches([image, reference])
    patches = similarity.patch_metrics(
        similarity.patch_distance(mine, theirs),
        inside=features.patch_cover(sides.inside),
        outside=features.patch_cover(sides.outside),
    )
    return found | {(PATCHES, where): value for where, value in patches.items()}
