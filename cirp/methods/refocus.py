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

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from cirp.attention.control import TEXT, Attn, Control, Site, controlled
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Edit,
    Latents,
    Made,
    State,
    Task,
    check_settings,
    decode,
    scheduler,
    states,
)
from cirp.editing.driver import Masks, Start, begin, carry_out, normalised, run
from cirp.editing.first_pass import Found, Look, abstaining, look, positions, regions

Schedule = float | Sequence[float | int]
Losses = Float[Tensor, " image"]


def mask(seen: Look, *, threshold: float = 0.5, strides: Sequence[int] | None = None) -> Masks:
    """Where the words' map, stretched to 0..1, reaches the threshold."""
    return (normalised(seen.words(strides)) >= threshold).float()


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
    """The strides of the levels with attention: 1, 2, 4 in Stable Diffusion 1.x."""
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
    """The value for one of `count` steps: a number for all, or several spread out evenly."""
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
    text: Float[Tensor, "image token width"],
    source: Latents,
    masks: Masks,
    words: Sequence[Sequence[int]],
    *,
    stride: int,
    car_weight: float = 1.0,
    sar_weight: float = 1.0,
) -> tuple[Callable[[Latents, list[int], Tensor], Losses], list[int]]:
    """The losses of images `which` as a function of their latents at a timestep; and who has any.

    The second is the images whose region has an inside and an outside at this stride. A cell is
    inside if any of its latents are, so that a small region does not vanish.
    """
    grid = tuple(-(-side // stride) for side in masks.shape[-2:])
    inside = adaptive_max_pool2d(masks[:, None].float(), grid).flatten(1) >= 0.5
    keep = Keep(unet, stride)

    def losses(x: Latents, which: list[int], t: Tensor) -> Losses:
        seen = torch.cat([x, source[which]], dim=1)
        with controlled(unet, keep, branches=(TEXT,)), models.arithmetic():
            unet(seen, t, encoder_hidden_states=text[which], return_dict=False)
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


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    share: float = 0.2,  # of the steps, the first ones
    step_size: Schedule = (4.0, 3.0),  # one for all these steps, or several spread over them
    iterations: Schedule = (2, 2, 6, 6, 6, 3, 3, 3, 3, 3),
    enough: float = 0.1,  # an image whose loss is no more than this stops
    car_weight: float = 1.0,
    sar_weight: float = 1.0,
    stride: int | None = None,  # of the maps; None: coarsest, 16 x 16 in Stable Diffusion 1.x
    look_steps: int = 10,
    threshold: float = 0.5,
    strides: tuple[int, ...] | None = None,
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mask it used.

    With the defaults, ten of 50 steps have the released code's step sizes and iterations.
    `controls` see the run itself, not the calls the gradients are taken of. `unet_calls` counts
    these as well, for all images of a batch those of the one that took most. An image without a
    region, or with nothing outside it, is edited as the baseline does.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    own = dict(threshold=threshold, strides=strides)
    weights = dict(car_weight=car_weight, sar_weight=sar_weight)
    _check_schedule("step_size", step_size)
    _check_schedule("iterations", iterations)
    check_settings(steps=steps, enough=enough, **weights)
    known = strides_of(models.instruct.unet)
    if stride is not None and stride not in known:
        raise ValueError(f"stride={stride}; this UNet has attention at {known}")
    settings = usual | weights | own | dict(share=share, step_size=step_size, iterations=iterations)
    settings |= dict(
        enough=enough, stride=stride, look_steps=look_steps, abstain=abstain, region=region
    )
    count = round(steps * share)
    unet = twin(models.instruct.unet)

    def find(some: list[Task], start: Start) -> Found:
        seen = look(models, some, start, first=min(look_steps, steps), **usual)
        return abstaining(mask(seen, **own), seen.words(strides), abstain, seen.rows)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        found = regions(some, start, region, lambda: find(some, start))
        losses, active = attention_losses(
            models, unet, states([getattr(task, prompt) for task in some], models.instruct),
            start.source, found.masks,
            [positions(models.instruct.tokenizer, task, prompt) for task in some],
            stride=stride or known[-1], **weights,
        )  # fmt: skip
        taken = torch.zeros(len(some), dtype=torch.long)

        def refocused(mine, latents: Latents, step: int) -> Latents:
            """The latents that go into a step."""
            nonlocal taken
            t = mine.timesteps[step]
            given = mine.scale_model_input(latents, t)  # linear in the latents
            scale = mine.scale_model_input(torch.ones_like(latents), t)
            moved, more = descend(
                given,
                lambda x, which: losses(x, which, t),
                active,
                step_size=at_step(step_size, step, count),
                iterations=round(at_step(iterations, step, count)),
                enough=enough,
            )
            taken = taken + torch.tensor(more)
            return latents + (moved - given) / scale

        def before_next(mine):
            def react(state: State) -> Latents | None:
                following = state.step + 1
                return refocused(mine, state.next, following) if following < count else None

            return react

        mine = scheduler(models.instruct, steps)
        first = refocused(mine, start.noise * mine.init_noise_sigma, 0)
        start = replace(start, noise=first / mine.init_noise_sigma)
        latents, rows = run(models, some, start, **usual, controls=controls, after=before_next)
        rows += found.rows + int(taken.max())
        return Made(decode(latents, models), rows, found.masks, found.abstained)

    return carry_out(
        models,
        tasks,
        one,
        method="refocus",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )


def _check_schedule(name: str, schedule: Schedule) -> None:
    values = [schedule] if isinstance(schedule, int | float) else list(schedule)
    if not values:
        raise ValueError(f"{name}={schedule!r}; give a number, or at least one")
    for value in values:
        check_settings(steps=1, **{name: value})
