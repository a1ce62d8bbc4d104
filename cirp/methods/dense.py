"""DenseDiffusion (Kim et al. 2023): attention scores are moved towards a layout.

In the first `share` of the steps, in every cross- and self-attention layer, the text branch's
scores s (before the softmax) become (the paper's modulation, in its symbols)

    s + R S w xi (max_k s - s) - (1 - R) S w xi (s - min_k s),    xi = (t / 1000) ** degree

max and min are each query's own. R is 1 where query and key belong together: pixels of one segment
(self-attention), a segment's pixel and a token of its phrase (cross-attention). S is 1 - the share
of the image that the query's segment covers, so small segments are moved more.

Differs from the paper, which lays out pictures from text alone and edits nothing:

- The layout is the region of the words that carry the edit, and what is left, the background.
- No token belongs to the background, as to a segment without a phrase: its pixels' scores all
  shrink towards their minimum, the words' and begin-of-text's too. S keeps that weak where the
  background is large.
- Phrases are not encoded by themselves and pasted into the prompt: its tokens stay as they are.
- An even layout (everything, or nothing, is region) moves nothing: S is 0.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from cirp.attention.control import Attn, Control
from cirp.attention.record import grid_of
from cirp.attention.site import TEXT, Site
from cirp.diffusion.sampling import scheduler_of
from cirp.editing.first_pass import by_look, positions, words_mask
from cirp.editing.masks import Masks, at
from cirp.editing.method import Looking, Portion, Scale, Share
from cirp.editing.regional import Constraint, Work, regional

TRAINING_STEPS = 1000  # of Stable Diffusion; xi is 1 in pure noise


class Settings(Looking):
    """The released code's weights."""

    share: Portion = Field(0.3, description="of the steps that are modulated, the first ones")
    cross_weight: Scale = Field(1.0, description="of the layout in cross-attention")
    self_weight: Scale = Field(0.3, description="of the layout in self-attention")
    degree: Scale = Field(5.0, description="how fast both fade with the timestep")
    threshold: Share = Field(0.5, description="of the stretched map")


def layout(masks: Masks, grid: tuple[int, int]) -> Float[Tensor, "image 2 query"]:
    """Return the two segments, region and background, of a level with this grid: 1 or 0."""
    inside = (at(masks, grid) >= 0.5).float().flatten(1)
    return torch.stack([inside, 1 - inside], dim=1)


def membership(
    words: Sequence[Sequence[int]], keys: int, like: Tensor
) -> Float[Tensor, "image 2 key"]:
    """Return which tokens belong to the region, the words', and to the background, none."""
    found = torch.zeros(len(words), 2, keys).to(like)
    for i, some in enumerate(words):
        found[i, 0, list(some)] = 1
    return found


def modulated(
    scores: Float[Tensor, "image head query key"],
    segments: Float[Tensor, "image segment query"],
    members: Float[Tensor, "image segment key"],
    timestep: float,
    *,
    weight: float,
    degree: float = 5.0,
) -> Float[Tensor, "image head query key"]:
    """Return the scores moved towards the layout, by the formula above.

    Args:
        segments: 1 where the query's pixel belongs to the segment; every pixel belongs to one.
        members: 1 where the key does; `segments` itself in self-attention.
    """
    together = torch.einsum("isq,isk->iqk", segments, members)[:, None]
    covered = segments.mean(dim=2, keepdim=True)
    size = ((1 - covered) * segments).sum(dim=1)[:, None, :, None]
    strength = size * weight * (timestep / TRAINING_STEPS) ** degree
    up = scores.amax(dim=-1, keepdim=True) - scores
    down = scores - scores.amin(dim=-1, keepdim=True)
    return scores + strength * (together * up - (1 - together) * down)


class Modulate(Control):
    """`modulated` in the text rows, until the timestep `last`."""

    def __init__(
        self,
        masks: Masks,
        words: Sequence[Sequence[int]],
        *,
        cross_weight: float,
        self_weight: float,
        degree: float,
        last: float,
    ) -> None:
        self.masks, self.words, self.degree, self.last = masks, words, degree, last
        self.cross_weight, self.self_weight = cross_weight, self_weight

    def _weight(self, site: Site) -> float:
        return self.cross_weight if site.is_cross else self.self_weight

    def wants(self, site: Site) -> bool:
        return site.timestep >= self.last and self._weight(site) != 0

    def on_scores(self, scores: Attn, site: Site) -> Attn:
        text = scores[site.rows(TEXT)]
        segments = layout(self.masks, grid_of(text.shape[2], site.latent)).to(text)
        members = membership(self.words, text.shape[3], text) if site.is_cross else segments
        changed = scores.clone()
        changed[site.rows(TEXT)] = modulated(
            text, segments, members, site.timestep, weight=self._weight(site), degree=self.degree
        )
        return changed


@regional("dense", Settings, by_look(words_mask))
def edit(work: Work, masks: Masks, settings: Settings) -> Constraint:
    """Attention moved towards the layout; further controls see it moved."""
    pipe = work.models.instruct
    times = scheduler_of(pipe, settings.steps).timesteps
    modulate = Modulate(
        masks, [positions(pipe.tokenizer, task, settings.prompt) for task in work.tasks],
        last=float(times[round(settings.steps * settings.share) - 1]),
        cross_weight=settings.cross_weight, self_weight=settings.self_weight,
        degree=settings.degree,
    )  # fmt: skip
    return Constraint([modulate])
