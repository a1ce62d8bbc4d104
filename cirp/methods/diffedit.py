"""DiffEdit: where two captions make the model predict different noise, the image may change.

Couairon et al. 2023 (arXiv 2210.11427), section 3: (1) the image is noised half way several times;
the mask is where the predictions for the target caption and for the reference text differ; (2) the
image is inverted by DDIM; (3) it is denoised on the target caption, and outside the mask the
inversion's latents are put back after every step. Normalised as in diffusers' pipeline, where a
cell is in the mask if it differs by over `threshold` times `clamp` times the image's mean.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from torch import Tensor

from cirp.attention.control import Control, controlled
from cirp.diffusion.ddim_inversion import (
    check_iterations,
    check_sources,
    ddim,
    invert,
    level,
    predictor,
    remaining,
    split,
)
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import (
    Edit,
    Latents,
    Made,
    State,
    Task,
    caption_steps,
    check_prompts,
    check_settings,
    decode,
    in_batches,
)
from cirp.editing.driver import Masks, Start, begin, check_region, copy_of, drive
from cirp.editing.first_pass import Found, regions

REFERENCES = ("source", "empty")  # the source caption, or the empty one, in the mask and inversion


def mask(
    difference: Float[Tensor, "image row column"], *, clamp: float = 3.0, threshold: float = 0.5
) -> Masks:
    """1 where the difference, cut off at `clamp` times its mean, is over `threshold` of that."""
    highest = clamp * difference.mean((-2, -1), keepdim=True)
    return (difference.minimum(highest) > threshold * highest).float()


@torch.no_grad()
def differences(
    models: Models,
    start: Start,
    references: Sequence[str],
    captions: Sequence[str],
    *,
    steps: int,
    strength: float = 0.5,
    repeats: int = 10,
) -> Float[Tensor, "image row column"]:
    """|noise said for the caption - for the reference|, the mean over channels and `repeats`."""
    mine = ddim(models.text, steps)
    t = remaining(mine, strength)[0]
    predict = predictor(models, [*references, *captions])
    generators = [copy_of(one) for one in start.generators]  # the batch's own are left as they are
    total: Tensor | float = 0.0
    for _ in range(repeats):
        noise = randn_tensor(
            tuple(start.clean.shape), generator=generators,
            device=start.clean.device, dtype=start.clean.dtype,
        )  # fmt: skip
        noisy = mine.add_noise(start.clean, noise, t.repeat(len(noise))).repeat(2, 1, 1, 1)
        # of a velocity only the part that speaks of noise counts
        _, said = split(mine, predict(noisy, t), noisy, mine.alphas_cumprod[int(t)])
        reference, target = said.chunk(2)
        total = total + (target - reference).abs().mean(dim=1)
    return total / repeats


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    strength: float = 0.8,
    text_scale: float = 7.5,
    reference: str = "source",  # one of REFERENCES
    mask_strength: float = 0.5,
    repeats: int = 10,
    clamp: float = 3.0,
    threshold: float = 0.5,
    inversion_iterations: int = 3,  # the paper's is 1
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task towards its caption; each edit comes with the mask it used.

    Raises `ValueError`, before anything runs, for settings out of range, a missing caption, source
    caption (unless `reference="empty"`) or mask, or a caption over the limit.
    """
    if reference not in REFERENCES:
        raise ValueError(f"unknown reference {reference!r}; give one of {', '.join(REFERENCES)}")
    if not isinstance(repeats, int) or repeats < 1:
        raise ValueError(f"repeats={repeats!r}; give a whole number of at least 1")
    check_settings(
        steps=steps, strength=strength, text_scale=text_scale, clamp=clamp, threshold=threshold
    )
    check_settings(steps=steps, strength=mask_strength)
    check_iterations(inversion_iterations)
    check_region(tasks, region)
    tokenizer = models.text.tokenizer
    check_prompts(tokenizer, tasks, "caption")
    if reference == "source":
        check_sources(tokenizer, tasks)
    own = dict(mask_strength=mask_strength, repeats=repeats, clamp=clamp, threshold=threshold)
    settings = dict(steps=steps, strength=strength, text_scale=text_scale, reference=reference)
    settings |= own | dict(inversion_iterations=inversion_iterations, region=region)

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        captions = [task.caption for task in some]
        references = [task.source_caption if reference == "source" else "" for task in some]

        def find() -> Found:
            apart = differences(
                models, start, references, captions,
                steps=steps, strength=mask_strength, repeats=repeats,
            )  # fmt: skip
            found = mask(apart, clamp=clamp, threshold=threshold)
            return Found(found, [False] * len(some), 2 * repeats)

        found = regions(some, start, region, find)
        mine = ddim(models.text, steps)
        timesteps = remaining(mine, strength)
        path = invert(
            models, mine, timesteps, start.clean, references, iterations=inversion_iterations
        )
        inside = found.masks[:, None].to(path)

        def react(state: State) -> Latents:
            return inside * state.next + (1 - inside) * level(path, state.step)

        loop = caption_steps(
            models, mine, timesteps, path[-1], captions, start.generators, text_scale=text_scale
        )
        with controlled(models.text.unet, *controls) if controls else nullcontext():
            latents, rows = drive(loop, path[-1], react)
        rows += found.rows + inversion_iterations * len(timesteps)
        return Made(decode(latents, models), rows, found.masks)

    return in_batches(
        tasks,
        models,
        one,
        method="diffedit",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
