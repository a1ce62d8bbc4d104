"""What the methods that run an instruction editor share: one run of it, and keeping the source.

A method says what is its own: controls of attention, a rule of guidance, what becomes of the
latents after each step.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from cirp.attention.control import Control, controlled
from cirp.attention.site import IMAGE, NEITHER
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Latents,
    State,
    encode,
    guided_steps,
    noised,
    with_noise,
)
from cirp.diffusion.tasks import Task, initial_noise

After = Callable[[State], Latents | None]


@dataclass(frozen=True)
class Start:
    """What every method begins a batch with: the same noise for the same task, always."""

    source: Latents  # as the editor is shown them: InstructPix2Pix's are unscaled
    clean: Latents  # the source as the end of a run
    noise: Latents
    generators: list[torch.Generator]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return tuple(self.source.shape[-2:])


def begin_edit(models: Models, tasks: Sequence[Task]) -> Start:
    """Encode the images of one size and draw each task's own noise."""
    source = encode([task.image for task in tasks], models)
    noise, generators = initial_noise(tasks, source)
    return Start(source, models.editor.clean(source), noise, generators)


class EditorRun:
    """One run of an instruction editor that can be stopped after a step, looked at, and go on.

    The run starts from pure noise, or from the source noised to `strength` of the schedule. Without
    `concatenate` the UNet is shown zeros in place of the source, its own "no image". `guide` makes
    one prediction of those of the branches, in place of the two scales. `image_until` is the share
    of the steps that have image guidance; after it the UNet is given two rows in place of three,
    and image guidance is 1. With `contrast` the branch without the text is run also where guidance
    does not need it.
    """

    def __init__(
        self,
        models: Models,
        tasks: Sequence[Task],
        start: Start,
        *,
        steps: int,
        text_scale: float = 7.5,
        image_scale: float = 1.5,
        prompt: str = "instruction",
        image_until: float = 1.0,
        guide: Callable[[dict[int, Latents]], Latents] | None = None,
        strength: float | None = None,
        concatenate: bool = True,
        scheduler: object | None = None,
        contrast: bool = False,
    ) -> None:
        self.models, self.editor, self.guide = models, models.editor, guide
        self.scales = dict(text_scale=text_scale, image_scale=image_scale)
        self.scheduler = scheduler or self.editor.schedule(steps, start.grid)
        if strength is None:
            self.latents = start.noise * getattr(self.scheduler, "init_noise_sigma", 1.0)
            self.timesteps = self.scheduler.timesteps
        else:
            self.latents, self.timesteps = noised(
                self.scheduler, start.clean, start.noise, strength
            )
        self.generators = [copy_of(g) for g in start.generators]  # a second run draws the same
        shown = start.source if concatenate else torch.zeros_like(start.source)
        self.read = self.editor.read(
            [getattr(task, prompt) for task in tasks], [task.image for task in tasks], shown,
            text_scale,
        )  # fmt: skip
        self.last = max(1, round(image_until * len(self.timesteps)))  # step with image guidance
        self.branches, self.contrast = self.editor.branches, contrast
        self.done = self.rows = 0

    def guided(self, predictions: dict[int, Latents]) -> Latents:
        """Return one prediction of those of the branches, as the editor or `guide` says."""
        if self.guide is None:
            return self.editor.guided(predictions, **self.scales)
        return self.guide({NEITHER: predictions.get(IMAGE), **predictions})

    def _asked(self, image_guidance: bool) -> tuple[int, ...]:
        """Return the branches of a step."""
        every = self.editor.branches
        asked = every if image_guidance else tuple(b for b in every if b != NEITHER)
        return asked if IMAGE in asked or not self.contrast else (*asked, IMAGE)

    def controlled(self, *controls: Control) -> AbstractContextManager:
        """Pass attention through these controls for as long as the block lasts."""
        if not controls:
            return nullcontext()
        return controlled(self.editor.network, *controls, branches=lambda: self.branches)

    def until(self, step: int | None = None, react: After | None = None) -> None:
        """Run the steps up to number `step`, by default all that are left."""
        step = len(self.timesteps) if step is None else min(step, len(self.timesteps))
        skipped = len(self.scheduler.timesteps) - len(self.timesteps)
        for image_guidance, last in ((True, min(step, self.last)), (False, step)):
            times = self.timesteps[self.done : last]
            if not len(times):
                continue
            self.branches = self._asked(image_guidance)
            loop = guided_steps(
                self.models, self.scheduler, times, self.latents, self.generators,
                branches=self.branches, guide=self.guided,
                rows=lambda x, t: self.editor.rows(x, t, self.read, self.branches),
            )  # fmt: skip
            self.latents, rows = drive(loop, self.latents, react, skipped + self.done)
            self.done, self.rows = last, self.rows + rows


def run_editor(
    models: Models,
    tasks: Sequence[Task],
    start: Start,
    *,
    controls: Sequence[Control] = (),
    after: Callable[[object], After] | None = None,
    first: int | None = None,
    **how,
) -> tuple[Latents, int]:
    """Run the editor; return the last latents, and the UNet rows an image took.

    `after(scheduler)` gives a function that is called with each step's state and may answer with
    other latents to go on with; steps are numbered in the whole schedule, whose first ones a
    `strength` leaves out. `first` stops after so many steps. `how` is for `EditorRun`.
    """
    run = EditorRun(models, tasks, start, **how)
    with run.controlled(*controls):
        run.until(first, after(run.scheduler) if after else None)
    return run.latents, run.rows


def copy_of(one: torch.Generator) -> torch.Generator:
    """Return a generator in the same state."""
    return one.clone_state()


def drive(loop, latents: Latents, react: After | None, skipped: int = 0) -> tuple[Latents, int]:
    """Run a loop to its end, letting `react` replace the latents after each step.

    To `react` the loop's first step is number `skipped`.
    """
    rows, changed = 0, None
    while True:
        try:
            state = loop.send(changed)
        except StopIteration:
            return latents, rows
        rows += len(state.predictions)
        changed = react(replace(state, step=state.step + skipped)) if react else None
        latents = state.next if changed is None else changed


def noised_source(scheduler, clean: Latents, noise: Latents, step: int) -> Latents:
    """Return the source as it is after `step`: noised to the next timestep, or clean at the end.

    Reference code of masked editing often noises to the level just left, one step too much.
    """
    if step + 1 >= len(scheduler.timesteps):
        return clean
    return with_noise(
        scheduler, clean, noise, scheduler.timesteps[step + 1 : step + 2].repeat(len(clean))
    )
