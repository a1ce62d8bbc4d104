"""Noisy input: start from the noised input image, never concatenate it.

The report gives "image 0.4-0.55, text guidance 12-15" and refined target captions. Two readings:

- `variant="text-to-image"`: the text-to-image UNet on the target caption, SDEdit (Meng et al. 2022)
  as in diffusers' img2img. 0.4-0.55 is the *strength*, the share of the noise schedule that the
  input is noised to; 12-15 is the guidance scale. This is what captions as prompts amount to.
- `variant="instruct-pix2pix"`: the InstructPix2Pix UNet, started from the noised input, with zeros
  for image latents, its own "no image" condition. Without an image the image scale multiplies
  nothing; `concatenate=True` shows the image as well, and then `image_scale` counts.

Reading 0.4-0.55 as an image guidance scale of the baseline is `ip2p.edit(image_scale=0.5)`.
"""

from collections.abc import Sequence
from contextlib import nullcontext

from cirp.attention.control import Control, controlled
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Edit,
    Made,
    Task,
    caption_steps,
    check_prompts,
    check_settings,
    decode,
    encode,
    finish,
    in_batches,
    initial_noise,
    instruct_steps,
    noised,
    scheduler,
)

VARIANTS = ("text-to-image", "instruct-pix2pix")


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    variant: str = "text-to-image",  # one of VARIANTS
    steps: int = 150,
    strength: float = 0.5,
    text_scale: float = 12.0,
    image_scale: float | None = None,
    concatenate: bool = False,
    prompt: str = "caption",  # one of PROMPTS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; of `steps` steps int(steps * strength) are run, as in img2img.

    Raises `ValueError`, before anything runs, for settings out of range, an unknown variant, a
    missing caption, or a prompt over the limit.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; give one of {', '.join(VARIANTS)}")
    if concatenate and variant == "text-to-image":
        raise ValueError("concatenate=True needs variant='instruct-pix2pix': eight input channels")
    if image_scale is not None and not concatenate:
        raise ValueError(
            f"image_scale={image_scale} multiplies nothing unless concatenate=True; drop it"
        )
    image_scale = 1.0 if image_scale is None else image_scale
    check_settings(steps=steps, strength=strength, text_scale=text_scale, image_scale=image_scale)
    check_prompts(models.instruct.tokenizer, tasks, prompt)
    settings = dict(
        variant=variant, steps=steps, strength=strength, text_scale=text_scale, prompt=prompt
    )
    if concatenate:
        settings |= dict(concatenate=True, image_scale=image_scale)
    pipe = models.text if variant == "text-to-image" else models.instruct

    def one(some: list[Task]):
        source = encode([task.image for task in some], models)
        noise, generators = initial_noise(some, source)
        mine = scheduler(pipe, steps)
        start, timesteps = noised(mine, source * models.vae.config.scaling_factor, noise, strength)
        said = [getattr(task, prompt) for task in some]
        if variant == "text-to-image":
            loop = caption_steps(
                models, mine, timesteps, start, said, generators, text_scale=text_scale
            )
        else:
            loop = instruct_steps(
                models, mine, timesteps, start, source if concatenate else None, said, generators,
                text_scale=text_scale, image_scale=image_scale,
            )  # fmt: skip
        with controlled(pipe.unet, *controls) if controls else nullcontext():
            latents, rows = finish(loop, start)
        return Made(decode(latents, models), rows)

    return in_batches(
        tasks,
        models,
        one,
        method="noisy",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
