"""How far an edited image y is from its source x (or from the exact target), and where.

Pure functions: arrays in, numbers out. Pictures are (row, column, 3) in [0, 1], float64.

Names say against what and where: `l1_source_outside` is the L1 distance of the edited image to the
*source*, over pixels *outside* the mask. Whatever has no meaning for an image is NaN, never 0: the
outside of a global edit, the direction of an edit that did nothing.

Similarity to the source is highest for doing nothing at all. Read it beside `success`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image
from skimage.metrics import structural_similarity
from sklearn.metrics import roc_auc_score

from cirp.metrics.regions import Regions, average

Picture = Float[np.ndarray, "height width 3"]
Field = Float[np.ndarray, "height width"]
Vector = Float[np.ndarray, " feature"]

SSIM_RADIUS = 5  # a Gaussian window of 11 x 11 pixels, sigma 1.5
STILL = 1e-5  # two unit vectors nearer than this are equal up to float32 rounding
THRESHOLD = 0.5  # the judge has seen a label whose probability is at least this


def to_array(image: Image.Image) -> Picture:
    """Return the pixels of a picture, 0 to 1."""
    return np.asarray(image.convert("RGB")).astype(np.float64) / 255


# Pixels


def change(edited: Picture, reference: Picture) -> Field:
    """|y - x|, averaged over the three channels: the map behind L1, leakage and selectivity."""
    return np.abs(edited - reference).mean(axis=-1)


def ssim_map(edited: Picture, reference: Picture) -> Field:
    """SSIM at each pixel (Wang et al. 2004, window 11 x 11, sigma 1.5), averaged over channels."""
    if min(edited.shape[:2]) <= SSIM_RADIUS:
        raise ValueError(
            f"SSIM needs more than {SSIM_RADIUS} pixels a side, not {edited.shape[:2]}"
        )
    # Mirrored at the border, as torchmetrics does it; skimage's own border repeats the last pixel.
    around = ((SSIM_RADIUS,) * 2, (SSIM_RADIUS,) * 2, (0, 0))
    y, x = (np.pad(image, around, mode="reflect") for image in (edited, reference))
    _, found = structural_similarity(
        y, x, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    return found[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS].mean(axis=-1)


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; infinite for equal images."""
    return math.inf if mse == 0 else -10 * math.log10(mse)


def pixel_metrics(
    edited: Float[np.ndarray, "edited_height edited_width 3"],
    reference: Picture,
    regions: Regions,
) -> dict[str, float]:
    """l1, mse, psnr and ssim over the whole image, `_inside` and `_outside`.

    `ssim_outside` leaves out the pixels whose window reaches into the mask, so that it is exactly 1
    if nothing outside has changed. "mse" is what MagicBrush's tables call L2.

    Raises `ValueError` if the two images differ in size: resizing would hide a changed aspect.
    """
    if edited.shape != reference.shape:
        raise ValueError(
            f"the edited image is {edited.shape[:2]} but its reference {reference.shape[:2]} "
            "(rows, columns); compare images of one size"
        )
    maps = {
        "l1": change(edited, reference),
        "mse": ((edited - reference) ** 2).mean(axis=-1),
        "ssim": ssim_map(edited, reference),
    }
    everywhere = np.ones(edited.shape[:2], dtype=bool)
    result = {}
    for name, values in maps.items():
        outside = regions.outside_windows(SSIM_RADIUS) if name == "ssim" else regions.outside
        result[name] = average(values, everywhere)
        result[f"{name}_inside"] = average(values, regions.inside)
        result[f"{name}_outside"] = average(values, outside)
    for where in ("", "_inside", "_outside"):
        result[f"psnr{where}"] = psnr(result[f"mse{where}"])
    return result


# Where the change is


def leakage_auc(changes: Field, regions: Regions) -> float:
    """ROC-AUC of the change map as a detector of the mask, the guard band left out.

    1: every pixel inside changed more than any outside; 0.5: the change does not follow the mask.
    NaN if nothing changed or a side is empty.
    """
    if not (changes.any() and regions.inside.any() and regions.outside.any()):
        return math.nan
    scores = np.concatenate([changes[regions.inside], changes[regions.outside]])
    labels = np.repeat([1, 0], [regions.inside.sum(), regions.outside.sum()])
    return float(roc_auc_score(labels, scores))


def leakage_share(changes: Field, regions: Regions) -> float:
    """Share of all change that lies outside; a uniform change gives the outside's share of area.

    The guard band counts for neither. NaN if nothing changed or a side is empty.
    """
    inside, outside = changes[regions.inside].sum(), changes[regions.outside].sum()
    if not (regions.inside.any() and regions.outside.any()) or inside + outside == 0:
        return math.nan
    return float(outside / (inside + outside))


def selectivity(inside: float, outside: float, *, floor: float = 1 / 255) -> float:
    """log((inside + floor) / (outside + floor)) of two mean changes, natural logarithm.

    0 for doing nothing and for a uniform change, positive if the change keeps to the mask. The
    floor is one step of 8 bits, so that changes too small to be stored do not count.
    """
    return math.log((inside + floor) / (outside + floor))


# Features


def cosine(a: Vector, b: Vector) -> float:
    """Cosine of two vectors, in float64; NaN if one of them is zero."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths > 0 else math.nan


def clip_direction(
    edited: Vector, source: Vector, target_text: Vector, source_text: Vector
) -> float:
    """Say whether the image moves as the caption does: cos(E(y) - E(x), T(target) - T(source)).

    Gal et al., StyleGAN-NADA, section 4.1, with every embedding normalised first, as in
    InstructPix2Pix (`sim_direction`). NaN if the image or the caption has not moved.
    """
    unit = [
        vector.astype(np.float64) / np.linalg.norm(vector.astype(np.float64))
        for vector in (edited, source, target_text, source_text)
    ]
    image, text = unit[0] - unit[1], unit[2] - unit[3]
    if min(np.linalg.norm(image), np.linalg.norm(text)) < STILL:
        return math.nan
    return cosine(image, text)


def patch_distance(
    edited: Float[np.ndarray, "patch feature"], reference: Float[np.ndarray, "patch feature"]
) -> Float[np.ndarray, " patch"]:
    """1 - cosine of corresponding patch features, 0 (equal) to 2.

    Takes the place of LPIPS, whose trunk (AlexNet, VGG) needs weights of its own. It is *not*
    calibrated to human judgement. Each patch has seen all others, so that an edit inside the mask
    moves patches outside a little, even where their pixels are equal.
    """
    y, x = edited.astype(np.float64), reference.astype(np.float64)
    lengths = np.linalg.norm(y, axis=-1) * np.linalg.norm(x, axis=-1)
    return 1 - (y * x).sum(axis=-1) / lengths


def patch_metrics(
    distance: Float[np.ndarray, " patch"],
    *,
    inside: Float[np.ndarray, " patch"],
    outside: Float[np.ndarray, " patch"],
) -> dict[str, float]:
    """Mean patch distance: whole image, `_inside`, `_outside`.

    `inside` and `outside` are the shares of each patch that the two regions cover. Inside is the
    mean weighted by share; outside takes only patches that lie outside entirely. NaN if none do.
    """
    clear = outside > 1 - 1e-6
    return {
        "": float(distance.mean()),
        "_inside": float(inside @ distance / inside.sum()) if inside.sum() > 0 else math.nan,
        "_outside": float(distance[clear].mean()) if clear.any() else math.nan,
    }


# Did the edit happen?


DAMAGED = "damaged"  # the judge's label of a picture that is spoilt somewhere


def verdicts(
    probabilities: Mapping[str, float],
    gained: Sequence[str],
    lost: Sequence[str],
    kept: Sequence[str],
) -> dict[str, float]:
    """Return what the judge says of an edit, as 1.0 or 0.0: four things that must all be so.

    gained_seen: all that should be new is there. lost_gone: all that should go is gone.
    kept_seen: all that nobody touched is still there. whole: nothing is spoilt. NaN is what cannot
    be said: the edit gains, loses or keeps nothing, or the judge knows no damage.

    Raises `ValueError` for a label the judge was not trained on.
    """
    unknown = [label for label in (*gained, *lost, *kept) if label not in probabilities]
    if unknown:
        raise ValueError(
            f"the judge does not know {unknown[0]!r}; its labels are {', '.join(probabilities)}"
        )

    def every(labels: Sequence[str], there: bool) -> float:
        if not labels:
            return math.nan
        return float(all((probabilities[label] >= THRESHOLD) == there for label in labels))

    damage = [DAMAGED] if DAMAGED in probabilities else []
    return {
        "gained_seen": every(gained, True),
        "lost_gone": every(lost, False),
        "kept_seen": every(kept, True),
        "whole": every(damage, False),
    }


def nothing_added(
    probabilities: Mapping[str, float], before: Mapping[str, float], belongs: Sequence[str]
) -> float:
    """1.0 if nothing is seen that the source (`before`) has not and nobody asked for.

    Of things, settings and styles; states of things have names with "=" and follow their thing.
    `belongs` is what was asked for, and what the source is known to have though the judge may have
    missed it there. NaN if the judge knows none of these.
    """
    plain = [label for label in probabilities if "=" not in label and label != DAMAGED]
    if not plain:
        return math.nan
    return float(
        not any(
            probabilities[label] >= THRESHOLD > before[label]
            for label in plain
            if label not in belongs
        )
    )


def success(said: Mapping[str, float]) -> float:
    """1.0 if every verdict that is known says so; NaN if nothing is gained or lost."""
    if all(math.isnan(said[name]) for name in ("gained_seen", "lost_gone")):
        return math.nan
    return float(all(value == 1 for value in said.values() if not math.isnan(value)))


# The reason why an edit failed, by the first verdict that is no.
REASONS = {
    "gained_seen": "not there", "lost_gone": "still there", "kept_seen": "something was lost",
    "whole": "spoilt", "nothing_added": "something was added",
    "nearer": "too far from a right answer",
}  # fmt: skip


def outcome(said: Mapping[str, float]) -> str:
    """Return "done", or "not done" with its reason; "" where nobody knows what was asked for.

    `said` has `success` and the verdicts that are known.
    """
    if math.isnan(said["success"]):
        return ""
    if said["success"] == 1:
        return "done"
    why = [words for name, words in REASONS.items() if said.get(name) == 0]
    return f"not done: {why[0]}" if why else "not done"


def soft_success(
    probabilities: Mapping[str, float], gained: Sequence[str], lost: Sequence[str]
) -> float:
    """Mean of p over gained and 1 - p over lost labels; NaN if there is neither."""
    parts = [probabilities[label] for label in gained] + [1 - probabilities[x] for x in lost]
    return float(np.mean(parts)) if parts else math.nan


def gated(value: float, success: float) -> float:
    """Return the value if the edit succeeded, else NaN: doing nothing gets no credit."""
    return value if success == 1 else math.nan


# Reading a table of metrics

_LOWER = ("l1", "mse", "feature_distance", "leakage_share", "answer_distance")
_HIGHER = (
    "psnr", "ssim", "clip_", "dinov2_", "success", "selectivity", "leakage_auc",
    "gained_seen", "lost_gone", "kept_seen", "whole", "nothing_added", "nearer",
    "answer_share", "answer_iou",
)  # fmt: skip


def better(metric: str) -> Literal["lower", "higher"] | None:
    """Which way a column of metrics improves; None where there is no better.

    Change inside the mask, measured against the source, has to happen but is not a virtue.
    """
    if "_source_inside" in metric:
        return None
    if metric.startswith(_LOWER):
        return "lower"
    return "higher" if metric.startswith(_HIGHER) else None
