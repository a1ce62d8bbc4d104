"""What the methods that edit with InstructPix2Pix share: one run of it, and keeping the source.

A method says what is its own: controls of attention, a rule of guidance, what becomes of the
latents after each step.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from cirp.attention.control import Control, controlled
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Latents,
    State,
    encode,
    instruct_steps,
    noised,
    scheduler_of,
)
from cirp.diffusion.tasks import (
    Task,
    initial_noise,
)

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


def run_editor(
    models: Models,
    tasks: Sequence[Task],
    start: Start,
    *,
    steps: int,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    controls: Sequence[Control] = (),
    guide: Callable | None = None,
    after: Callable[[object], After] | None = None,
    first: int | None = None,
    strength: float | None = None,
    concatenate: bool = True,
) -> tuple[Latents, int]:
    """A run of InstructPix2Pix: the last latents, and the UNet rows an image took.

    From pure noise, or from the source noised to `strength` of the schedule. Without `concatenate`
    the UNet is shown zeros in place of the source, its own "no image".

    `after(scheduler)` gives a function that is called with each step's state and may answer with
    other latents to go on with; steps are numbered in the whole schedule, whose first ones a
    `strength` leaves out. `first` stops after so many steps.
    """
    scheduler = scheduler_of(models.instruct, steps)
    if strength is None:
        latents, timesteps = start.noise * scheduler.init_noise_sigma, scheduler.timesteps
    else:
        latents, timesteps = noised(scheduler, start.clean, start.noise, strength)
    again = [copy_of(g) for g in start.generators]  # a second run draws the same
    loop = instruct_steps(
        models, scheduler, timesteps[:first], latents, start.source if concatenate else None,
        [getattr(task, prompt) for task in tasks], again,
        text_scale=text_scale, image_scale=image_scale, guide=guide,
    )  # fmt: skip
    react = after(scheduler) if after else None
    skipped = len(scheduler.timesteps) - len(timesteps)
    with controlled(models.instruct.unet, *controls) if controls else nullcontext():
        return drive(loop, latents, react, skipped)


def copy_of(one: torch.Generator) -> torch.Generator:
    """A generator in the same state."""
    again = torch.Generator(one.device)
    again.set_state(one.get_state())
    return again


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
    """The source as it is after `step`: noised to the next timestep, or clean after the last.

    Reference code of masked editing often noises to the level just left, one step too much.
    """
    if step + 1 >= len(scheduler.timesteps):
        return clean
    return scheduler.add_noise(
        clean, noise, scheduler.timesteps[step + 1 : step + 2].repeat(len(clean))
    )
