"""DreamBooth (Ruiz et al. 2023): a UNet learns a new subject from a few pictures of it.

    tuned = tune(models, pictures, identifier="zyz", noun="cat", seed=0)
    tuned.text("a zyz cat on the beach")
    save(tuned, folder)

A rare word, the identifier, comes to stand for the subject; a loss on the model's own pictures of
the class keeps what the class word meant (prior preservation, equation 2). Defaults are those of
diffusers' DreamBooth example with prior preservation.

Of the two models either can be tuned. InstructPix2Pix's UNet learns with zeros for image latents,
its own "no image" condition, in which it was trained as well.

Differs from the paper: only the UNet is trained, the text tower stays; the class pictures stay
latents, they are not decoded and encoded again.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from tqdm import trange

from cirp.attention.tokens import check_length
from cirp.data.images import fit
from cirp.diffusion.pipelines import INSTRUCT, TEXT, Models, fingerprint
from cirp.diffusion.sampling import (
    Latents,
    caption_steps,
    encode,
    finish,
    instruct_steps,
    scheduler_of,
)
from cirp.diffusion.tasks import Task, check_settings, initial_noise
from cirp.diffusion.text import is_xl, states

WHICH = (TEXT, INSTRUCT)  # the models that can be tuned


def denoising_loss(
    unet: UNet2DConditionModel,
    schedule: DDPMScheduler,
    clean: Latents,
    noise: Latents,
    timesteps: Int[Tensor, " image"],
    text: Float[Tensor, "image token width"],
) -> Float[Tensor, " image"]:
    """Mean squared error of what the schedule says is predicted: the noise or the velocity.

    A UNet that takes image latents is given zeros. Raises `ValueError` for other predictions.
    """
    kind = schedule.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"the model predicts {kind!r}; only epsilon and v_prediction can be tuned")
    wanted = noise if kind == "epsilon" else schedule.get_velocity(clean, noise, timesteps)
    noised = schedule.add_noise(clean, noise, timesteps)
    if unet.config.in_channels == 2 * clean.shape[1]:
        noised = torch.cat([noised, torch.zeros_like(noised)], dim=1)
    out = unet(noised, timesteps, encoder_hidden_states=text, return_dict=False)[0]
    return (out.float() - wanted).square().mean(dim=(1, 2, 3))


def class_latents(
    models: Models,
    prompt: str,
    count: int,
    *,
    which: str = TEXT,
    seed: int,
    steps: int = 50,
    text_scale: float = 7.5,
    batch_size: int = 8,
) -> Latents:
    """Return what the model itself makes of a class's prompt, `count` times, as scaled latents."""
    pipe = _pipe(models, which)
    side = models.resolution // pipe.vae_scale_factor
    found = []
    for start in range(0, count, batch_size):
        some = range(start, min(start + batch_size, count))
        blank = Image.new("RGB", (8, 8))
        tasks = [Task(blank, prompt, prompt, seed, key=f"{prompt} {i}") for i in some]
        shape = (len(tasks), pipe.unet.config.out_channels, side, side)
        noise, generators = initial_noise(tasks, torch.zeros(shape, device=models.device))
        scheduler = scheduler_of(pipe, steps)
        latents, prompts = noise * scheduler.init_noise_sigma, [prompt] * len(tasks)
        if which == TEXT:
            loop = caption_steps(
                models,
                scheduler,
                scheduler.timesteps,
                latents,
                prompts,
                generators,
                text_scale=text_scale,
            )
        else:
            loop = instruct_steps(
                models, scheduler, scheduler.timesteps, latents, None, prompts, generators,
                text_scale=text_scale, image_scale=1.0,
            )  # fmt: skip
        found.append(finish(loop, latents)[0])
    return torch.cat(found)


def tune(
    models: Models,
    images: Sequence[Image.Image],
    *,
    identifier: str,
    noun: str,
    seed: int,
    which: str = TEXT,  # one of WHICH
    steps: int = 800,
    rate: float = 5e-6,
    batch_size: int = 1,  # of the subject's pictures, and as many of the class's
    prior_weight: float = 1.0,
    class_images: int = 200,
    class_steps: int = 50,
    class_scale: float = 7.5,  # text guidance of the class's pictures
    progress: bool = True,
) -> Models:
    """Models whose text-to-image (or instruction) UNet knows the subject as "a zyz cat".

    The pictures, four to six in the paper, are cropped square at the models' resolution. The models
    given stay as they are; with `prior_weight` 0 no class pictures are made.

    Raises `ValueError`, before anything runs, for settings out of range or a prompt over the limit.
    """
    pipe = _pipe(models, which)
    check_settings(steps=steps, rate=rate, prior_weight=prior_weight)
    check_settings(steps=class_steps, class_scale=class_scale)
    if not images:
        raise ValueError("no pictures of the subject; give four to six")
    if min(batch_size, class_images) < 1:
        raise ValueError(f"batch_size={batch_size}, class_images={class_images}; give at least 1")
    if not identifier.strip() or not noun.strip():
        raise ValueError(f"identifier={identifier!r}, noun={noun!r}; give a word for each")
    prompts = [f"a {identifier} {noun}", f"a {noun}"]
    for prompt in prompts:
        check_length(pipe.tokenizer, prompt)

    square = (models.resolution, models.resolution)
    fitted = [fit(image.convert("RGB"), size=square) for image in images]
    known = [encode(fitted, models) * models.vae.config.scaling_factor]
    if prior_weight:
        made = class_latents(models, prompts[1], class_images, which=which, seed=seed,
                             steps=class_steps, text_scale=class_scale)  # fmt: skip
        known.append(made)
    text = states(prompts, pipe)
    unet = _trained(
        models, pipe, known, text[: len(known)], steps=steps, rate=rate, batch_size=batch_size,
        weights=[1.0, prior_weight][: len(known)], seed=seed, progress=progress,
    )  # fmt: skip
    return with_unet(models, unet, which)


def _trained(
    models: Models,
    pipe,
    known: Sequence[Tensor],
    text: Float[Tensor, "kind token width"],
    *,
    weights: Sequence[float],
    steps: int,
    rate: float,
    batch_size: int,
    seed: int,
    progress: bool,
) -> UNet2DConditionModel:
    """A trained copy of the pipeline's UNet; `known` are latents of the subject, of the class."""
    schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    unet = copy.deepcopy(pipe.unet).float().train().requires_grad_(True)
    optimiser = torch.optim.AdamW(unet.parameters(), lr=rate)
    generator = torch.Generator("cpu").manual_seed(seed)  # the same on every device
    context = text.float().repeat_interleave(batch_size, dim=0)
    with trange(steps, desc="subject", unit="step", disable=not progress) as bar:
        for _ in bar:
            clean = torch.cat(
                [x[torch.randint(len(x), (batch_size,), generator=generator)] for x in known]
            ).float()
            noise = torch.randn(clean.shape, generator=generator).to(clean)
            length = schedule.config.num_train_timesteps
            times = torch.randint(length, (len(clean),), generator=generator).to(clean.device)
            with torch.enable_grad(), models.arithmetic():
                losses = denoising_loss(unet, schedule, clean, noise, times, context)
                parts = [part.mean() for part in losses.split(batch_size)]
                loss = sum(w * part for w, part in zip(weights, parts, strict=True))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            bar.set_postfix(subject=f"{parts[0].item():.4f}", refresh=False)
    return unet.to(pipe.unet.dtype).eval().requires_grad_(False)


def with_unet(models: Models, unet: UNet2DConditionModel, which: str = TEXT) -> Models:
    """Return the same models, but for one UNet; the fingerprint says which weights it has."""
    pipe = _pipe(models, which)
    other = type(pipe)(**(pipe.components | {"unet": unet}), requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    said = f"{models.fingerprint}-{which}-tuned-{fingerprint(unet)}"
    return replace(models, fingerprint=said, **{_field(which): other})


def save(models: Models, folder: Path | str, which: str = TEXT) -> None:
    """Write the UNet as safetensors, with its configuration."""
    _pipe(models, which).unet.save_pretrained(folder, safe_serialization=True)


def load(models: Models, folder: Path | str, which: str = TEXT) -> Models:
    """`models` with the UNet that `save` wrote; safetensors only.

    Raises `ValueError` if the folder has none, or one that does not fit.
    """
    before = _pipe(models, which).unet
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json; give the folder that save() wrote")
    unet = UNet2DConditionModel.from_pretrained(
        folder, use_safetensors=True, torch_dtype=before.dtype
    )
    names = ("in_channels", "out_channels", "cross_attention_dim", "sample_size")
    for name in names:
        found, wanted = unet.config[name], before.config[name]
        if found != wanted:
            raise ValueError(
                f"{folder}: {name} is {found}, not {wanted} as in these models' {which}; it was "
                "tuned from others"
            )
    return with_unet(models, unet.to(before.device).eval().requires_grad_(False), which)


def _field(which: str) -> str:
    if which not in WHICH:
        raise ValueError(f"unknown model {which!r}; give one of {', '.join(WHICH)}")
    return "text" if which == TEXT else "instruct"


def _pipe(models: Models, which: str):
    pipe = getattr(models, _field(which))
    if is_xl(pipe):
        raise ValueError(f"{type(pipe).__name__} cannot be tuned here; give models of SD 1 or 2")
    return pipe
