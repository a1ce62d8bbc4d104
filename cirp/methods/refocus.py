"""Attention refocusing (Phung et al. 2024): gradient steps on the latents until attention fits.

Before each of the first steps the latents x_t go down the gradient of two losses of the attention
in the text branch, of a word's map a and of self-attention A:

    CAR = (1 - max_{u in R} a_u) + max_{u not in R} a_u                 cross-attention refocusing
    SAR = 1 / |R|  sum_{u in R} sum_{v not in R} A_uv                    self-attention refocusing

R is the region. CAR is the mean over the words' tokens. Written from the paper's description of the
two losses and from the released code (Attention-Refocusing @2c265cb, ldm/models/diffusion/loss.py),
where that code differs:

- there the maps are renormalised by a softmax of 100 times the probabilities, then blurred; here by
  leaving begin-of-text out, which takes most of the mass, and dividing by what is left;
- there CAR weighs its terms by thresholds and the step (6 (1 - a) under 0.1, ...), counts other
  objects' boxes and the background apart, and stops at a loss of 0.1 or a maximum of 0.2 in a box;
  here it is the formula above and `enough`;
- there GLIGEN's gated layers have a loss, too, and boxes are given; here the region is one mask;
- there every fifth step until the 35th is refocused as well; here only the first `share`;
- all this makes that code's losses steeper: its step sizes, the defaults, do less here. Choose
  `step_size` for a model by what it does to the loss.

Brought to InstructPix2Pix: the gradient is taken through the branch with text and image, one UNet
row. It is taken of the latents as the UNet is given them, so a step means the same to a scheduler
whose latents grow with the noise (Euler) as to one whose latents do not (DDIM).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from cirp.attention.control import Attn, Control, controlled
from cirp.attention.site import TEXT, Site
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, State, scheduler_of
from cirp.diffusion.tasks import Made, Task
from cirp.diffusion.text import Text, encode_prompts, predict
from cirp.editing.driver import begin_edit
from cirp.editing.first_pass import by_look, positions, words_mask
from cirp.editing.masks import Masks, regions
from cirp.editing.method import Count, Looking, Portion, Scale, Share, method
from cirp.editing.regional import Constraint, Work, finished, run_constrained

Schedule = Scale | Annotated[tuple[Scale, ...], Field(min_length=1)]
Losses = Float[Tensor, " image"]


class Settings(Looking):
    """The released code's: ten of 50 steps have its step sizes and iterations."""

    share: Portion = Field(0.2, description="of the steps that are refocused, the first ones")
    step_size: Schedule = Field((4.0, 3.0), description="one for all, or several spread over them")
    iterations: Schedule = Field((2, 2, 6, 6, 6, 3, 3, 3, 3, 3), description="of the descent")
    enough: Scale = Field(0.1, description="an image whose loss is no more than this stops")
    car_weight: Scale = Field(1.0, description="of the loss of cross-attention")
    sar_weight: Scale = Field(1.0, description="of the loss of self-attention")
    stride: Count | None = Field(None, description="of the maps; None: coarsest")
    threshold: Share = Field(0.5, description="of the stretched map")


def car(maps: Float[Tensor, "token query"], inside: Bool[Tensor, " query"]) -> Float[Tensor, ""]:
    """Cross-attention refocusing: one cell inside should have all of a word, none outside any.

    Raises `ValueError` if nothing, or everything, is inside.
    """
    _check_inside(inside)
    return (1 - maps[:, inside].amax(dim=1) + maps[:, ~inside].amax(dim=1)).mean()


def sar(attention: Float[Tensor, "query key"], inside: Bool[Tensor, " query"]) -> Float[Tensor, ""]:
    """Self-attention refocusing: the mass that cells inside give to cells outside, 0 to 1.

    Raises `ValueError` if nothing, or everything, is inside.
    """
    _check_inside(inside)
    return attention[inside][:, ~inside].sum(dim=1).mean()


def _check_inside(inside: Tensor) -> None:
    if inside.all() or not inside.any():
        raise ValueError("the region must have an inside and an outside; leave such images out")


def without_begin(probs: Float[Tensor, "image query token"]) -> Float[Tensor, "image query rest"]:
    """Probabilities over all tokens but begin-of-text, position 0."""
    rest = probs[..., 1:]
    return rest / rest.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(rest.dtype).tiny)


class Keep(Control):
    """The text rows' maps at one stride with their graph, head by head averaged; unchanged.

    The middle block is left out, as everywhere else. Not `reads_only`: that would cut the graph.
    """

    def __init__(self, unet, stride: int) -> None:
        levels = len(unet.config.block_out_channels)
        level = stride.bit_length() - 1
        self.blocks = (f"down_blocks.{level}.", f"up_blocks.{levels - 1 - level}.")
        self.begin()

    def begin(self) -> None:
        self.cross: list[Float[Tensor, "image query token"]] = []
        self.own: list[Float[Tensor, "image query key"]] = []

    def wants(self, site: Site) -> bool:
        return site.layer.startswith(self.blocks)

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        kept = self.cross if site.is_cross else self.own
        kept.append(probs[site.rows(TEXT)].mean(dim=1))
        return probs


def strides_of(unet) -> list[int]:
    """Return the strides of the levels with attention: 1, 2, 4 in Stable Diffusion 1.x."""
    kinds = unet.config.down_block_types
    return [2**level for level, kind in enumerate(kinds) if "CrossAttn" in kind]


def twin(unet):
    """Another UNet with the same weights, not copied, and nothing that hangs on the first one.

    The gradient's calls have one branch. Made on the first UNet they would pass through the
    controls of the run they stand in, which know three branches, and be recorded there.
    """
    with torch.device("meta"):
        other = type(unet).from_config(unet.config)
    other.load_state_dict(unet.state_dict(), assign=True)
    return other.eval().requires_grad_(False)


def at_step(schedule: Schedule, step: int, count: int) -> float:
    """Return the value for one of `count` steps: a number for all, or several spread out evenly."""
    if isinstance(schedule, int | float):
        return float(schedule)
    return float(schedule[step * len(schedule) // count])


def descend(
    x: Latents,
    losses: Callable[[Latents, list[int]], Losses],
    active: Sequence[int],
    *,
    step_size: float,
    iterations: int,
    enough: float,
) -> tuple[Latents, list[int]]:
    """Up to `iterations` gradient steps of each active image, and how many gradients each took.

    An image stops for itself when its loss is `enough` or less. `losses(x, which)` gives the
    losses of the images `which`, whose latents are `x`; each must depend on its own alone.
    """
    x, taken, active = x.clone(), [0] * len(x), list(active)
    for _ in range(iterations):
        if not active:
            break
        with torch.enable_grad():
            some = x[active].detach().requires_grad_()
            lost = losses(some, active)
            (slope,) = torch.autograd.grad(lost.sum(), some)
        going = (lost > enough).tolist()
        for n, i in enumerate(active):
            taken[i] += 1
            if going[n]:
                x[i] -= step_size * slope[n]
        active = [i for i, goes in zip(active, going, strict=True) if goes]
    return x, taken


def attention_losses(
    models: Models,
    unet,
    text: Text,
    source: Latents,
    masks: Masks,
    words: Sequence[Sequence[int]],
    *,
    stride: int,
    car_weight: float = 1.0,
    sar_weight: float = 1.0,
) -> tuple[Callable[[Latents, list[int], Tensor], Losses], list[int]]:
    """Return the losses as a function of images' latents at a timestep, and the images with any.

    The latter are the images whose region has an inside and an outside at this stride. A cell is
    inside if any of its latents are, so that a small region does not vanish.
    """
    grid = tuple(-(-side // stride) for side in masks.shape[-2:])
    inside = adaptive_max_pool2d(masks[:, None].float(), grid).flatten(1) >= 0.5
    keep = Keep(unet, stride)

    def losses(x: Latents, which: list[int], t: Tensor) -> Losses:
        seen = torch.cat([x, source[which]], dim=1)
        with controlled(unet, keep, branches=(TEXT,)), models.arithmetic():
            predict(unet, seen, t, text[which])
        cross = without_begin(torch.stack(keep.cross).mean(dim=0))
        own = torch.stack(keep.own).mean(dim=0)
        keep.begin()  # the graph is the caller's alone
        return torch.stack(
            [
                car_weight * car(cross[n][:, [p - 1 for p in words[i]]].mT, inside[i])
                + sar_weight * sar(own[n], inside[i])
                for n, i in enumerate(which)
            ]
        )

    mixed = inside.any(dim=1) & ~inside.all(dim=1)
    return losses, mixed.nonzero().flatten().tolist()


find = by_look(words_mask)


@method("refocus", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Edit a batch; `controls` see the run itself, not the calls the gradients are taken of.

    `unet_calls` counts these as well, for all images of a batch those of the one that took most.
    An image without a region, or with nothing outside it, is edited as the baseline does.
    """
    pipe = models.instruct
    known = strides_of(pipe.unet)
    if settings.stride is not None and settings.stride not in known:
        raise ValueError(f"stride={settings.stride}; this UNet has attention at {known}")
    work = Work(models, tasks, begin_edit(models, tasks))
    start = work.start
    count = round(settings.steps * settings.share)
    found = regions(tasks, start, settings.region, lambda: find(work, settings))
    losses, active = attention_losses(
        models, twin(pipe.unet), encode_prompts([getattr(t, settings.prompt) for t in tasks], pipe),
        start.source, found.masks,
        [positions(pipe.tokenizer, task, settings.prompt) for task in tasks],
        stride=settings.stride or known[-1],
        car_weight=settings.car_weight, sar_weight=settings.sar_weight,
    )  # fmt: skip
    taken = torch.zeros(len(tasks), dtype=torch.long)

    def refocused(scheduler, latents: Latents, step: int) -> Latents:
        """Return the latents that go into a step."""
        nonlocal taken
        t = scheduler.timesteps[step]
        shown = scheduler.scale_model_input(latents, t)  # linear in the latents
        scale = scheduler.scale_model_input(torch.ones_like(latents), t)
        moved, more = descend(
            shown,
            lambda x, which: losses(x, which, t),
            active,
            step_size=at_step(settings.step_size, step, count),
            iterations=round(at_step(settings.iterations, step, count)),
            enough=settings.enough,
        )
        taken = taken + torch.tensor(more)
        return latents + (moved - shown) / scale

    def before_next(scheduler):
        def react(state: State) -> Latents | None:
            following = state.step + 1
            return refocused(scheduler, state.next, following) if following < count else None

        return react

    scheduler = scheduler_of(pipe, settings.steps)
    first = refocused(scheduler, start.noise * scheduler.init_noise_sigma, 0)
    work = replace(work, start=replace(start, noise=first / scheduler.init_noise_sigma))
    latents, rows = run_constrained(work, settings, Constraint(after=before_next), controls)
    return finished(work, latents, rows + int(taken.max()), settings, found)
