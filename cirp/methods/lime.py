"""LIME: a region from clustered features, then attention inside it kept to the related tokens.

Simsar et al. 2025 (WACV). Pass 1 runs InstructPix2Pix for some steps; the outputs of its attention
layers (image branch) are clustered, and the clusters that hold the highest attention to the words
are the region (section 3.2). Pass 2 takes, inside the region, every unrelated token (begin of text,
function words, padding) out of the softmax (section 3.3) at a low text scale. Where released code
and paper differ, this is the code: the mask acts in all three branches, nothing is pasted.
Deviations: any batch, any aspect ratio; features are of the layers named by their stride.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from cirp.attention.control import Attn, Control
from cirp.attention.record import grid_of, stride_of
from cirp.attention.site import Site
from cirp.attention.tokens import FUNCTION_WORDS, words
from cirp.diffusion.sampling import scheduler_of
from cirp.editing.first_pass import Look, by_look
from cirp.editing.masks import Masks, at
from cirp.editing.method import Count, Looking, Portion, Scale, Strides
from cirp.editing.regional import Constraint, Work, regional

# Words of instructions that point at nothing in the picture, beside function words.
EMPTY = frozenset("get give move put show side take".split())


class Settings(Looking):
    """The released code's, strides for latents of 64 x 64."""

    steps: Count = Field(30, description="sampling steps")
    text_scale: Scale = Field(2.0, description="text guidance of the second pass")
    share: Portion = Field(0.9, description="of the steps that are regularised, the first ones")
    reg_strides: Strides = Field((1, 2), description="layers regularised; 16 x 16 and above")
    clusters: Count = Field(8, description="of the features")
    points: Count = Field(3, description="cells of highest attention that choose clusters")
    feature_strides: Strides = Field((2, 4), description="layers whose outputs are clustered")
    look_text_scale: Scale = Field(5.5, description="text guidance of the first pass")
    look_steps: Count = Field(11, description="steps of the first pass")


def features(seen: Look, strides: Sequence[int]) -> Float[Tensor, "image channel row column"]:
    """Layers' outputs at these strides, on the latents' grid, unit length at each cell."""
    grid = seen.grid
    chosen = [
        interpolate(out.float(), size=grid, mode="bilinear", align_corners=False)
        for out in seen.features.values()
        if stride_of(out.shape[-2] * out.shape[-1], grid) in strides
    ]
    if not chosen:
        raise ValueError(f"no layer has outputs at strides {tuple(strides)}")
    return normalize(torch.cat(chosen, dim=1), dim=1)


def mask(seen: Look, settings: Settings) -> Masks:
    """Return the clusters that hold the `points` cells with the highest attention to the words."""
    heat, found = seen.words(settings.strides), []
    for i, one in enumerate(features(seen, settings.feature_strides)):
        cells = one.flatten(1).T.double().cpu().numpy()
        count = min(settings.clusters, len(cells))
        labels = KMeans(count, n_init=3, random_state=0).fit_predict(cells)
        labels = torch.from_numpy(labels).to(heat.device)
        best = labels[heat[i].flatten().topk(settings.points).indices]
        found.append(torch.isin(labels, best).view(heat.shape[1:]).float())
    return torch.stack(found)


def unrelated(tokenizer, prompt: str, length: int) -> Bool[Tensor, " token"]:
    """Begin of text, function words and padding; never the end of text, nor all tokens."""
    related = {p for w in words(tokenizer, prompt) if w.text.lower() not in FUNCTION_WORDS | EMPTY
               for p in w.positions}  # fmt: skip
    related.add(len(tokenizer(prompt).input_ids) - 1)
    out = torch.ones(length, dtype=torch.bool)
    out[sorted(related)] = False
    return out


class Regularise(Control):
    """Inside each image's mask, unrelated tokens get no attention, in every branch."""

    def __init__(
        self,
        masks: Masks,
        unrelated: Bool[Tensor, "image token"],
        *,
        strides: Sequence[int],
        until: float,
    ) -> None:
        self.masks, self.unrelated = masks, unrelated
        self.strides, self.until = tuple(strides), until

    def wants(self, site: Site) -> bool:
        return site.is_cross and site.timestep >= self.until

    def on_scores(self, scores: Attn, site: Site) -> Attn:
        if stride_of(scores.shape[2], site.latent) not in self.strides:
            return scores
        inside = at(self.masks, grid_of(scores.shape[2], site.latent)).flatten(1) >= 0.5
        out = inside[:, :, None] & self.unrelated[:, None, :].to(inside.device)
        rows = out.repeat(len(site.branches), 1, 1)[:, None]
        return scores.masked_fill(rows, torch.finfo(scores.dtype).min)


find = by_look(  # the features and the attention of the last of these steps alone
    mask,
    skip=lambda settings: min(settings.look_steps, settings.steps) - 1,
    text_scale=lambda settings: settings.look_text_scale,
    features=True,
)


@regional("lime", Settings, find)
def edit(work: Work, masks: Masks, settings: Settings) -> Constraint:
    """Return the second pass, in which unrelated tokens get no attention inside."""
    pipe = work.models.instruct
    last = max(round(settings.share * settings.steps), 1) - 1
    until = float(scheduler_of(pipe, settings.steps).timesteps[last])
    length = pipe.tokenizer.model_max_length
    out = [unrelated(pipe.tokenizer, getattr(task, settings.prompt), length) for task in work.tasks]
    return Constraint(
        [Regularise(masks, torch.stack(out), strides=settings.reg_strides, until=until)]
    )
