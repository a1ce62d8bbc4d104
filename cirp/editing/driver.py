"""What the methods that edit with InstructPix2Pix share: one run of it, and keeping the source.

A method says what is its own: controls of attention, a rule of guidance, what becomes of the
latents after each step.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, interpolate

from cirp.attention.control import Control, controlled
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Edit,
    Latents,
    Made,
    State,
    Task,
    check_prompts,
    check_settings,
    encode,
    in_batches,
    initial_noise,
    instruct_steps,
    mask_picture,
    scheduler,
)

REGIONS = ("found", "given")  # where a method's region comes from
Masks = Float[Tensor, "image row column"]  # 1 where the image may change, by latent cell
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


def begin(models: Models, tasks: Sequence[Task]) -> Start:
    """Encode the images of one size and draw each task's own noise."""
    source = encode([task.image for task in tasks], models)
    noise, generators = initial_noise(tasks, source)
    return Start(source, noise, generators, models.vae.config.scaling_factor)


def check_region(tasks: Sequence[Task], region: str) -> None:
    """Refuse an unknown source of regions, and tasks without the mask that is asked for."""
    if region not in REGIONS:
        raise ValueError(f"unknown region {region!r}; give one of {', '.join(REGIONS)}")
    for task in tasks:
        if region == "given" and task.mask is None:
            raise ValueError(
                f"region='given', but the edit {task.key or task.instruction!r} has no mask; give "
                "it one, or region='found'"
            )


def carry_out(
    models: Models,
    tasks: Sequence[Task],
    one: Callable[[list[Task]], Made],
    *,
    method: str,
    settings: dict,
    batch_size: int,
    progress: bool,
) -> list[Edit]:
    """Check the settings every method of instructions has, then run `one` on each batch.

    Raises `ValueError`, before anything runs, for settings out of range, a prompt that is missing
    or too long, or a region that was not given.
    """
    scales = {name: settings[name] for name in ("text_scale", "image_scale") if name in settings}
    steps, share = settings["steps"], settings.get("share", 1.0)
    check_settings(steps=steps, **scales)
    if not (0 < share <= 1 and round(steps * share) >= 1):
        raise ValueError(f"share={share} of {steps} steps; give a share up to 1 of at least one")
    check_region(tasks, settings.get("region", "found"))
    check_prompts(models.instruct.tokenizer, tasks, settings["prompt"])
    return in_batches(
        tasks,
        models,
        one,
        method=method,
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )


def given(tasks: Sequence[Task], grid: tuple[int, int]) -> Masks:
    """The tasks' masks by latent cell: a cell may change if any of its pixels may."""
    masks = torch.stack([torch.from_numpy(task.mask).float() for task in tasks])
    return adaptive_max_pool2d(masks[:, None], grid)[:, 0]


def at(masks: Masks, grid: tuple[int, int]) -> Float[Tensor, "image new_row new_column"]:
    """Masks or maps on another grid; cells are areas."""
    if tuple(masks.shape[-2:]) == tuple(grid):
        return masks
    return interpolate(
        masks[:, None].float(), size=grid, mode="bilinear", align_corners=False, antialias=True
    )[:, 0]


def normalised(maps: Masks) -> Masks:
    """Each map stretched to 0..1; an even map becomes 0 everywhere, it points nowhere."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def peak(maps: Masks) -> Float[Tensor, " image"]:
    """Maximum over mean, at least 1; a diffuse map is close to 1."""
    return maps.amax((-2, -1)) / maps.mean((-2, -1)).clamp_min(torch.finfo(maps.dtype).tiny)


def run(
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
) -> tuple[Latents, int]:
    """InstructPix2Pix from pure noise: the last latents, and the UNet rows an image took.

    `after(scheduler)` gives a function that is called with each step's state and may answer with
    other latents to go on with. `first` stops after so many steps.
    """
    mine = scheduler(models.instruct, steps)
    latents = start.noise * mine.init_noise_sigma
    again = [copy_of(g) for g in start.generators]  # a second run draws the same
    loop = instruct_steps(
        models, mine, mine.timesteps[:first], latents, start.source,
        [getattr(task, prompt) for task in tasks], again,
        text_scale=text_scale, image_scale=image_scale, guide=guide,
    )  # fmt: skip
    react = after(mine) if after else None
    with controlled(models.instruct.unet, *controls) if controls else nullcontext():
        return drive(loop, latents, react)


def copy_of(one: torch.Generator) -> torch.Generator:
    """A generator in the same state."""
    again = torch.Generator(one.device)
    again.set_state(one.get_state())
    return again


def drive(loop, latents: Latents, react: After | None) -> tuple[Latents, int]:
    """Run a loop to its end, letting `react` replace the latents after each step."""
    rows, changed = 0, None
    while True:
        try:
            state = loop.send(changed)
        except StopIteration:
            return latents, rows
        rows += len(state.predictions)
        changed = react(state) if react else None
        latents = state.next if changed is None else changed


def level(mine, clean: Latents, noise: Latents, step: int) -> Latents:
    """The source as it is after `step`: noised to the next timestep, or clean after the last.

    Reference code of masked editing often noises to the level just left, one step too much.
    """
    if step + 1 >= len(mine.timesteps):
        return clean
    return mine.add_noise(clean, noise, mine.timesteps[step + 1 : step + 2].repeat(len(clean)))


def blurred(maps: Masks, sigma: float) -> Masks:
    """Gaussian blur of each map; `sigma` in cells, 0 leaves them alone."""
    if not sigma:
        return maps
    return torch.stack(
        [
            torch.from_numpy(ndimage.gaussian_filter(one, sigma, mode="nearest"))
            for one in maps.double().cpu().numpy()
        ]
    ).to(maps)


def composite(
    edited: Sequence[Image.Image], sources: Sequence[Image.Image], masks: Masks
) -> list[Image.Image]:
    """Outside the masks the sources' own pixels: the only exact preservation there is."""
    return [
        Image.composite(image, source, mask_picture(mask, image.size))
        for image, source, mask in zip(edited, sources, masks, strict=True)
    ]


def keep_outside(masks: Masks, start: Start, *, share: float = 1.0) -> Callable[[object], After]:
    """Latent blending: outside the masks, the noised source (Blended Latent Diffusion, eq. 2).

    Only in the last `share` of the steps.
    """
    inside = masks[:, None].to(start.source)

    def begin_with(mine) -> After:
        count = len(mine.timesteps)

        def react(state: State) -> Latents | None:
            if state.step < round(count * (1 - share)):
                return None
            kept = level(mine, start.clean, start.noise, state.step)
            return inside * state.next + (1 - inside) * kept

        return react

    return begin_with


__all__ = [
    "REGIONS",
    "After",
    "Masks",
    "Start",
    "at",
    "begin",
    "blurred",
    "carry_out",
    "check_region",
    "composite",
    "copy_of",
    "drive",
    "given",
    "keep_outside",
    "level",
    "normalised",
    "peak",
    "run",
]
