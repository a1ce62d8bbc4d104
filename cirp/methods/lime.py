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
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from cirp.attention.control import Attn, Control, Site
from cirp.attention.record import grid_of, stride_of
from cirp.attention.tokens import words
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Made, Task, decode, scheduler
from cirp.editing.driver import Masks, Start, at, begin, carry_out, run
from cirp.editing.first_pass import Found, Look, abstaining, look, regions


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


def mask(
    seen: Look,
    *,
    clusters: int = 8,
    points: int = 3,
    feature_strides: Sequence[int] = (2, 4),
    strides: Sequence[int] | None = None,
) -> Masks:
    """The clusters that hold the `points` cells with the highest attention to the words."""
    heat, found = seen.words(strides), []
    for i, one in enumerate(features(seen, feature_strides)):
        cells = one.flatten(1).T.double().cpu().numpy()
        labels = KMeans(min(clusters, len(cells)), n_init=3, random_state=0).fit_predict(cells)
        labels = torch.from_numpy(labels).to(heat.device)
        best = labels[heat[i].flatten().topk(points).indices]
        found.append(torch.isin(labels, best).view(heat.shape[1:]).float())
    return torch.stack(found)


def unrelated(tokenizer, prompt: str, length: int) -> Bool[Tensor, " token"]:
    """Begin of text, function words and padding; never the end of text, nor all tokens."""
    related = {p for w in words(tokenizer, prompt) if w.text.lower() not in ENGLISH_STOP_WORDS
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


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 30,
    text_scale: float = 2.0,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    share: float = 0.9,  # of the steps that are regularised, the first ones
    reg_strides: tuple[int, ...] = (1, 2),  # over 16 x 16 of 64 x 64 latents
    clusters: int = 8,
    points: int = 3,
    feature_strides: tuple[int, ...] = (2, 4),  # 32 x 32 and 16 x 16 of 64 x 64 latents
    look_text_scale: float = 5.5,
    look_steps: int = 11,
    strides: tuple[int, ...] | None = None,
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mask it used.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    usual = dict(steps=steps, image_scale=image_scale, prompt=prompt)
    own = dict(clusters=clusters, points=points, feature_strides=feature_strides, strides=strides)
    settings = usual | own
    settings |= dict(
        text_scale=text_scale, share=share, reg_strides=reg_strides, region=region,
        look_text_scale=look_text_scale, look_steps=look_steps, abstain=abstain,
    )  # fmt: skip
    tokenizer = models.instruct.tokenizer

    def find(some: list[Task], start: Start) -> Found:
        first = min(look_steps, steps)
        seen = look(  # the features and the attention of the last of these steps alone
            models, some, start, first=first, skip=first - 1, features=True,
            text_scale=look_text_scale, **usual,
        )  # fmt: skip
        return abstaining(mask(seen, **own), seen.words(strides), abstain, seen.rows)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        found = regions(some, start, region, lambda: find(some, start))
        last = max(round(share * steps), 1) - 1
        until = float(scheduler(models.instruct, steps).timesteps[last])
        length = tokenizer.model_max_length
        out = [unrelated(tokenizer, getattr(task, prompt), length) for task in some]
        regularise = Regularise(found.masks, torch.stack(out), strides=reg_strides, until=until)
        latents, rows = run(
            models, some, start, **usual, text_scale=text_scale, controls=[regularise, *controls]
        )
        return Made(decode(latents, models), found.rows + rows, found.masks, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="lime",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
