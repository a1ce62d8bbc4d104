"""A first look at an edit: what methods need to find its region, gathered in part of one run.

`look` runs the baseline for its first steps and gathers, beside one another, the attention of every
token, self-attention, what the text changes in the prediction, and the layers' outputs. What a
method makes of it, its mask, is a pure function in the method's own file.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cirp.attention.control import Attn, Control
from cirp.attention.maps import token_maps
from cirp.attention.record import Mean, Record, grid_of, stride_of
from cirp.attention.site import IMAGE, TEXT, Site
from cirp.attention.tokens import content_positions, token_positions
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import State
from cirp.diffusion.tasks import Task
from cirp.editing.driver import Start, run_editor
from cirp.editing.masks import Found, Masks, abstaining, blurred, normalised
from cirp.editing.method import Looking
from cirp.editing.regional import Work


class RecordSelf(Control):
    """The mean of the self-attention of one branch over layers, heads and time, at one stride."""

    reads_only = True

    def __init__(self, stride: int, *, branch: int = TEXT) -> None:
        self.stride, self.branch, self.branches = stride, branch, (branch,)
        self.mean = Mean()

    def wants(self, site: Site) -> bool:
        return not site.is_cross

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        if stride_of(probs.shape[2], site.latent) == self.stride:
            self.mean.add(probs[site.rows(self.branch)].mean(dim=1))
        return probs


@dataclass(frozen=True)
class Look:
    """What the first steps of the baseline show of a batch of edits. Axis 0 is the image."""

    record: Record  # text rows of cross-attention, all tokens
    positions: list[list[int]]  # of the tokens of each edit's words
    ends: list[int]  # position of each prompt's end-of-text token
    self_attention: Float[Tensor, "image query key"] | None
    change: Float[Tensor, "image row column"]  # sum over channels of |e(I,T) - e(I,0)|, mean
    guidance: Float[Tensor, "image _channel row column"]  # e(I,T) - e(I,0), mean over the steps
    features: dict[
        str, Float[Tensor, "image _channel _row _column"]
    ]  # outputs of layers, last step
    latents: Float[Tensor, "image _channel row column"]  # at the end, clean if all steps were run
    rows: int  # UNet rows an image took

    @property
    def grid(self) -> tuple[int, int]:
        return tuple(self.change.shape[-2:])

    def words(self, strides: Sequence[int] | None = None) -> Masks:
        """Each edit's map of its words, the mean over their tokens, on the latents' grid."""
        return self.tokens(self.positions, strides)

    def tokens(
        self, positions: Sequence[Sequence[int]], strides: Sequence[int] | None = None
    ) -> Masks:
        """As `words`, for any tokens of each edit."""
        return torch.stack(
            [
                token_maps(self.record, image=i, positions=some, strides=strides).mean(dim=0)
                for i, some in enumerate(positions)
            ]
        )


@contextmanager
def outputs(network, wanted: Callable[[str], bool]):
    """Return the outputs of the attention layers `wanted` names, as of the network's latest call.

    A layer of a network in which text and picture share a softmax has one for each.
    """
    kept: dict[str, Any] = {}

    def keep(name: str):
        def hook(_, __, out):
            kept[name] = out

        return hook

    with ExitStack() as stack:
        for name, layer in network.named_modules():
            if name.endswith(("attn1", "attn2", ".attn")) and wanted(name):
                stack.callback(layer.register_forward_hook(keep(name)).remove)
        yield kept


def written(
    out: Float[Tensor, "row y x channel"],
) -> Float[Tensor, "image y x"]:
    """How much of an attention layer's output is due to the text, by cell; its mean is 1.

    `out` has the rows of the branch with the text, then as many of the branch without.
    """
    text, image = out.float().chunk(2)
    apart = (text - image).norm(dim=-1)
    least = torch.finfo(apart.dtype).tiny
    return apart / apart.mean((-2, -1), keepdim=True).clamp_min(least)


def prompt_and_words(task: Task, prompt: str) -> tuple[str, tuple[str, ...]]:
    """Return a task's prompt and the words of it that carry the edit."""
    return (
        (task.instruction, task.words)
        if prompt == "instruction"
        else (task.caption, task.target_words)
    )


def positions(tokenizer, task: Task, prompt: str = "instruction") -> list[int]:
    """The tokens of the words that carry the edit; of all words that mean something, if not known.

    "end" and "padding" among the words are those tokens.

    Raises `ValueError` for words that are not in the prompt.
    """
    text, words = prompt_and_words(task, prompt)
    if not words:
        return content_positions(tokenizer, text)
    return sorted({p for word in words for p in token_positions(tokenizer, text, word)})


def look(
    models: Models,
    tasks: Sequence[Task],
    start: Start,
    *,
    steps: int,
    first: int,
    skip: int = 0,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    image_until: float = 1.0,
    self_stride: int | None = None,
    features: bool = False,
    controls: Sequence[Control] = (),
) -> Look:
    """Run steps 0 .. `first` of the baseline; all but the first `skip` of them are gathered.

    `self_stride` asks for self-attention at that stride, `features` for the layers' outputs in
    the image branch. `controls` see the attention too.
    """
    tokenizer = models.instruct.tokenizer
    words = [positions(tokenizer, task, prompt) for task in tasks]
    ends = [len(tokenizer(prompt_and_words(task, prompt)[0]).input_ids) - 1 for task in tasks]
    record = Record(tokens=max(*ends, *map(max, words), 0) + 1)
    gathered = [record] + ([RecordSelf(self_stride)] if self_stride else [])
    change, guidance = Mean(), Mean()

    def watch(scheduler):
        threshold = float(scheduler.timesteps[skip]) if skip else float("inf")
        for control in gathered:
            control.wants = _from(control, threshold)

        def react(state: State) -> None:
            if state.step >= skip:
                apart = state.predictions[TEXT] - state.predictions[IMAGE]
                change.add(apart.abs().sum(dim=1))
                guidance.add(apart)

        return react

    unet = models.instruct.unet
    with outputs(unet, lambda _: features) as kept:
        latents, rows = run_editor(
            models, tasks, start, steps=steps, text_scale=text_scale, image_scale=image_scale,
            prompt=prompt, image_until=image_until, controls=[*gathered, *controls], after=watch,
            first=first,
        )  # fmt: skip
    count = len(tasks)
    image_rows = slice(count, 2 * count)  # text, image, neither
    return Look(
        record,
        words,
        ends,
        gathered[1].mean.value if self_stride else None,
        change.value,
        guidance.value,
        {name: _folded(out[image_rows], start.grid) for name, out in kept.items()},
        latents,
        rows,
    )


def _from(control: Control, threshold: float):
    """`control.wants`, but only from a timestep on."""
    wants = type(control).wants

    def later(site: Site) -> bool:
        return site.timestep <= threshold and wants(control, site)

    return later


def _folded(out: Float[Tensor, "image query channel"], grid) -> Tensor:
    return out.mT.unflatten(-1, grid_of(out.shape[1], grid))


def words_mask(seen: Look, settings: Looking) -> Masks:
    """Return where the words' map, blurred if the settings say so, reaches their threshold.

    The map is stretched to 0..1.
    """
    heat = blurred(seen.words(settings.strides), getattr(settings, "sigma", 0.0))
    return (normalised(heat) >= settings.threshold).float()


def by_look(
    mask: Callable[[Look, Looking], Masks],
    evidence: Callable[[Look, Looking], Masks] | None = None,
    **how,
) -> Callable[[Work, Looking], Found]:
    """Return how a region is found by a look at the first steps: `mask` makes it of what is seen.

    Everything may change where the `evidence`, by default the words' map, is diffuse. `how` is
    `look`'s; what is a function is called with the settings.
    """

    def find(work: Work, settings: Looking) -> Found:
        own = {name: value(settings) if callable(value) else value for name, value in how.items()}
        first = min(settings.look_steps, settings.steps)
        seen = look(
            work.models, work.tasks, work.start, first=first,
            **{**settings.guidance, "image_until": 1.0, **own},
        )  # fmt: skip
        maps = evidence(seen, settings) if evidence else seen.words(settings.strides)
        return abstaining(mask(seen, settings), maps, settings.abstain, seen.rows)

    return find
