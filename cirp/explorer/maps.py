"""Cross-attention of a live run: weighed, swapped, frozen to another run's, and read."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from jaxtyping import Float

from cirp.attention.control import Attn, Control
from cirp.attention.joint import Call, JointRecord, watching
from cirp.attention.record import grid_of
from cirp.attention.site import IMAGE, NEITHER, TEXT, Site
from cirp.diffusion.pipelines import Models
from cirp.joint_recordings import first_token

BRANCHES = {TEXT: "text", IMAGE: "image", NEITHER: "neither"}  # in the order they are sent in
Maps = Mapping[str, Float[np.ndarray, "branch head token row column"]]
Kept = Sequence[Mapping[str, Attn]]  # a step: layer -> the text branch's maps


class Cancelled(Exception):
    """A run was asked to stop."""


class Weigh(Control):
    """Multiplies the attention that the text branch gives to some tokens, and may swap two.

    Rows are not brought back to a sum of one: a muted word's attention is gone, not given to the
    others (as in Prompt-to-Prompt's re-weighting).
    """

    def __init__(self, factors: Mapping[int, float], swap: tuple[int, int] | None = None) -> None:
        self.factors, self.swap = dict(factors), swap

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        changed = probs.clone()
        text = changed[site.rows(TEXT)]
        if self.swap:
            first, second = self.swap
            text[..., [first, second]] = text[..., [second, first]]
        for position, factor in self.factors.items():
            text[..., position] = text[..., position] * factor
        return changed


class KeepMaps(Control):
    """Keeps the text branch's whole maps of every step, for another run to be frozen to."""

    reads_only = True
    branches = (TEXT,)

    def begin(self) -> None:
        self.steps: list[dict[str, Attn]] = []

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        if not self.steps or site.layer in self.steps[-1]:  # each layer is called once a step
            self.steps.append({})
        self.steps[-1][site.layer] = probs[site.rows(TEXT)].clone()
        return probs


class Freeze(Control):
    """The text branch attends, in some layers, as it did in the same step of another run."""

    def __init__(self, kept: Kept, layers: Collection[str]) -> None:
        self.kept, self.layers = kept, frozenset(layers)

    def begin(self) -> None:
        self.called: Counter[str] = Counter()  # layer -> how often: once a step

    def wants(self, site: Site) -> bool:
        return site.is_cross and site.layer in self.layers

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        changed = probs.clone()
        changed[site.rows(TEXT)] = self.kept[self.called[site.layer]][site.layer].to(probs)
        self.called[site.layer] += 1
        return changed


class LastMaps(Control):
    """The cross-attention of the step that has just run: to each token, and to all padding.

    `tokens` counts those before the padding. `whole`: of each branch and head, else the text
    branch's mean over heads.
    """

    reads_only = True

    def __init__(self, tokens: int, *, whole: bool = True) -> None:
        self.tokens, self.whole, self.maps = tokens, whole, {}
        self.branches = None if whole else (TEXT,)

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        grid = grid_of(probs.shape[2], site.latent)
        there = [branch for branch in BRANCHES if branch in site.branches]
        found = [probs[site.rows(branch)][0] for branch in (there if self.whole else [TEXT])]
        if not self.whole:
            found = [found[0].mean(dim=0, keepdim=True)]
        each = [
            torch.cat([one[..., : self.tokens], one[..., self.tokens :].sum(-1, keepdim=True)], -1)
            for one in found
        ]
        own = [one.transpose(1, 2).unflatten(2, grid) for one in each]
        self.maps[site.layer] = np.stack([one.float().cpu().numpy() for one in own])
        return probs


class JointMaps:
    """As `LastMaps`, of an editor whose attention is watched and cannot be changed.

    "begin" is all that the pipeline writes before the instruction, "end" all that stands after it;
    `cancelled` is asked at every layer, and stops the run.
    """

    def __init__(self, models: Models, said: str, cancelled: Callable[[], bool]) -> None:
        self.editor, self.cancelled, self.maps = models.editor, cancelled, {}
        self.text = self.editor.before + said
        found = self.editor.tokenizer(self.text, return_offsets_mapping=True).offset_mapping
        self.spans = [span for span in found if span[1] > span[0]]
        self.own = [b > len(self.editor.before) for _, b in self.spans]  # of the instruction
        self.first: int | None = None  # place of the text among the tokens, known by the first call

    @property
    def tokens(self) -> list[str]:
        """The instruction's tokens, as it writes them, between "begin" and "end"."""
        mine = (span for span, own in zip(self.spans, self.own, strict=True) if own)
        return ["begin", *(self.text[a:b].strip() for a, b in mine), "end"]

    @contextmanager
    def watched(self, grid: tuple[int, int]) -> Iterator[None]:
        """Keep the maps of every step that is run within the block, on a grid of latents."""
        self.grid = grid
        cells = grid[0] * grid[1] // 4 if self.editor.joint else None
        with watching(self.editor.network, JointRecord(cells=cells, see=self._see)):
            yield

    def _see(self, call: Call) -> None:
        if self.cancelled():
            raise Cancelled
        share = call.image_to_text[0].mean(dim=0, keepdim=True)  # rows begin with the text branch
        count = share.shape[-1]
        if self.first is None:
            self.first = first_token(self.editor.pipe, self.text, count)
        start, stop = self.first + self.own.index(True), self.first + len(self.own)
        after = stop + 1 if self.editor.tokens == "tokenizer_2" else count  # T5's end is one token
        parts = [
            share[..., :start].sum(-1, keepdim=True), share[..., start:stop],
            share[..., stop:after].sum(-1, keepdim=True), share[..., after:].sum(-1, keepdim=True),
        ]  # fmt: skip
        own = self.editor.target(torch.cat(parts, dim=-1), self.grid).movedim(-1, 1)
        self.maps[call.layer] = own[None].float().numpy()


def reader_of(
    models: Models, said: str, tokens: int, grid: tuple[int, int], cancelled: Callable[[], bool]
) -> tuple[LastMaps | JointMaps, list[Control], AbstractContextManager]:
    """Return what keeps a run's maps, its controls, and the block in which it watches the run."""
    if models.editor.controllable:
        seen = LastMaps(tokens, whole=models.is_miniature)
        return seen, [seen], nullcontext()
    watched = JointMaps(models, said, cancelled)
    return watched, [], watched.watched(grid)


def mean(maps: Maps) -> Mapping[str, Float[np.ndarray, "token row column"]]:
    """Of each layer the text branch's, averaged over heads."""
    return {layer: one[0].mean(axis=0) for layer, one in maps.items()}


def frozen_layers(kept: Kept, numbers: Sequence[int], steps: int) -> list[str]:
    """Names of the layers of these numbers, in the order in which the UNet calls them.

    Raises `ValueError` if nothing was kept, of as many steps, or there is no such layer.
    """
    if not kept:
        raise ValueError("no run before to freeze maps to; run once without, then again")
    if len(kept) != steps:
        raise ValueError(f"the run before had {len(kept)} steps; freezing {steps} needs as many")
    names = list(kept[0])
    for number in numbers:
        if not 0 <= number < len(names):
            raise ValueError(f"no layer {number} to freeze; there are 0 to {len(names) - 1}")
    return [names[number] for number in numbers]
