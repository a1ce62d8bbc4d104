"""Pictures, masks and heat maps, drawn onto axes that the caller owns."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cirp.figures.style import HEAT, NOISY
from cirp.figures.text import drawable, fill

Heat = Float[np.ndarray, "rows columns"]
Mask = Bool[np.ndarray, "height width"]
Picture = Image.Image | np.ndarray

SMALL = 256  # pixels; smaller pictures are drawn with hard pixel edges
OUTLINE = (("#000000", 2.4), ("#ffffff", 1.2))  # white over black: seen on any picture


def grid(rows: int, columns: int, *, side: float = 1.7) -> tuple[Figure, np.ndarray]:
    """Axes for pictures, `side` inches each: an array (rows, columns), or flat if rows is 1."""
    fig, axes = plt.subplots(
        rows, columns, figsize=(side * columns, (side + 0.25) * rows), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    return fig, axes[0] if rows == 1 else axes


def show(ax: Axes, picture: Picture, title: str = "", *, mask: Mask | None = None) -> None:
    """One picture; a small one keeps its pixels. With `mask`, its outline."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    ax.imshow(
        pixels,
        cmap="gray" if pixels.ndim == 2 else None,
        vmin=0,  # an even picture has its own brightness, too: a mask that is all white is white
        vmax=1 if pixels.dtype == bool else 255,
        interpolation="nearest" if max(height, width) < SMALL else "antialiased",
        extent=(0, width, height, 0),
    )
    ax.set_title(drawable(title), fontsize=10, loc="center")
    ax.set_axis_off()
    if mask is not None:
        outline(ax, mask, size=(width, height))


def image_grid(
    axes: np.ndarray,
    pictures: Sequence[Sequence[Picture | None]],
    *,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    masks: Sequence[Mask | None] = (),
) -> None:
    """Pictures in rows and columns, as of items and methods; None leaves a gap.

    `columns` head the columns, `rows` stand at the left, a caption stands below its picture, and a
    row's mask is outlined in all of its pictures.
    """
    axes = np.atleast_2d(axes)
    if axes.shape != (len(pictures), max(len(line) for line in pictures)):
        raise ValueError(
            f"axes are {axes.shape} but the pictures ({len(pictures)},"
            f" {max(len(line) for line in pictures)}) (rows, columns)"
        )
    for r, line in enumerate(pictures):
        for c, picture in enumerate(line):
            ax = axes[r, c]
            ax.set_axis_off()
            if picture is not None:
                show(ax, picture, mask=masks[r] if masks else None)
            if r == 0 and columns:
                ax.set_title(drawable(columns[c]), fontsize=10, loc="center")
            if captions and captions[r][c]:
                ax.text(
                    0.5, -0.03, drawable(captions[r][c]), transform=ax.transAxes, ha="center",
                    va="top", fontsize=8,
                )  # fmt: skip
        if rows:
            row_label(axes[r, 0], rows[r], fontsize=9)


def row_label(
    ax: Axes, text: str, *, width: int | None = None, rotation: float = 90, fontsize: float = 8
) -> None:
    """Name a row of pictures at the left of `ax`, its first; lines of up to `width` characters."""
    said = drawable(text) if width is None else fill(text, width)
    ax.text(
        -0.06, 0.5, said, transform=ax.transAxes, rotation=rotation, ha="right", va="center",
        fontsize=fontsize,
    )  # fmt: skip


def outline(ax: Axes, mask: Mask, *, size: tuple[int, int] | None = None) -> None:
    """The border of `mask` along the edges of its pixels, in the coordinates of `show`.

    `size` is the (width, height) of the picture underneath, if it is not the mask's.
    """
    rows, columns = mask.shape
    width, height = size or (columns, rows)
    lines = _borders(mask) * (width / columns, height / rows)
    for colour, thickness in OUTLINE:
        ax.add_collection(
            mpl.collections.LineCollection(lines, colors=colour, linewidths=thickness),
            autolim=False,
        )


def _borders(mask: Mask) -> Float[np.ndarray, "line end xy"]:
    """The sides of pixels between inside and outside, as ((x, y), (x, y)); mask edges count."""
    framed = np.pad(mask, 1)
    y, x = np.nonzero(framed[:-1] != framed[1:])  # between row y - 1 and row y of the mask
    horizontal = np.stack([np.stack([x - 1, y], -1), np.stack([x, y], -1)], 1)
    y, x = np.nonzero(framed[:, :-1] != framed[:, 1:])
    vertical = np.stack([np.stack([x, y - 1], -1), np.stack([x, y], -1)], 1)
    return np.concatenate([horizontal, vertical]).astype(float)


def overlay(
    ax: Axes,
    picture: Picture,
    heat: Heat,
    title: str = "",
    *,
    mask: Mask | None = None,
    peak: float | None = None,
    opacity: float = 0.65,
    interpolation: str = "nearest",
) -> mpl.image.AxesImage:
    """A heat map over a greyed picture, and the true mask's outline. Returns it for a colour bar.

    The map is stretched to the picture's size, whatever its own; the scale runs from 0 to `peak`
    (default: the map's maximum). Give the same `peak` to maps that are to be compared.
    """
    pixels = Image.fromarray(np.asarray(picture)).convert("L")
    width, height = pixels.size
    ax.imshow(pixels, cmap="gray", interpolation="nearest", extent=(0, width, height, 0))
    drawn = ax.imshow(
        heat,
        cmap=HEAT,
        vmin=0,
        vmax=peak or max(float(heat.max()), 1e-12),
        alpha=opacity,
        interpolation=interpolation,
        extent=(0, width, height, 0),
    )
    if mask is not None:
        outline(ax, mask, size=(width, height))
    ax.set_title(drawable(title), fontsize=10, loc="center")
    ax.set_axis_off()
    return drawn


def point_out(ax: Axes, text: str, at: tuple[float, float]) -> None:
    """An arrow to a place of a picture, (x, y) in its pixels, with a text at its far edge."""
    below = at[1] < sum(ax.get_ylim()) / 2
    ax.annotate(
        text, at, (0.5, 0.05 if below else 0.95), textcoords="axes fraction", ha="center",
        va="bottom" if below else "top", fontsize=9, fontweight="bold", color="#111111",
        bbox=dict(boxstyle="round,pad=0.3", fc="#ffffff", ec=NOISY, lw=1.5),
        arrowprops=dict(arrowstyle="-|>", color=NOISY, lw=2.2, shrinkB=1, mutation_scale=14),
    )  # fmt: skip


def heat_bar(axes: np.ndarray, drawn: mpl.image.AxesImage, label: str) -> None:
    """A colour bar for heat maps of one scale, below all of `axes`."""
    bar = axes.flat[0].figure.colorbar(
        drawn, ax=list(axes.flat), location="bottom", shrink=0.4, aspect=40, pad=0.01
    )
    bar.solids.set_alpha(1)  # the maps let the picture through, their bar need not
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
