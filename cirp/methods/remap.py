"""remap: the edit is moved to where the instruction acts, and the rest is kept.

Ours. One run of the editor, without a look before it, and two regions.

1. The run's first step is looked at. There the model has said three things about every cell of the
   latents: how much the text changes the prediction, |e(I,T) - e(I,0)|; how far the picture that it
   foresees is from the source, |x0(I,T) - source|; and how much cross-attention *writes* because
   of the text, |output(T) - output(0)| in the finest layers. Their geometric mean is the evidence.
2. The *generous* region is where the evidence exceeds half of Otsu's threshold: a region that is
   too tight cuts the edit. If the foreseen picture is far from the source in half of the cells,
   the instruction is about the whole picture, and nothing is constrained.
3. For the rest of the run, outside of that region, cross-attention writes for the text branch what
   it writes for the branch without instruction (the remapping), and the latents are the noised
   source's. Image guidance is asked for in the first half of the steps only, which saves rows.
4. The *exact* region is found at the end, by pixel: where the edit differs from the source by more
   than the autoencoder does. Elsewhere the source's pixels are pasted, with a soft edge.

Several instructions are written as one, parted by `separator`; each is an edit of its own, with a
region of its own, of the picture that the one before it left.

A UNet that predicts noise foresees nothing in pure noise. The step that is looked at is then the
first whose latents hold enough of a signal (`signal`), and the run goes on from there.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, Strict, model_validator
from skimage.filters import threshold_otsu
from torch import Tensor

from cirp.attention.control import Control
from cirp.attention.record import stride_of
from cirp.attention.site import IMAGE, TEXT
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import clean_guess, decode, mixture, prediction_of
from cirp.diffusion.tasks import Made, Task
from cirp.editing.constraints import gated, written_outside
from cirp.editing.driver import EditorRun, begin_edit, noised_source
from cirp.editing.first_pass import outputs, written
from cirp.editing.instructions import check_separator, instructions, part_of
from cirp.editing.masks import (
    Found,
    Masks,
    abstaining,
    at,
    blurred,
    composite,
    given,
    keep_outside,
    normalised,
    own_change,
)
from cirp.editing.method import Flag, Portion, Regional, Scale, Share, Strides, added, method
from cirp.editing.regional import Work

SIGNS = ("change", "foreseen", "written")


class Settings(Regional):
    """Chosen on validation edits."""

    image_until: Portion = Field(
        0.5, description="share of the steps with image guidance, which is 1 after"
    )
    signs: Annotated[tuple[Literal["change", "foreseen", "written"], ...], Field(min_length=1)] = (
        Field(SIGNS, description="what the evidence is made of")
    )
    signal: Share = Field(
        0.2, description="least share of signal at the look, if the UNet predicts noise"
    )
    strides: Strides = Field(None, description="layers whose writing counts; None: finest")
    sigma: Scale = Field(1.0, description="blur of the evidence, latent cells")
    grow: Scale = Field(0.5, description="of Otsu's threshold; under 1 takes more")
    scope: Annotated[float, Strict()] | None = Field(
        0.28, description="distance of the foreseen picture above which the whole picture is meant"
    )
    low: Scale = Field(10.0, description="change of a pixel, of 255, that is no edit")
    high: Scale = Field(24.0, description="change of a pixel that surely is one")
    remap: Flag = Field(True, description="what cross-attention writes outside is kept")
    hold: Flag = Field(True, description="latents outside are the noised source's")
    paste: Flag = Field(True, description="pixels outside the exact region are the source's")
    tokens: Literal["all", "words", "end"] = added(
        "all", "whose writing is kept outside: of all, of words, or of end of text and padding"
    )
    gate: Flag = added(False, "outside, the text guides nothing")
    separator: str | None = added(None, "parts several instructions")

    @model_validator(mode="after")
    def _parted(self) -> "Settings":
        check_separator(self.separator, self.prompt)
        return self


@dataclass(frozen=True)
class FirstStep:
    """What the step that is looked at shows of a batch of edits, on the latents' grid."""

    change: Masks  # of the prediction, because of the text
    foreseen: Masks  # distance of the foreseen picture from the source
    written: Masks  # by cross-attention, because of the text


def otsu(maps: Masks) -> Float[Tensor, "image 1 1"]:
    """Return the threshold that divides each map's values into two groups (Otsu 1979)."""
    found = [threshold_otsu(one) for one in maps.double().cpu().numpy()]
    return torch.tensor(found)[:, None, None].to(maps)


def evidence(seen: FirstStep, settings: Settings) -> Masks:
    """Return the geometric mean of the signs, blurred and stretched to 0..1."""
    logs = [getattr(seen, name).clamp_min(1e-12).log() for name in settings.signs]
    return normalised(blurred(torch.stack(logs).mean(dim=0).exp(), settings.sigma))


def is_global(seen: FirstStep, settings: Settings) -> Bool[Tensor, " image"]:
    """Whether half of the cells are foreseen over `scope` away from the source."""
    if settings.scope is None:
        return torch.zeros(len(seen.change), dtype=torch.bool, device=seen.change.device)
    return seen.foreseen.flatten(1).median(dim=1).values > settings.scope


def mask(seen: FirstStep, settings: Settings) -> Masks:
    """Where the evidence reaches `grow` times Otsu's threshold; everything if that is meant."""
    found = evidence(seen, settings)
    local = found >= settings.grow * otsu(found)
    return (local | is_global(seen, settings)[:, None, None]).float()


def step_of_look(scheduler, signal: float) -> int:
    """Return the first step that can be looked at: step 0, unless the UNet predicts noise."""
    if prediction_of(scheduler) != "epsilon":
        return 0
    for step, time in enumerate(scheduler.timesteps):
        clean, noise = mixture(scheduler, float(time))
        if clean / (clean**2 + noise**2) ** 0.5 >= signal:
            return step
    return len(scheduler.timesteps) - 1


def look(run: EditorRun, work: Work, settings: Settings) -> FirstStep:
    """Run the editor up to the step that can be looked at, and say what that step shows."""
    step, editor = step_of_look(run.scheduler, settings.signal), run.editor
    run.until(step)
    seen, grid = [], work.start.grid
    run.contrast = True
    with outputs(editor.network, editor.writes) as kept:
        run.until(step + 1, seen.append)
    run.contrast = settings.remap or settings.gate
    (state,) = seen
    said, plain = state.predictions[TEXT], state.predictions[IMAGE]
    foreseen = clean_guess(run.scheduler, state, said) - work.start.clean
    cells = [editor.target(editor.picture(out, grid), grid) for out in kept.values()]
    by_stride = [(stride_of(out.shape[1] * out.shape[2], grid), out) for out in cells]
    known = sorted({stride for stride, _ in by_stride})
    wrote = [
        at(written(out[: 2 * len(said)]), grid)
        for stride, out in by_stride
        if stride in (settings.strides or known[:1])
    ]
    if not wrote:
        raise ValueError(
            f"no cross-attention layer has a stride of {settings.strides} latent cells; this "
            f"editor has {', '.join(map(str, known))}"
        )
    return FirstStep(
        (said - plain).abs().mean(dim=1),
        foreseen.abs().mean(dim=1),
        torch.stack(wrote).mean(dim=0),
    )


@torch.no_grad()
def look_at(models: Models, tasks: Sequence[Task], settings: Settings) -> FirstStep:
    """Return what the look of an edit by these settings shows."""
    work = Work(models, tasks, begin_edit(models, tasks))
    return look(EditorRun(models, tasks, work.start, **settings.guidance), work, settings)


@method("remap", Settings, version=3, any_editor=True)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """Look where in the first step, keep the rest in the others, then paste by pixel."""
    if not settings.separator:
        return _edit(models, tasks, settings, controls)
    each = [instructions(task, settings.separator) for task in tasks]
    images, abstained, rows = [task.image for task in tasks], [False] * len(tasks), 0
    masks = torch.zeros(len(tasks), *images[0].size[::-1])
    for n in range(max(map(len, each))):
        who = [i for i, some in enumerate(each) if n < len(some)]
        part = [
            replace(part_of(tasks[i], each[i][n], models.editor.tokenizer), image=images[i])
            for i in who
        ]
        made = _edit(models, part, settings, controls)
        rows += made.rows
        for i, *one in zip(who, made.images, made.masks, made.abstained, strict=True):
            images[i], masks[i] = one[0], masks[i].maximum(one[1].cpu())
            abstained[i] |= one[2]
    return Made(images, rows, masks, abstained)


def _edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    work = Work(models, tasks, begin_edit(models, tasks))
    run = EditorRun(models, tasks, work.start, **settings.guidance)
    with run.controlled(*controls):
        found, whole = _run(run, work, settings)
    images = decode(run.latents, models)
    exact = own_change(
        models, work.start, images, work.sources, found.masks, low=settings.low, high=settings.high
    )
    exact[whole] = 1.0
    if settings.paste or settings.paste_own:
        images = composite(images, work.sources, exact)
    return Made(images, run.rows, exact, found.abstained)


@torch.no_grad()
def _run(run: EditorRun, work: Work, settings: Settings) -> tuple[Found, Bool[Tensor, " image"]]:
    """Look, then run to the end; the generous regions, and which edits are of the whole picture."""
    start, tasks = work.start, work.tasks
    seen = look(run, work, settings)
    if settings.region == "given":
        found = Found(given(tasks, start.grid).to(start.source), [False] * len(tasks))
        whole = torch.zeros(len(tasks), dtype=torch.bool)
    else:
        masks = mask(seen, settings)
        found = abstaining(masks, evidence(seen, settings), settings.abstain)
        whole = is_global(seen, settings).cpu() | torch.tensor(found.abstained)
    react = None
    if settings.hold:
        inside = found.masks[:, None].to(run.latents)
        kept = noised_source(run.scheduler, start.clean, start.noise, run.done - 1)
        run.latents = inside * run.latents + (1 - inside) * kept
        react = keep_outside(found.masks, start)(run.scheduler)
    if settings.gate:
        run.guide = gated(found.masks, run.editor, **run.scales)
    tokens = None if settings.tokens == "all" else ends(tasks, work.models, settings.prompt)
    if settings.tokens == "words":
        tokens = ~tokens
    with written_outside(run.editor, found.masks, tokens) if settings.remap else nullcontext():
        run.until(None, react)
    return found, whole


def ends(tasks: Sequence[Task], models: Models, prompt: str) -> Bool[Tensor, "image token"]:
    """Return True at end of text and padding; every other token is one of a word, or the first."""
    tokenizer = models.instruct.tokenizer
    said = [len(tokenizer(getattr(task, prompt)).input_ids) for task in tasks]
    return torch.arange(tokenizer.model_max_length)[None] >= torch.tensor(said)[:, None] - 1
