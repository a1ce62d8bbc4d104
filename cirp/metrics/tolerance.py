"""How much of an edit is right, in one number, where the right answer is known.

PaintBench (2026, arXiv 2606.00188; its docs/metric.md): a pixel is right if its colour is within a
tolerance of the answer's. Of each tolerance, the score is the right part of what had to change,
over what had to change together with what was wrongly changed elsewhere. Doing nothing scores 0,
and changing too much is punished in the same number.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

Pixels = UInt8[np.ndarray, "row column 3"]
TOLERANCES = tuple(range(11))  # CIE76 distances; 2.3 is what an eye just sees
SHOWN = 10  # the tolerance of `four_colours`
COLOURS = {  # of `four_colours`
    "right": (0, 128, 0),
    "kept": (0, 0, 255),
    "wrong": (255, 0, 0),
    "spilled": (255, 165, 0),
}
# From linear sRGB to CIE XYZ over the white of D65. scikit-image rounds it to six digits, which
# moves a pixel in a hundred thousand over a tolerance.
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    np.float32,
) / np.array([[0.95047], [1.0], [1.08883]], np.float32)


def lab(pixels: Pixels) -> Float[np.ndarray, "row column 3"]:
    """Return the CIE L*a*b* colour of each pixel of an sRGB picture."""
    value = pixels.astype(np.float32) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ TO_XYZ.T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def colour_distance(one: Pixels, other: Pixels) -> Float[np.ndarray, "row column"]:
    """Return the CIE76 distance of two pictures, by pixel; black and white are 100 apart."""
    return np.sqrt(((lab(one) - lab(other)) ** 2).sum(axis=-1))


def iou_within(source: Pixels, answer: Pixels, edited: Pixels) -> float:
    """Return PaintBench's score of an edit, 0 to 1: the mean over tolerances 0 to 10.

    1 if nothing had to change and nothing did.

    Examples
    --------
    >>> import numpy as np
    >>> before = np.zeros((8, 8, 3), np.uint8)
    >>> answer = before.copy()
    >>> answer[:4] = 255
    >>> iou_within(before, answer, before), iou_within(before, answer, answer)
    (0.0, 1.0)
    """
    asked = (source != answer).any(axis=-1)
    apart = colour_distance(edited, answer)
    found = []
    for tolerance in TOLERANCES:
        right = apart <= tolerance
        either = asked.sum() + (~asked & ~right).sum()
        found.append((asked & right).sum() / either if either else 1.0)
    return float(np.mean(found))


def four_colours(
    source: Pixels, answer: Pixels, edited: Pixels, *, tolerance: float = SHOWN
) -> Image.Image:
    """Draw where an edit is right, in PaintBench's four colours.

    Green: changed as asked. Blue: kept as asked. Red: was to change and is not the answer. Orange:
    was to stay and did not.
    """
    asked = (source != answer).any(axis=-1)
    right = colour_distance(edited, answer) <= tolerance
    drawn = np.empty(source.shape, dtype=np.uint8)
    for pixels, colour in (
        (asked & right, "right"), (~asked & right, "kept"),
        (asked & ~right, "wrong"), (~asked & ~right, "spilled"),
    ):  # fmt: skip
        drawn[pixels] = COLOURS[colour]
    return Image.fromarray(drawn)
