"""What the methods that edit with InstructPix2Pix share: one run of it, and keeping the source.

A method says what is its own: controls of attention, a rule of guidance, what becomes of the
latents after each step.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from cirp.attention.control import Control, controlled
from cirp.attention.site import IMAGE, NEITHER, TEXT
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Latents,
    State,
    combine,
    denoise,
    encode,
    instruct_inputs,
    noised,
    scheduler_of,
)
from cirp.diffusion.tasks import Task, initial_noise

EVERY, SHOWN = (TEXT, IMAGE, NEITHER), (TEXT, IMAGE)
After = Callable[[State], Latents | None]


@dataclass(frozen=True)
class Start:
    """What every method begins a batch with: the same noise for the same task, always."""

    source: Latents  # unscaled, as InstructPix2Pix is shown them
    noise: Latents
    generators: list[torch.Generator]
    scaling: float

    @property
    def clean(self) -> Latents:
        """The source as the end of a run: scaled."""
        return self.source * self.scaling

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return tuple(self.source.shape[-2:])


def begin_edit(models: Models, tasks: Sequence[Task]) -> Start:
    """Encode the images of one size and draw each task's own noise."""
    source = encode([task.image for task in tasks], models)
    noise, generators = initial_noise(tasks, source)
    return Start(source, noise, generators, models.vae.config.scaling_factor)


class EditorRun:
    """One run of InstructPix2Pix that can be stopped after a step, looked at, and go on.

    The run starts from pure noise, or from the source noised to `strength` of the schedule. Without
    `concatenate` the UNet is shown zeros in place of the source, its own "no image". `guide` makes
    one prediction of those of the branches, in place of the two scales. `image_until` is the share
    of the steps that have image guidance; after it the UNet is given two rows in place of three,
    and image guidance is 1.
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
    ) -> None:
        pipe = models.instruct
        self.models, self.unet, self.guide = models, pipe.unet, guide
        self.scales = dict(text_scale=text_scale, image_scale=image_scale)
        self.scheduler = scheduler_of(pipe, steps)
        if strength is None:
            self.latents = start.noise * self.scheduler.init_noise_sigma
            self.timesteps = self.scheduler.timesteps
        else:
            self.latents, self.timesteps = noised(
                self.scheduler, start.clean, start.noise, strength
            )
        self.generators = [copy_of(g) for g in start.generators]  # a second run draws the same
        self.text, self.image = instruct_inputs(
            pipe, [getattr(task, prompt) for task in tasks],
            start.source if concatenate else torch.zeros_like(start.source),
        )  # fmt: skip
        self.last = max(1, round(image_until * len(self.timesteps)))  # step with image guidance
        self.branches, self.done, self.rows = EVERY, 0, 0

    def _guided(self, predictions: dict[int, Latents]) -> Latents:
        known = predictions
        if NEITHER not in known:  # image guidance of 1
            known = {**known, NEITHER: known[IMAGE]}
        if self.guide is not None:
            return self.guide(known)
        return combine(known[TEXT], known[IMAGE], known[NEITHER], **self.scales)

    def controlled(self, *controls: Control) -> AbstractContextManager:
        """Pass attention through these controls for as long as the block lasts."""
        if not controls:
            return nullcontext()
        return controlled(self.unet, *controls, branches=lambda: self.branches)

    def until(self, step: int | None = None, react: After | None = None) -> None:
        """Run the steps up to number `step`, by default all that are left."""
        step = len(self.timesteps) if step is None else min(step, len(self.timesteps))
        skipped = len(self.scheduler.timesteps) - len(self.timesteps)
        for branches, last in ((EVERY, min(step, self.last)), (SHOWN, step)):
            times = self.timesteps[self.done : last]
            if not len(times):
                continue
            loop = denoise(
                self.models, self.unet, self.scheduler, times, self.latents, self.generators,
                branches=branches, text=self.text, image=self.image, guide=self._guided,
            )  # fmt: skip
            self.branches = branches
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
    """Run InstructPix2Pix; return the last latents, and the UNet rows an image took.

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
    return scheduler.add_noise(
        clean, noise, scheduler.timesteps[step + 1 : step + 2].repeat(len(clean))
    )
