"""InstructPix2Pix (Brooks et al. 2023): the baseline.

Source image concatenated as extra input, pure noise to start with, two guidance scales. Equal to
diffusers' StableDiffusionInstructPix2PixPipeline, except that any image scale is taken at its word.
"""

from collections.abc import Sequence
from contextlib import nullcontext

from cirp.attention.control import Control, controlled
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Edit,
    Made,
    Task,
    check_prompts,
    check_settings,
    decode,
    encode,
    finish,
    in_batches,
    initial_noise,
    instruct_steps,
    scheduler,
)


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 150,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",  # one of PROMPTS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; images come back in the order of the tasks, at their working size.

    `prompt` is what the text branch is given: the instruction (what the model was trained on) or
    the target caption. `controls` read or change attention while it works.

    Raises `ValueError`, before anything runs, for settings out of range or a prompt over the limit.
    """
    check_settings(steps=steps, text_scale=text_scale, image_scale=image_scale)
    check_prompts(models.instruct.tokenizer, tasks, prompt)
    settings = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)

    def one(some: list[Task]):
        source = encode([task.image for task in some], models)
        noise, generators = initial_noise(some, source)
        mine = scheduler(models.instruct, steps)
        latents = noise * mine.init_noise_sigma
        loop = instruct_steps(
            models, mine, mine.timesteps, latents, source, [getattr(t, prompt) for t in some],
            generators, text_scale=text_scale, image_scale=image_scale,
        )  # fmt: skip
        with controlled(models.instruct.unet, *controls) if controls else nullcontext():
            latents, rows = finish(loop, latents)
        return Made(decode(latents, models), rows)

    return in_batches(
        tasks,
        models,
        one,
        method="ip2p",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
