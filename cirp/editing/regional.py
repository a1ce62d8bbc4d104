"""What the methods with a region share: find it, constrain the run, decode, paste.

    @regional("blending", Settings, find)
    def constrain(work, masks, settings) -> Constraint:
        return Constraint(after=keep_outside(masks, work.start))

A method says how it finds a region and what it constrains outside of it. The rest is here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from cirp.attention.control import Control
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, decode
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import After, Start, begin_edit, run_editor
from cirp.editing.masks import Found, Masks, composite, own_change, regions
from cirp.editing.method import Guided, Method, Pasting, method


@dataclass(frozen=True)
class Work:
    """One batch of edits: the models, the tasks of one image size, and how all of them begin."""

    models: Models
    tasks: Sequence[Task]
    start: Start

    @property
    def sources(self) -> list[Image.Image]:
        """The pictures before the edit."""
        return [task.image for task in self.tasks]


@dataclass(frozen=True)
class Constraint:
    """What a method does to the run of the editor.

    `controls` change attention, `guide` makes one prediction of those of the branches, and
    `after(scheduler)` gives a function that may replace the latents after each step. Outside of
    `paste` the pixels are the source's; these masks are then what the edit shows as its region.
    """

    controls: Sequence[Control] = ()
    guide: Callable[[dict[int, Latents]], Latents] | None = None
    after: Callable[[object], After] | None = None
    paste: Masks | None = None


Find = Callable[[Work, Any], Found]
Constrain = Callable[[Work, Masks, Any], Constraint]


def run_constrained(
    work: Work, settings: Guided, constraint: Constraint, controls: Sequence[Control]
) -> tuple[Latents, int]:
    """Run the editor under a constraint: the last latents, and the UNet rows an image took."""
    return run_editor(
        work.models, work.tasks, work.start, **settings.guidance,
        controls=[*constraint.controls, *controls], guide=constraint.guide, after=constraint.after,
    )  # fmt: skip


def finished(
    work: Work,
    latents: Latents,
    rows: int,
    settings: Pasting,
    found: Found | None = None,
    paste: Masks | None = None,
) -> Made:
    """Decode the latents, and paste the source where that is asked for.

    With `paste_own`, the source is pasted where the edit, within its region, changes nothing.
    """
    images = decode(latents, work.models)
    masks = None if found is None else found.masks
    if settings.paste_own:
        allowed = torch.ones_like(work.start.source[:, 0]) if masks is None else masks
        paste = own_change(work.models, work.start, images, work.sources, allowed)
    if paste is not None:
        masks, images = paste, composite(images, work.sources, paste)
    abstained = None if found is None else found.abstained
    return Made(images, rows + (found.rows if found else 0), masks, abstained)


def regional(
    name: str, settings: type[Guided], find: Find | None = None, *, version: int = 1
) -> Callable[[Constrain], Method]:
    """Make a method of how it finds a region and, decorated, of what it constrains outside.

    Without `find` the region is always the edit's own mask.
    """

    def register(constrain: Constrain) -> Method:
        def edit(
            models: Models, tasks: list[Task], settings: Guided, controls: Sequence[Control]
        ) -> Made:
            work = Work(models, tasks, begin_edit(models, tasks))
            region = settings.region if find else "given"
            found = regions(tasks, work.start, region, lambda: find(work, settings))
            constraint = constrain(work, found.masks, settings)
            latents, rows = run_constrained(work, settings, constraint, controls)
            return finished(work, latents, rows, settings, found, constraint.paste)

        edit.__module__ = constrain.__module__  # where the method's summary is looked for
        return method(name, settings, version=version)(edit)

    return register
