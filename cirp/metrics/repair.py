"""Keep what an editor was not asked to change: align its output, find the region, paste the rest.

Needs the source and the output alone, so it works on the output of any editor.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from cirp.metrics import similarity
from cirp.metrics.regions import Region, average
from cirp.metrics.registration import Registration, align, register

SOFT = 64  # blur and feather are this part of the shorter side: one pixel of 64
OTSU = 0.7  # of Otsu's threshold; generous, since a tight region cuts the edit
NOTHING = 4 / 255  # a picture that nowhere changes by more has not changed
CLEAR = 16 / 255  # mean difference of the channels that is no autoencoder's
WHOLE = 0.5  # share of clear pixels over which an edit seems to be of the whole picture
NEARLY_ALL = 0.99  # share of the picture over which a region is none


@dataclass(frozen=True)
class Kept:
    """An edited picture outside of whose region the source's pixels are.

    Attributes
    ----------
    image : PIL.Image.Image
        At the source's size.
    region : bool array (height, width)
        Where the edit was kept.
    registration : Registration
        How the output lay on the source.
    before, after : float
        Mean absolute change outside the region, 0 to 1: of the output as it was, at the source's
        size, and of the result. NaN if nothing is outside.
    """

    image: Image.Image
    region: Region
    registration: Registration
    before: float
    after: float


def found_region(source: Image.Image, aligned: Image.Image) -> Region:
    """Return where an aligned output differs from its source.

    The blurred mean difference of the channels, above 0.7 of Otsu's threshold; holes are filled.
    """
    change = ndimage.gaussian_filter(_change(source, aligned), min(source.size) / SOFT)
    if change.max() <= NOTHING:
        return np.zeros(change.shape, dtype=bool)
    return ndimage.binary_fill_holes(change >= OTSU * threshold_otsu(change))


def clear_share(source: Image.Image, aligned: Image.Image) -> float:
    """Return the share of the pixels that changed by more than an autoencoder changes them."""
    return float((_change(source, aligned) > CLEAR).mean())


def _change(source: Image.Image, other: Image.Image) -> np.ndarray:
    return similarity.change(*(similarity.to_array(one) for one in (other, source)))


def keep(
    source: Image.Image,
    edited: Image.Image,
    mask: Region | None = None,
    *,
    whole: bool = False,
) -> Kept:
    """Paste the source's pixels outside of what an editor was asked to change.

    `mask` says where that is; by default it is found from the output. `whole` also keeps an edit
    that seems to be of the whole picture.

    Raises `ValueError` for such an edit without `whole`, where no edit stands out, for a mask of
    another size or without any white pixel, and for pictures of other proportions, which no shift
    explains.
    """
    if mask is not None and (mask.shape != source.size[::-1] or not mask.any()):
        raise ValueError(
            f"the mask is {mask.shape[1]}x{mask.shape[0]}, {mask.sum()} pixels of it white; give "
            f"one of {source.width}x{source.height} with white where the edit was to change it"
        )
    stretch = (edited.width / edited.height) / (source.width / source.height)
    if not 0.97 < stretch < 1.03:
        raise ValueError(
            f"the source is {source.width}x{source.height} and the output {edited.width}x"
            f"{edited.height}; crop one of them to the other's proportions"
        )
    source = source.convert("RGB")
    found = register(source, edited)
    aligned, known = align(edited, found, size=source.size)
    region = found_region(source, aligned) if mask is None else mask
    share = clear_share(source, aligned)
    if mask is None and not whole and share > WHOLE:
        raise ValueError(
            f"the output differs clearly from the source in {share:.0%} of the picture, which "
            "looks like an edit of the whole picture; give a mask, or say that it is (whole)"
        )
    if mask is None and not whole and region.mean() > NEARLY_ALL:
        raise ValueError(
            "the output differs from the source everywhere, and nowhere more than elsewhere, so no "
            "edit stands out; give a mask, or say that the whole picture is one (whole)"
        )
    inside = (region & known).astype(float)
    soft = np.maximum(ndimage.gaussian_filter(inside, min(source.size) / SOFT), inside) * known
    a, b = (np.asarray(one, dtype=float) for one in (source, aligned))
    made = a + soft[..., None] * (b - a)
    image = Image.fromarray(made.round().astype(np.uint8))
    as_it_was = edited.convert("RGB").resize(source.size, Image.Resampling.LANCZOS)
    before, after = (average(_change(source, one), ~region) for one in (as_it_was, image))
    return Kept(image, region, found, before, after)
