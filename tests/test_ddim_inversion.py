"""A step backwards undoes the step forwards; iterations close the gap it leaves."""

from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from cirp.diffusion.ddim_inversion import (
    alphas,
    back,
    check_iterations,
    clean_and_noise,
    ddim,
    error,
    invert,
    latents_after,
    predictor,
    reconstruct,
    remaining,
    up,
)
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import encode, noised, scheduler_of
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd

PLAIN = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)
EPSILON = DDIMScheduler(**PLAIN, clip_sample=False, set_alpha_to_one=False)
EPSILON_TO_ONE = DDIMScheduler(**PLAIN, clip_sample=False, set_alpha_to_one=True)
PNDM = PNDMScheduler(**PLAIN, skip_prk_steps=True)  # Stable Diffusion 1.5 comes with this one
SCHEDULERS = {"velocity": None, "epsilon": EPSILON, "to one": EPSILON_TO_ONE, "pndm": PNDM}
CAPTIONS = ["a cat on the beach", "a red car"]


def gentle(theirs=None) -> Models:
    """A random UNet overreacts; with a fifth of its output a step is a contraction."""
    pipe = tiny_sd(sample_size=8, scheduler=theirs)
    pipe.unet.conv_out.weight.data *= 0.2
    return Models("tiny", tiny_ip2p(sample_size=8), pipe, "f")


@pytest.fixture(scope="module", params=SCHEDULERS)
def models(request) -> Models:
    return gentle(SCHEDULERS[request.param])


@pytest.fixture
def clean(models):
    images = [painted(32, 32), painted(32, 32, seed=1)]
    return encode(images, models) * models.vae.config.scaling_factor


@pytest.mark.parametrize("steps", [5, 7, 10])  # 7 does not divide the schedule
def test_a_step_backwards_undoes_the_schedulers_step(models, steps):
    mine = ddim(models.text, steps)
    before, output = torch.randn(2, 2, 4, 3, 5, generator=torch.manual_seed(0)).double()
    for t in mine.timesteps:
        if alphas(mine, t)[0] == 0 and mine.config.prediction_type == "epsilon":
            continue
        after = mine.step(output, t, before, return_dict=False)[0]
        torch.testing.assert_close(back(mine, output, after, t), before, rtol=1e-4, atol=1e-4)


def test_plain_inversion_is_a_step_of_ddim_to_the_noisier_side(models):
    """With the true noise, and the output that says so, the image's latents stay its latents."""
    mine = ddim(models.text, 10)
    clean, noise = torch.randn(2, 2, 4, 3, 5, generator=torch.manual_seed(0))
    for t in mine.timesteps:
        at, before = alphas(mine, t)
        here = before.sqrt() * clean + (1 - before).sqrt() * noise
        velocity = before.sqrt() * noise - (1 - before).sqrt() * clean
        output = noise if mine.config.prediction_type == "epsilon" else velocity
        there = at.sqrt() * clean + (1 - at).sqrt() * noise
        torch.testing.assert_close(up(mine, output, here, t), there, rtol=1e-4, atol=1e-4)
        for found, true in zip(
            clean_and_noise(mine, output, here, before), (clean, noise), strict=True
        ):
            torch.testing.assert_close(found, true, rtol=1e-3, atol=1e-3)


def test_iterations_bring_the_clean_latents_back(models, clean):
    mine = ddim(models.text, 8)
    timesteps = remaining(mine, 0.75)
    errors = []
    for iterations in (1, 3, 10):
        path = invert(models, mine, timesteps, clean, CAPTIONS, iterations=iterations)
        again = reconstruct(models, mine, timesteps, path[-1], CAPTIONS)
        errors.append(float(error(again, clean).max()))
    assert all(b < a for a, b in pairwise(errors)), errors
    assert errors[-1] < 1e-2 * float(clean.std())
    assert errors[-1] < errors[0] / 50


def test_the_path_is_the_way_the_sampler_goes(models, clean):
    mine = ddim(models.text, 6)
    timesteps = remaining(mine, 0.5)
    path = invert(models, mine, timesteps, clean, CAPTIONS, iterations=20)
    assert path.shape == (4, *clean.shape) and torch.equal(path[0], clean)
    latents, predict = path[-1], predictor(models, CAPTIONS)
    for step, t in enumerate(timesteps):
        with torch.no_grad():
            latents = mine.step(predict(latents, t), t, latents, return_dict=False)[0]
        torch.testing.assert_close(latents, latents_after(path, step), rtol=1e-3, atol=1e-3)


def test_images_do_not_see_each_other(models, clean):
    mine = ddim(models.text, 5)
    both = invert(models, mine, remaining(mine, 0.8), clean, CAPTIONS)
    for i in range(2):
        one = invert(models, mine, remaining(mine, 0.8), clean[i : i + 1], CAPTIONS[i : i + 1])
        torch.testing.assert_close(one, both[:, i : i + 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("strength", [0.3, 0.55, 0.8, 1.0])
def test_the_timesteps_are_image_to_images(strength):
    pipe = tiny_sd(sample_size=8)
    mine = ddim(pipe, 10)
    latents = torch.zeros(1, 4, 8, 8)
    _, timesteps = noised(scheduler_of(pipe, 10), latents, latents, strength)
    assert torch.equal(remaining(mine, strength), timesteps)


def test_full_strength_has_no_part_of_the_image_and_still_leads_back():
    models = gentle()
    mine = ddim(models.text, 10)
    assert float(alphas(mine, remaining(mine, 1.0)[0])[0]) < 1e-6
    clean = encode([painted(32, 32)], models) * models.vae.config.scaling_factor
    path = invert(models, mine, mine.timesteps, clean, CAPTIONS[:1], iterations=20)
    again = reconstruct(models, mine, mine.timesteps, path[-1], CAPTIONS[:1])
    assert float(error(again, clean)) < 1e-3


def test_error_by_hand():
    latents = torch.stack([torch.full((4, 2, 2), 3.0), torch.zeros(4, 2, 2)])
    assert error(latents, torch.zeros_like(latents)).tolist() == [3.0, 0.0]


def test_what_cannot_be_inverted_is_refused(models):
    pipe = tiny_sd(
        sample_size=8, scheduler=DDIMScheduler(**PLAIN, clip_sample=False, prediction_type="sample")
    )
    with pytest.raises(ValueError, match="cannot be inverted"):
        ddim(pipe, 5)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="iterations"):
            check_iterations(wrong)
