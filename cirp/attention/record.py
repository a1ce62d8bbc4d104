"""Gathers cross-attention maps as a stream while a pipeline runs; `maps` puts them together.

What is kept are sums over time, one for each layer, head, token and cell, so memory does not grow
with the number of steps. To see time, ask for bins.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cirp.attention.control import Attn, Control
from cirp.attention.site import TEXT, Site

Grid = tuple[int, int]
WOBBLE = 0.1  # timesteps
DIGITS = 2  # of a timestep that tell steps apart


def grid_of(n_queries: int, latent: Grid) -> Grid:
    """Rows and columns of a UNet level's query grid, e.g. 384 of a (64, 96) latent -> (16, 24).

    A level halves both sides, rounding up. Raises `ValueError` if no level has so many queries.
    """
    return _level(n_queries, latent)[0]


def stride_of(n_queries: int, latent: Grid) -> int:
    """How many latent cells one side of a query covers, e.g. 4 for 384 of a (64, 96) latent."""
    return _level(n_queries, latent)[1]


def _level(n_queries: int, latent: Grid) -> tuple[Grid, int]:
    (rows, columns), stride = latent, 1
    while rows * columns > n_queries:
        rows, columns, stride = (rows + 1) // 2, (columns + 1) // 2, 2 * stride
        if rows * columns == 1:
            break
    if rows * columns != n_queries:
        raise ValueError(f"no level of a UNet on a {latent} latent has {n_queries} queries")
    return (rows, columns), stride


class Mean:
    """A running mean, in single precision, that keeps none of its samples."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, total: Tensor, count: int = 1) -> None:
        """Take in one sample, or the sum of `count` of them."""
        if self.count:
            self.total += total.detach()
        else:  # a copy: what comes in is not ours to add to
            self.total = total.detach().to(torch.float32, copy=True)
        self.count += count

    @property
    def value(self) -> Tensor:
        """The mean of all that was added."""
        return self.total / self.count


@dataclass
class _Run:
    """The sums over one run of a batch of images, from noise to clean."""

    latent: Grid
    images: int
    # layer -> (branch, image, head, query, token), as they come: turning them takes time
    layers: dict[str, Mean] = field(default_factory=lambda: defaultdict(Mean))
    # time, grid -> (branch, image, token, row, column), over heads and all layers but the middle
    times: dict[tuple[float, Grid], Mean] = field(default_factory=lambda: defaultdict(Mean))


class Record(Control):
    """Gathers the cross-attention maps of every image that passes; the images stay as they are.

    Images are numbered in the order in which they were made. A run of the next batch adds its
    images behind those there are. It is known by other prompts, or by prompts encoded anew while
    time does not go on as before; an inversion, in which time rises, is one run.

    Args:
        branches: the branches of guidance to keep; see `cirp.attention.control`.
        tokens: keep only so many tokens, from begin of text on; all by default.
        times: also keep maps by time, averaged over heads and, at each resolution, over layers.
            "step" keeps every timestep; rising edges, e.g. (0, 250, 500, 750, 1000), keep a bin
            from each edge to the next, the last edge included.
    """

    reads_only = True

    def __init__(
        self,
        *,
        branches: Sequence[int] = (TEXT,),
        tokens: int | None = None,
        times: Literal["step"] | Sequence[float | int] | None = None,
    ) -> None:
        if not branches:
            raise ValueError("branches is empty; give at least one, e.g. (TEXT,)")
        if tokens is not None and tokens < 1:
            raise ValueError(f"tokens={tokens}; keep 1 or more, or None for all")
        if isinstance(times, str) and times != "step":
            raise ValueError(f'times={times!r}; give "step" or two or more rising edges')
        if times is not None and times != "step":
            times = tuple(times)
            if len(times) < 2 or any(a >= b for a, b in zip(times, times[1:], strict=False)):
                raise ValueError(f'times={times}; give "step" or two or more rising edges')
        self.branches, self.tokens, self.bins = tuple(branches), tokens, times
        self._runs: list[_Run] = []
        self._forget()
        self._before = 0

    def _forget(self) -> None:
        self._last: float | None = None  # the timestep of the last map
        self._text: Tensor | None = None  # of the last map; kept, so that no other takes its place
        self._prompts: Tensor | None = None  # its rows of the text branch
        self._course = 0  # of time in this run: -1 falls, 1 rises, 0 not known yet
        self._entered = False

    def begin(self) -> None:
        """Note where the runs of this block begin."""
        self._entered, self._before = True, len(self._runs)

    def interrupted(self) -> None:
        """Forget the run that was left unfinished: it is no image."""
        del self._runs[self._before :]
        self._forget()

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        """Add one layer's map to what is known of its run, and leave it as it is."""
        run = self._run(site)
        grid = grid_of(probs.shape[2], site.latent)
        rows = [probs[site.rows(branch)][..., : self.tokens] for branch in self.branches]
        maps = rows[0][None] if len(rows) == 1 else torch.stack(rows)
        run.layers[site.layer].add(maps)
        if self.bins is not None and not site.layer.startswith("mid_block"):
            time = (
                round(site.timestep, DIGITS)
                if self.bins == "step"
                else _bin(site.timestep, self.bins)
            )
            summed = maps.sum(dim=2).mT.unflatten(-1, grid)
            run.times[time, grid].add(summed, maps.shape[2])
        return probs

    def _run(self, site: Site) -> _Run:
        if self._begins(site):
            self._runs.append(_Run(site.latent, site.images))
            self._course = 0
        self._last, self._text, self._entered = site.timestep, site.text, False
        self._prompts = _prompts(site)
        run = self._runs[-1]
        if (run.latent, run.images) != (site.latent, site.images):
            raise ValueError(
                f"a run over {run.images} images with {run.latent} latents went on with"
                f" {site.images} with {site.latent}; record each with a Record of its own"
            )
        return run

    def _begins(self, site: Site) -> bool:
        """Whether a new run begins with this map."""
        if self._last is None:
            return True
        apart = site.timestep - self._last
        # some schedulers' timesteps wobble by rounding: 712.99994, then 713.0
        moved = 0 if abs(apart) <= WOBBLE else int(math.copysign(1, apart))
        anew = site.text is not self._text
        if anew and not _equal(_prompts(site), self._prompts):
            return True
        if self._course and moved not in (0, self._course):
            return True
        if anew or self._entered:  # the same prompts, encoded again, or in another block
            if moved == 0 or (self._course == 0 and moved > 0):
                return True
        elif moved >= 0 and (self._runs[-1].latent, self._runs[-1].images) != (
            site.latent,
            site.images,
        ):
            return True
        self._course = self._course or moved
        return False

    @property
    def images(self) -> int:
        """How many images were recorded."""
        return sum(run.images for run in self._runs)

    @property
    def layers(self) -> list[str]:
        """Names of all layers, in DAAM's order: up, down, middle."""
        names = self._runs[0].layers if self._runs else ()
        return sorted(names, key=lambda name: ("up", "down", "mid").index(name.split("_")[0]))

    @property
    def strides(self) -> list[int]:
        """The resolutions: how many latent cells one side of a map's cell covers.

        Of the layers outside of the middle block, which maps leave out; in Stable Diffusion it has
        a resolution that no other layer with cross-attention has.
        """
        return sorted({self.stride(layer) for layer in self.outer_layers})

    @property
    def outer_layers(self) -> list[str]:
        """`layers` without the middle block, which DAAM leaves out."""
        return [layer for layer in self.layers if not layer.startswith("mid_block")]

    @property
    def times(self) -> list[float]:
        """The timesteps, or the lower edges of the bins, from noise to clean."""
        return sorted({time for run in self._runs for time, _ in run.times}, reverse=True)

    @property
    def nbytes(self) -> int:
        """Memory of everything kept."""
        means = (m for run in self._runs for m in (*run.layers.values(), *run.times.values()))
        return sum(mean.total.nbytes for mean in means)

    def stride(self, layer: str) -> int:
        """Return the stride of a layer, in latent cells."""
        run, _ = self._find(0)
        return stride_of(self._mean(run, layer).total.shape[3], run.latent)

    def latent(self, image: int = 0) -> Grid:
        """Rows and columns of the image's latent."""
        return self._find(image)[0].latent

    def layer(
        self, layer: str, *, image: int = 0, branch: int = TEXT, summed: bool = False
    ) -> Float[Tensor, "head token row column"]:
        """One layer's maps of one image at their own resolution: the mean over time, or the sum.

        Raises `ValueError` if there is no such layer, image or branch.
        """
        run, i = self._find(image)
        mean = self._mean(run, layer)
        maps = (mean.total if summed else mean.value)[self._branch(branch), i]
        return maps.mT.unflatten(-1, grid_of(maps.shape[1], run.latent))

    def time(
        self, time: float, *, image: int = 0, branch: int = TEXT
    ) -> dict[int, tuple[Float[Tensor, "token row column"], int]]:
        """For each stride, the sum of the maps of one of `times`, and of how many heads' maps.

        Raises `ValueError` if there is no such time, image or branch.
        """
        run, i = self._find(image)
        row = self._branch(branch)
        found = {
            stride_of(grid[0] * grid[1], run.latent): (mean.total[row, i], mean.count)
            for (known, grid), mean in run.times.items()
            if known == (round(time, DIGITS) if self.bins == "step" else time)
        }
        if not found:
            known = ", ".join(map(str, self.times)) or "none: give times='step' when you record"
            raise ValueError(f"time {time} was not recorded; there are {known}")
        return found

    def _mean(self, run: _Run, layer: str) -> Mean:
        if layer not in run.layers:
            raise ValueError(f"no layer {layer!r} was recorded; there are {', '.join(self.layers)}")
        return run.layers[layer]

    def _branch(self, branch: int) -> int:
        if branch not in self.branches:
            raise ValueError(f"branch {branch} was not recorded, only {self.branches}")
        return self.branches.index(branch)

    def _find(self, image: int) -> tuple[_Run, int]:
        if not self._runs:
            raise ValueError(
                "nothing was recorded; call this pipeline within `with cirp.record(pipe) as rec:`"
            )
        i = image
        for run in self._runs:
            if 0 <= i < run.images:
                return run, i
            i -= run.images
        raise ValueError(f"image {image} was not recorded; there are 0 to {self.images - 1}")


def _prompts(site: Site) -> Tensor | None:
    """Return what the text branch is told: a run may go on with fewer of the other branches."""
    if site.text is None or TEXT not in site.branches:
        return site.text
    return site.text[site.rows(TEXT)]


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and torch.equal(one, other)


def _bin(timestep: float, edges: Sequence[float | int]) -> float:
    """Return the lower edge of the bin of `timestep`."""
    if not edges[0] <= timestep <= edges[-1]:
        raise ValueError(f"timestep {timestep} lies outside the edges {edges} of the times")
    return float([edge for edge in edges[:-1] if edge <= timestep][-1])
