"""How an edited picture lies on its source: shifted, zoomed, turned.

Many editors move the whole picture by some pixels or zoom into it. Compared pixel by pixel, all of
it then seems changed. So the picture is aligned before it is compared.

    found = register(source, edited)
    aligned, known = align(edited, found, size=source.size)
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage
from scipy.optimize import minimize
from skimage.registration import phase_cross_correlation
from skimage.transform import SimilarityTransform, warp

Grey = Float[np.ndarray, "row column"]
Structured = Bool[np.ndarray, "row column"]
COARSE, FINE = 64, 160  # pixels of the longer side at which is searched, and refined
SCALES = tuple(1.03**k for k in range(-7, 8))  # 0.81 to 1.23
ANGLES = (-3.0, -1.5, 0.0, 1.5, 3.0)  # degrees
KEPT = 0.6  # share of the pixels, those that fit best, of which the error is the mean
BLANK = 0.01  # standard deviation of grey, 0 to 1, under which a picture shows nothing
GAIN = 0.62  # an alignment counts if it leaves at most so much of the error
# A shift by half a pixel averages noise out, which looks like a fit. So it must leave at most so
# much of the error of the picture that lies still and is blurred by so many pixels, too.
BLURRED_GAIN, BLUR = 0.75, 0.6
APART = 0.06  # of the longer side: two answers are different ones
STILL = (0.0, 0.0, 0.0, 0.0)
REPEATS = 0.9  # autocorrelation of a picture that repeats itself
RIVAL = 1.15  # a different answer with at most so many times the best one's error is as good


@dataclass(frozen=True)
class Registration:
    """Where a point of the source is found in the edited picture.

    Attributes
    ----------
    dx, dy : float
        Shift of the picture's centre, in pixels of the source, to the right and down.
    scale : float
        How many times as large things are in the edited picture.
    angle : float
        Degrees by which it is turned, clockwise.
    explained : float
        Share of the difference that the alignment explains, 0 to 1.
    why : str
        Why the picture is left as it is; empty if it was aligned.
    """

    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0
    angle: float = 0.0
    explained: float = 0.0
    why: str = ""

    @property
    def moved(self) -> bool:
        """Whether there is anything to align."""
        return not self.why

    @property
    def said(self) -> str:
        """Return a phrase that says what was aligned, or why nothing was."""
        if not self.moved:
            return f"not aligned ({self.why})"
        return (
            f"aligned: shifted by {self.dx:+.1f}, {self.dy:+.1f} pixels, scale {self.scale:.3f}, "
            f"turned by {self.angle:+.2f} degrees"
        )


def register(source: Image.Image, edited: Image.Image) -> Registration:
    """Find how an edited picture lies on its source.

    The picture is first brought to the source's size. Shifts of up to a quarter of a side, zooms of
    up to a fifth and turns of up to 3 degrees are looked for. The error of an alignment is the mean
    difference of the pixels that fit best, since the others may be the edit.

    Parameters
    ----------
    source, edited : PIL.Image.Image
        Before and after; of any sizes.

    Returns
    -------
    Registration
        Without a shift, and with a reason in `why`, where nothing is to be aligned: the picture
        lies as the source does, is blank, or fits in several places. No answer is better than a
        wrong one.

    Examples
    --------
    >>> from PIL import Image
    >>> blank = Image.new("RGB", (64, 64))
    >>> register(blank, blank).why
    'blank'
    """
    edited = edited.convert("RGB").resize(source.size, Image.Resampling.LANCZOS)
    if min(_grey(one, COARSE).std() for one in (source, edited)) < BLANK:
        return Registration(why="blank")
    if _repeats(_grey(source, FINE)):
        return Registration(why="fits in several places")
    coarse = _search(*(_grey(one, COARSE) for one in (source, edited)))
    a, b = (_grey(one, FINE) for one in (source, edited))
    longer = max(a.shape)
    still = _error(STILL, a, b, _structured(a))
    found = [_refined((dx * longer, dy * longer, s, angle), a, b) for dx, dy, s, angle in coarse]
    found = sorted((one for one in found if _plausible(one[0], longer)), key=lambda one: one[1])
    if not found:
        return Registration(why="lies as the source does")
    best, error = found[0]
    if error > GAIN * still or still < 1 / 255:
        return Registration(why="lies as the source does")
    if error > BLURRED_GAIN * _error(STILL, a, ndimage.gaussian_filter(b, BLUR), _structured(a)):
        return Registration(why="lies as the source does")
    for other, its_error in found[1:]:
        if its_error <= RIVAL * error + 0.5 / 255 and _distance(best, other) > APART * longer:
            return Registration(why="fits in several places")
    pixels = max(source.size) / longer
    return Registration(
        best[0] * pixels, best[1] * pixels, math.exp(best[2]), math.degrees(best[3]),
        1 - error / still,
    )  # fmt: skip


def align(
    edited: Image.Image, found: Registration, *, size: tuple[int, int]
) -> tuple[Image.Image, Bool[np.ndarray, "row column"]]:
    """Move an edited picture onto its source.

    Returns the picture at `size` (width, height), and which of its pixels are known: what was moved
    in from beyond the border is not.
    """
    edited = edited.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    if not found.moved:
        return edited, np.ones(size[::-1], dtype=bool)
    where = (found.dx, found.dy, math.log(found.scale), math.radians(found.angle))
    pixels = np.asarray(edited, dtype=float) / 255
    moved = warp(pixels, _transform(where, pixels.shape[:2]), order=3, mode="edge")
    known = warp(np.ones(pixels.shape[:2]), _transform(where, pixels.shape[:2]), order=1) > 0.999
    return Image.fromarray((255 * moved).clip(0, 255).round().astype(np.uint8)), known


def move(picture: Image.Image, dx: float = 0.0, dy: float = 0.0, scale: float = 1.0,
         angle: float = 0.0) -> Image.Image:  # fmt: skip
    """Shift, zoom and turn a picture as `Registration` says it; the border's pixels are repeated.

    The opposite of `align`.
    """
    where = (dx, dy, math.log(scale), math.radians(angle))
    pixels = np.asarray(picture.convert("RGB"), dtype=float) / 255
    moved = warp(pixels, _transform(where, pixels.shape[:2]).inverse, order=3, mode="edge")
    return Image.fromarray((255 * moved).clip(0, 255).round().astype(np.uint8))


def _grey(picture: Image.Image, longer: int) -> Grey:
    share = min(1.0, longer / max(picture.size))
    size = tuple(max(8, round(side * share)) for side in picture.size)
    grey = picture.convert("RGB").convert("L").resize(size, Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=float) / 255


# dx, dy in pixels, log of the scale, radians
Where = tuple[float, float, float, float] | Float[np.ndarray, " 4"]


def _transform(where: Where, shape: tuple[int, int]) -> SimilarityTransform:
    """Return where in the edited picture a pixel of the source is found."""
    dx, dy, log_scale, angle = where
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    about = SimilarityTransform(translation=-centre)
    turn = SimilarityTransform(scale=math.exp(log_scale), rotation=angle)
    return about + turn + SimilarityTransform(translation=centre + (dx, dy))


def _structured(source: Grey) -> Structured:
    """Return the half of the picture with the most structure: an even sky fits anywhere."""
    strength = ndimage.gaussian_gradient_magnitude(source, 1.0)
    return strength >= np.median(strength)


def _error(where: Where, source: Grey, edited: Grey, structured: Structured) -> float:
    """Return the mean difference of the structured pixels that fit best, of those that overlap."""
    moved = warp(edited, _transform(where, source.shape), order=1, mode="constant", cval=-1.0)
    seen = (moved > -0.5) & structured
    apart = np.abs(moved - source)[seen]
    if (moved > -0.5).mean() < 1 / 3 or not apart.size:
        return 1.0
    few = max(1, round(KEPT * apart.size))
    return float(np.partition(apart, few - 1)[:few].mean())


def _search(source: Grey, edited: Grey) -> list[Where]:
    """Return the best few alignments of all scales and turns; shifts are shares of a side."""
    smooth = ndimage.gaussian_filter(edited, 0.7)
    base, longer, found = ndimage.gaussian_filter(source, 0.7), max(source.shape), []
    structured = _structured(base)
    for scale in SCALES:
        for angle in ANGLES:
            turned = (0.0, 0.0, math.log(scale), math.radians(angle))
            moved = warp(smooth, _transform(turned, source.shape), order=1, mode="edge")
            (dy, dx), *_ = phase_cross_correlation(moved, base, normalization=None)
            if max(abs(dx), abs(dy)) > longer / 4:
                continue
            where = (float(dx) * scale, float(dy) * scale, turned[2], turned[3])
            found.append((where, _error(where, base, smooth, structured)))
    found.append((STILL, _error(STILL, base, smooth, structured)))
    found.sort(key=lambda one: one[1])
    kept: list[Where] = []
    for where, _ in found:
        if all(_distance(where, other) > APART * longer for other in kept):
            kept.append(where)
        if len(kept) == 4:
            break
    return [(dx / longer, dy / longer, s, angle) for dx, dy, s, angle in kept]


def _plausible(where: Where, longer: int) -> bool:
    """Whether an alignment is one of those that are looked for."""
    dx, dy, log_scale, angle = where
    near = max(abs(dx), abs(dy)) <= longer / 4 and abs(math.degrees(angle)) <= 5
    return near and abs(log_scale) <= math.log(1.25)


def _distance(one: Where, other: Where) -> float:
    """Return how far apart two alignments put the centre, in pixels."""
    return math.hypot(one[0] - other[0], one[1] - other[1])


def _repeats(source: Grey) -> bool:
    """Whether the picture, shifted, fits itself: its autocorrelation has a second peak."""
    spectrum = np.abs(np.fft.fft2(source - source.mean())) ** 2
    own = np.fft.fftshift(np.fft.ifft2(spectrum).real) / spectrum.mean()
    _, peaks = ndimage.label(own > REPEATS)
    return peaks > 1


def _refined(start: Where, source: Grey, edited: Grey) -> tuple[Where, float]:
    steps = np.diag([1.0, 1.0, 0.02, 0.02])
    corners = np.vstack([start, *(np.asarray(start) + step for step in steps)])
    done = minimize(
        _error, start, (source, edited, _structured(source)), method="Nelder-Mead",
        options=dict(initial_simplex=corners, xatol=0.005, fatol=1e-5, maxiter=160),
    )  # fmt: skip
    return tuple(float(x) for x in done.x), float(done.fun)
