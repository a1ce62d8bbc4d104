"""The subject is learnt, the given models stay, and the same seed teaches the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from cirp.diffusion import dreambooth
from cirp.diffusion.dreambooth import class_latents, denoising_loss, tune
from cirp.diffusion.pipelines import INSTRUCT, TEXT, Models
from cirp.diffusion.sampling import encode
from cirp.diffusion.text import states
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd

PICTURES = [painted(32, 32, seed) for seed in range(4)]
FAST = dict(
    identifier="zyz", noun="cat", seed=0, rate=1e-3, steps=3, batch_size=1, class_images=2,
    class_steps=2, progress=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def models() -> Models:
    return Models("tiny", tiny_ip2p(sample_size=8), tiny_sd(sample_size=8), "tiny-fingerprint")


def weights(models: Models, which: str = TEXT) -> dict[str, torch.Tensor]:
    unet = (models.text if which == TEXT else models.instruct).unet
    return {name: x.clone() for name, x in unet.state_dict().items()}


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a | b)


@torch.no_grad()
def subject_loss(models: Models, which: str = TEXT) -> float:
    """On the subject's pictures, at the same noise and times for whatever model."""
    pipe = models.text if which == TEXT else models.instruct
    clean = encode(PICTURES, models).repeat(4, 1, 1, 1) * models.vae.config.scaling_factor
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(9))
    times = torch.arange(len(clean)) * 999 // len(clean)
    text = states(["a zyz cat"], pipe).expand(len(clean), -1, -1)
    schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    return denoising_loss(pipe.unet, schedule, clean, noise, times, text).mean().item()


def epsilon() -> Models:
    config = dict(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)
    mine = DDIMScheduler(prediction_type="epsilon", **config)
    return Models(
        "tiny",
        tiny_ip2p(sample_size=8, scheduler=mine),
        tiny_sd(sample_size=8, scheduler=mine),
        "epsilon",
    )


@pytest.mark.parametrize(
    "which, prediction", [(TEXT, "v_prediction"), (TEXT, "epsilon"), (INSTRUCT, "v_prediction")]
)
def test_the_subject_is_learnt_and_the_given_models_stay(models, which, prediction):
    models = models if prediction == "v_prediction" else epsilon()
    before, other = weights(models, which), weights(models, INSTRUCT if which == TEXT else TEXT)
    tuned = tune(models, PICTURES, which=which, **(FAST | dict(steps=12)))
    assert subject_loss(tuned, which) < 0.9 * subject_loss(models, which)
    assert same(before, weights(models, which))
    assert same(other, weights(tuned, INSTRUCT if which == TEXT else TEXT))
    assert not same(before, weights(tuned, which))
    unet = (tuned.text if which == TEXT else tuned.instruct).unet
    assert not unet.training and not any(p.requires_grad for p in unet.parameters())
    assert tuned.fingerprint.startswith(f"{models.fingerprint}-{which}-tuned-")


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_the_noise_or_the_velocity(kind):
    """A UNet that answers zero is off by the target itself."""

    class Silent(torch.nn.Module):
        config = tiny_sd().unet.config

        def forward(self, x, t, encoder_hidden_states, return_dict):
            return (torch.zeros_like(x),)

    schedule = DDPMScheduler(prediction_type=kind)
    clean, noise = torch.randn(2, 2, 4, 8, 8)
    times = torch.tensor([100, 900])
    alpha = schedule.alphas_cumprod[times].view(-1, 1, 1, 1)
    target = noise if kind == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
    found = denoising_loss.__wrapped__(
        Silent(), schedule, clean, noise, times, torch.zeros(2, 1, 1)
    )
    torch.testing.assert_close(found, target.square().mean(dim=(1, 2, 3)))


def test_a_model_that_predicts_the_picture_is_refused():
    schedule = DDPMScheduler(prediction_type="sample")
    x, t = torch.zeros(1, 4, 8, 8), torch.tensor([1])
    with pytest.raises(ValueError, match="'sample'"):
        denoising_loss(tiny_sd().unet, schedule, x, x, t, torch.zeros(1, 1, 32))


def test_the_same_seed_gives_the_same_weights_and_another_differs(models):
    first, again, other = (tune(models, PICTURES, **(FAST | dict(seed=seed))) for seed in (0, 0, 1))
    assert same(weights(first), weights(again)) and first.fingerprint == again.fingerprint
    assert not same(weights(first), weights(other)) and first.fingerprint != other.fingerprint


def test_the_prior_counts_and_can_be_left_out(models, monkeypatch):
    with_prior = tune(models, PICTURES, **FAST)
    monkeypatch.setattr(dreambooth, "class_latents", None)  # not called
    without = tune(models, PICTURES, prior_weight=0.0, **FAST)
    assert not same(weights(with_prior), weights(without))


@pytest.mark.parametrize("which", [TEXT, INSTRUCT])
def test_class_pictures_differ_and_belong_to_the_seed(models, which):
    how = dict(which=which, steps=2)
    three = class_latents(models, "a cat", 3, seed=0, batch_size=2, **how)
    assert three.shape == (3, 4, 8, 8)
    assert (three[0] - three[1]).abs().max() > 0.1
    torch.testing.assert_close(
        class_latents(models, "a cat", 2, seed=0, **how), three[:2], rtol=1e-3, atol=1e-3
    )
    assert (class_latents(models, "a cat", 1, seed=1, **how)[0] - three[0]).abs().max() > 0.1


@pytest.mark.parametrize("which", [TEXT, INSTRUCT])
def test_what_was_saved_predicts_the_same_when_loaded(models, which, tmp_path):
    tuned = tune(models, PICTURES, which=which, **FAST)
    dreambooth.save(tuned, tmp_path, which)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}
    loaded = dreambooth.load(models, tmp_path, which)
    assert loaded.fingerprint == tuned.fingerprint
    assert subject_loss(loaded, which) == subject_loss(tuned, which)
    wrong = INSTRUCT if which == TEXT else TEXT
    with pytest.raises(ValueError, match="in_channels is"):
        dreambooth.load(models, tmp_path, wrong)
    with pytest.raises(ValueError, match="no config.json"):
        dreambooth.load(models, tmp_path / "elsewhere", which)


def test_the_tuned_pipeline_makes_pictures(models):
    tuned = tune(models, [painted(90, 64)], **FAST)  # cropped square
    picture = tuned.text("a zyz cat", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (32, 32, 3) and np.isfinite(picture).all()
    assert replace(tuned, name="x").vae is models.vae


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(images=[]), "no pictures"),
        (dict(which="judge"), "unknown model 'judge'.*text-to-image"),
        (dict(steps=0), "steps=0"),
        (dict(rate=float("inf")), "rate=inf"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(noun=" "), "noun=' '"),
        (dict(identifier="cat " * 80), "77"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(models, monkeypatch, settings, words):
    monkeypatch.setattr(dreambooth, "encode", None)
    with pytest.raises(ValueError, match=words):
        tune(models, settings.pop("images", PICTURES), **(FAST | settings))
