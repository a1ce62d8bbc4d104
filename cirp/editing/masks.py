"""Regions by latent cell: given or found, moved between grids, blurred, pasted outside of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, interpolate

from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, State, decode
from cirp.diffusion.tasks import (
    Task,
    mask_picture,
)
from cirp.editing.driver import After, Start, noised_source

Masks = Float[Tensor, "image row column"]  # 1 where the image may change, by latent cell


@dataclass(frozen=True)
class Found:
    """The regions a method works with, and where it found none."""

    masks: Masks
    abstained: list[bool]
    rows: int = 0  # UNet rows an image took to find them


def check_region(tasks: Sequence[Task], region: str) -> None:
    """Refuse tasks without the mask that is asked for."""
    for task in tasks:
        if region == "given" and task.mask is None:
            name = task.key or task.instruction or task.caption
            raise ValueError(
                f"region='given', but the edit {name!r} has no mask; give it one, or region='found'"
            )


def given(tasks: Sequence[Task], grid: tuple[int, int]) -> Masks:
    """Return the tasks' masks by latent cell: a cell may change if any of its pixels may."""
    masks = torch.stack([torch.from_numpy(task.mask).float() for task in tasks])
    return adaptive_max_pool2d(masks[:, None], grid)[:, 0]


def at(masks: Masks, grid: tuple[int, int]) -> Float[Tensor, "image new_row new_column"]:
    """Masks or maps on another grid; cells are areas."""
    if tuple(masks.shape[-2:]) == tuple(grid):
        return masks
    return interpolate(
        masks[:, None].float(), size=grid, mode="bilinear", align_corners=False, antialias=True
    )[:, 0]


def normalised(maps: Masks) -> Masks:
    """Each map stretched to 0..1; an even map becomes 0 everywhere, it points nowhere."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def peak(maps: Masks) -> Float[Tensor, " image"]:
    """Maximum over mean, at least 1; a diffuse map is close to 1."""
    return maps.amax((-2, -1)) / maps.mean((-2, -1)).clamp_min(torch.finfo(maps.dtype).tiny)


def blurred(maps: Masks, sigma: float) -> Masks:
    """Gaussian blur of each map; `sigma` in cells, 0 leaves them alone."""
    if not sigma:
        return maps
    return torch.stack(
        [
            torch.from_numpy(ndimage.gaussian_filter(one, sigma, mode="nearest"))
            for one in maps.double().cpu().numpy()
        ]
    ).to(maps)


def composite(
    edited: Sequence[Image.Image], sources: Sequence[Image.Image], masks: Masks
) -> list[Image.Image]:
    """Outside the masks the sources' own pixels: the only exact preservation there is."""
    return [
        Image.composite(image, source, mask_picture(mask, image.size))
        for image, source, mask in zip(edited, sources, masks, strict=True)
    ]


def changed_pixels(
    edited: Sequence[Image.Image],
    trips: Sequence[Image.Image],
    sources: Sequence[Image.Image],
    sigma: float,
) -> Float[np.ndarray, "image row column"]:
    """Return by how many of 255 levels a pixel left both its source and the source's round trip.

    The largest of the channels, blurred by `sigma` pixels.
    """
    y, trip, x = (np.stack([np.asarray(p, float) for p in ps]) for ps in (edited, trips, sources))
    apart = np.minimum(np.abs(y - trip), np.abs(y - x)).max(axis=-1)
    return ndimage.gaussian_filter(apart, (0, sigma, sigma))


def matte(
    change: Float[np.ndarray, "row column"],
    allowed: Bool[np.ndarray, "row column"],
    *,
    low: float,
    high: float,
    feather: float,
    least: int,
) -> Float[np.ndarray, "row column"]:
    """Return how much of each pixel is the edit's: none at `low` levels of change, all at `high`.

    A pixel more than halfway is inside. Holes are closed, islands of fewer than `least` pixels are
    dropped, and the edge is blurred by `feather` pixels.
    """
    share = np.clip((change - low) / (high - low), 0, 1) * allowed
    inside = ndimage.binary_fill_holes(share > 0.5)
    parts, count = ndimage.label(inside, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    inside &= sizes[parts] >= least
    soft = ndimage.gaussian_filter(inside.astype(float), feather) * allowed
    return np.where(inside, 1.0, np.maximum(np.minimum(share, 0.49), soft))


def own_change(
    models: Models,
    start: Start,
    edited: Sequence[Image.Image],
    sources: Sequence[Image.Image],
    allowed: Masks,
    *,
    low: float = 10.0,
    high: float = 24.0,
    feather: float = 0.375,
    least: float = 0.375,
) -> Float[Tensor, "image height width"]:
    """Return where each edit differs from its source by more than the autoencoder does, by pixel.

    Only within the `allowed` cells. `low` and `high` are as of `matte`, in levels of 255; `feather`
    and `least` are in latent cells.
    """
    factor = models.editor.factor
    change = changed_pixels(edited, decode(start.clean, models), sources, factor / 8)
    fine = allowed.repeat_interleave(factor, -2).repeat_interleave(factor, -1).cpu().numpy()
    found = [
        matte(
            one, where > 0.5, low=low, high=high, feather=feather * factor,
            least=round(least * factor**2),
        )
        for one, where in zip(change, fine, strict=True)
    ]  # fmt: skip
    return torch.from_numpy(np.stack(found)).to(allowed)


def abstaining(masks: Masks, maps: Masks, least: float | None, rows: int = 0) -> Found:
    """Everything may change where the map is diffuse: its maximum under `least` times its mean."""
    diffuse = torch.zeros(len(maps), dtype=torch.bool)
    if least is not None:
        diffuse = (peak(maps) < least).cpu()
    whole = diffuse.to(masks.device)[:, None, None]
    return Found(torch.where(whole, torch.ones_like(masks), masks), diffuse.tolist(), rows)


def regions(tasks: Sequence[Task], start: Start, region: str, find: Callable[[], Found]) -> Found:
    """Return the masks that were given, or those that `find` finds."""
    if region == "given":
        return Found(given(tasks, start.grid).to(start.source), [False] * len(tasks))
    return find()


def keep_outside(masks: Masks, start: Start, *, share: float = 1.0) -> Callable[[object], After]:
    """Latent blending: outside the masks, the noised source (Blended Latent Diffusion, eq. 2).

    Only in the last `share` of the steps.
    """
    inside = masks[:, None].to(start.source)

    def begin_with(scheduler) -> After:
        count = len(scheduler.timesteps)

        def react(state: State) -> Latents | None:
            if state.step < round(count * (1 - share)):
                return None
            kept = noised_source(scheduler, start.clean, start.noise, state.step)
            return inside * state.next + (1 - inside) * kept

        return react

    return begin_with
