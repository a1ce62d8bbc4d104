"""Real images on the text-to-image model: the latents a picture would have come from.

DDIM's sampler (Song et al. 2021, equation 12) is deterministic, so it can be run backwards, from
the clean image to noise (Dhariwal & Nichol 2021, appendix F). A step backwards needs the UNet's
output at the latents that it is to find. Plain DDIM inversion takes the output at those it has;
repeating the step with what it found closes the gap: a fixed point, where the step forwards leads
back exactly (AIDI, Pan et al. 2023; ReNoise, Garibi et al. 2024).

    scheduler = ddim(models.text, steps=50)
    timesteps = remaining(scheduler, strength=0.8)
    path = invert(models, scheduler, timesteps, clean, captions, iterations=5)
    again = reconstruct(models, scheduler, timesteps, path[-1], captions)

Plain inversion of a velocity model may also end in latents that are too even to be noise, which
blurs what is made of them; two more iterations mend most of it. All is at guidance 1: the guided
step is far less of a contraction.
"""

from collections.abc import Callable, Sequence

import torch
from diffusers import DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from cirp.attention.site import TEXT
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, denoise, finish
from cirp.diffusion.text import encode_prompts, predict

Path = Float[Tensor, "step image channel row column"]  # from clean to noisy
PREDICTIONS = ("epsilon", "v_prediction")


def ddim(pipe, steps: int) -> DDIMScheduler:
    """The pipeline's noise schedule under DDIM, set to `steps`; what it clips would not invert.

    Raises `ValueError` if the UNet predicts neither noise nor velocity.
    """
    kind = pipe.scheduler.config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise ValueError(f"a UNet that predicts {kind!r} cannot be inverted, only {PREDICTIONS}")
    scheduler = DDIMScheduler.from_config(
        pipe.scheduler.config, clip_sample=False, thresholding=False
    )
    scheduler.set_timesteps(steps, device=pipe.unet.device)
    return scheduler


def remaining(scheduler: DDIMScheduler, strength: float) -> Tensor:
    """Return the last int(steps * strength) timesteps, as in diffusers' img2img.

    At strength 1 the first of a schedule with zero terminal SNR has alpha 0: its latents have no
    part of the image itself, only what the UNet makes of it.
    """
    return scheduler.timesteps[
        len(scheduler.timesteps) - int(len(scheduler.timesteps) * strength) :
    ]


def alphas(scheduler: DDIMScheduler, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """The cumulated alphas at a timestep and at that which `scheduler.step` leads to from there."""
    after = int(timestep) - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    return (
        scheduler.alphas_cumprod[int(timestep)],
        scheduler.alphas_cumprod[after] if after >= 0 else scheduler.final_alpha_cumprod,
    )


def clean_and_noise(
    scheduler: DDIMScheduler, output: Latents, latents: Latents, alpha: Tensor
) -> tuple[Latents, Latents]:
    """The clean latents and the noise that the UNet's output means, of latents at this alpha."""
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    if scheduler.config.prediction_type == "epsilon":
        return (latents - sigma * output) / signal, output
    return signal * latents - sigma * output, signal * output + sigma * latents


def up(scheduler: DDIMScheduler, output: Latents, latents: Latents, timestep: Tensor) -> Latents:
    """Plain DDIM inversion: on to `timestep`, as if the noise were what it is said to be here."""
    at, before = alphas(scheduler, timestep)
    clean, noise = clean_and_noise(scheduler, output, latents, before)
    return at.sqrt() * clean + (1 - at).sqrt() * noise


def back(scheduler: DDIMScheduler, output: Latents, after: Latents, timestep: Tensor) -> Latents:
    """The latents that `scheduler.step` takes to `after`, if the UNet's output on them is `output`.

    The step is A x + B output, with A = cos d and B = -sin d for velocities (d the angle between
    the two levels of noise); so x = (after - B output) / A. Alpha 0 divides by nothing.
    """
    at, before = alphas(scheduler, timestep)
    if scheduler.config.prediction_type == "epsilon":
        return up(scheduler, output, after, timestep)
    cosine = (at * before).sqrt() + ((1 - at) * (1 - before)).sqrt()
    sine = ((1 - at) * before).sqrt() - (at * (1 - before)).sqrt()
    return (after + sine * output) / cosine


def predictor(models: Models, prompts: Sequence[str]) -> Callable[[Latents, Tensor], Latents]:
    """Return the text-to-image UNet on these prompts, one for each image, without guidance."""
    text = encode_prompts(prompts, models.text)

    def without_guidance(latents: Latents, timestep: Tensor) -> Latents:
        with models.arithmetic():
            return predict(models.text.unet, latents, timestep, text).to(latents)

    return without_guidance


@torch.no_grad()
def invert(
    models: Models,
    scheduler: DDIMScheduler,
    timesteps: Tensor,
    clean: Latents,
    prompts: Sequence[str],
    *,
    iterations: int = 1,
) -> Path:
    """Return the way back of `timesteps`, of `remaining`: scaled latents, clean first, noisy last.

    After `scheduler.step` at timesteps[i] the latents are `latents_after(path, i)`. `iterations=1`
    is plain DDIM inversion; more come closer to the path that the scheduler goes, and cost a call
    of the UNet at each step.
    """
    check_iterations(iterations)
    output = predictor(models, prompts)
    path = [clean]
    for t in timesteps.flip(0):
        found = up(scheduler, output(path[-1], t), path[-1], t)
        for _ in range(iterations - 1):
            found = back(scheduler, output(found, t), path[-1], t)
        path.append(found)
    return torch.stack(path)


def latents_after(path: Path, step: int) -> Latents:
    """Return the latents of the path where a run down it is after `step`, which counts from 0."""
    return path[len(path) - 2 - step]


def reconstruct(
    models: Models,
    scheduler: DDIMScheduler,
    timesteps: Tensor,
    latents: Latents,
    prompts: Sequence[str],
) -> Latents:
    """Down again at guidance 1, from the last latents of a path: what the inversion is worth."""
    text = {TEXT: encode_prompts(prompts, models.text)}
    loop = denoise(
        models, models.text.unet, scheduler, timesteps, latents, [],
        branches=(TEXT,), text=text, image=None, guide=lambda e: e[TEXT],
    )  # fmt: skip
    return finish(loop, latents)[0]


def error(latents: Latents, clean: Latents) -> Float[Tensor, " image"]:
    """Return the root of the mean squared difference of each image's latents."""
    return (latents - clean).square().mean((1, 2, 3)).sqrt()


def check_iterations(iterations: int) -> None:
    """Refuse what is no number of iterations."""
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"{iterations!r} iterations of the inversion; give a whole number over 0")


__all__ = [
    "PREDICTIONS",
    "Path",
    "alphas",
    "back",
    "check_iterations",
    "clean_and_noise",
    "ddim",
    "error",
    "invert",
    "latents_after",
    "predictor",
    "reconstruct",
    "remaining",
    "up",
]
