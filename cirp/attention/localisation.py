"""How well a map says where a mask is: scores of attention against the truth.

A score alone says little: a map that knows only that objects stand in the middle does well too. So
each comes with what it gives for maps that know nothing, `baselines`. Maps and masks are
(row, column) arrays of one size; bring a map to the mask's size with bilinear resizing first.
"""

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

ROUNDING = 1e-12  # relative: a threshold made from a value of the map must let that value in

Heat = Float[np.ndarray, "row column"] | Float[Tensor, "row column"]
# Axes of their own: a mask of another size is answered with a ValueError that says what to do.
Mask = Bool[np.ndarray, "mask_row mask_column"] | Bool[Tensor, "mask_row mask_column"]


def iou(heat: Heat, mask: Mask, *, threshold: float) -> float:
    """Intersection over union of the mask and where the map reaches `threshold` of its maximum.

    NaN if both are empty. DAAM (Tang et al. 2023) takes 0.4. Choose it on images that are not
    scored. Raises `ValueError` if it does not lie over 0 and up to 1.
    """
    heat, mask = _checked(heat, mask)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}; give a share of the maximum, over 0 and up to 1")
    found = (heat >= threshold * heat.max() * (1 - ROUNDING)) & (heat > 0)
    union = (found | mask).sum()
    return float((found & mask).sum() / union) if union else math.nan


def best_iou(heat: Heat, mask: Mask) -> tuple[float, float]:
    """Return the highest IoU of any threshold, and the threshold as a share of the map's maximum.

    It is chosen with the mask in sight, so this is a bound on what thresholding can do, the same
    bound for every method, and not what it does on new images. NaN if the mask is empty.
    """
    heat, mask = _checked(heat, mask)
    if not mask.any():
        return math.nan, math.nan
    order = np.argsort(-heat, axis=None, kind="stable")
    values, hits = heat.flat[order], np.cumsum(mask.flat[order])
    sizes = np.arange(1, heat.size + 1)
    ratios = hits / (sizes + mask.sum() - hits)
    ends = np.append(values[1:] != values[:-1], True)  # equal values are in or out together
    best = int(np.argmax(np.where(ends, ratios, -1)))
    return float(ratios[best]), float(values[best] / values[0]) if values[0] else 0.0


def pointing(heat: Heat, mask: Mask, *, tolerance: float = 0.0) -> float:
    """Pointing game (Zhang et al. 2016): 1 if the maximum lies in the mask, else 0.

    Of several maxima, the share that does, so that an even map scores the mask's share of the
    area. `tolerance` in pixels widens the mask; the paper's is 15 at 224 pixels. NaN if the mask
    is empty.
    """
    heat, mask = _checked(heat, mask)
    if not mask.any():
        return math.nan
    if tolerance:
        mask = ndimage.distance_transform_edt(~mask) <= tolerance
    return float(mask[heat == heat.max()].mean())


def energy_inside(heat: Heat, mask: Mask) -> float:
    """Return the share of the map's sum inside the mask; an even map scores the share of area.

    NaN if the map is 0 everywhere or the mask is empty.
    """
    heat, mask = _checked(heat, mask)
    total = heat.sum()
    return float(heat[mask].sum() / total) if total and mask.any() else math.nan


def roc_auc(heat: Heat, mask: Mask) -> float:
    """Probability that a pixel inside is hotter than one outside, ties counting half.

    0.5 for an uninformative map. NaN if the mask is empty or everything.
    """
    heat, mask = _checked(heat, mask)
    return float(roc_auc_score(mask.ravel(), heat.ravel())) if _two_sided(mask) else math.nan


def average_precision(heat: Heat, mask: Mask) -> float:
    """Mean precision over the recalls; the mask's share of the area for an uninformative map.

    Tells more than ROC-AUC where masks are small. NaN if the mask is empty or everything.
    """
    heat, mask = _checked(heat, mask)
    if not _two_sided(mask):
        return math.nan
    return float(average_precision_score(mask.ravel(), heat.ravel()))


def peak_to_mean(heat: Heat) -> float:
    """Return the map's maximum over its mean: 1 for an even map, NaN if all of it is 0."""
    heat, _ = _checked(heat, np.ones(tuple(heat.shape), dtype=bool))
    return float(heat.max() / heat.mean()) if heat.any() else math.nan


def scores(heat: Heat, mask: Mask, *, threshold: float = 0.4, tolerance: float = 0.0) -> dict:
    """All scores of one map by name, one row of a table.

    `energy_gain` is the energy inside less the mask's share of the area: 0 for an even map.
    """
    heat, mask = _checked(heat, mask)
    best, at = best_iou(heat, mask)
    energy, area = energy_inside(heat, mask), float(mask.mean())
    return {
        "iou": iou(heat, mask, threshold=threshold),
        "best_iou": best,
        "best_threshold": at,
        "pointing": pointing(heat, mask, tolerance=tolerance),
        "energy_inside": energy,
        "energy_gain": energy - area,
        "roc_auc": roc_auc(heat, mask),
        "average_precision": average_precision(heat, mask),
        "peak_to_mean": peak_to_mean(heat),
        "area": area,
    }


def baselines(shape: tuple[int, int], *, seed: int) -> dict[str, Float[np.ndarray, "row column"]]:
    """Return maps that have not seen the image: even, a Gaussian in the centre, and white noise.

    The Gaussian's standard deviation is a quarter of each side.
    """
    row, column = (np.linspace(-2, 2, 2 * n + 1)[1::2] for n in shape)  # cell centres, in sigmas
    return {
        "even": np.ones(shape),
        "centre": np.exp(-(row[:, None] ** 2 + column[None, :] ** 2) / 2),
        "random": np.random.default_rng(seed).random(shape),
    }


def _two_sided(mask: np.ndarray) -> bool:
    return bool(mask.any()) and not mask.all()


def _checked(heat: Heat, mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays. Raises `ValueError` for what cannot be scored."""
    heat, mask = (x.detach().cpu().numpy() if isinstance(x, Tensor) else x for x in (heat, mask))
    heat = heat.astype(np.float64)
    if heat.shape != mask.shape:
        raise ValueError(
            f"the map is {heat.shape} but the mask {mask.shape} (rows, columns); make the map with"
            f" size={mask.shape}"
        )
    if not np.isfinite(heat).all() or heat.min() < 0:
        raise ValueError(
            f"a map must be finite and not negative; its values lie in {heat.min()} to {heat.max()}"
        )
    return heat, mask
