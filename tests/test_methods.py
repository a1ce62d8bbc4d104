"""The baseline equals diffusers; the noisy input is img2img; noise belongs to the item."""

import numpy as np
import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
)

from cirp.attention.record import Record
from cirp.diffusion.editors import combine
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import encode
from cirp.diffusion.tasks import Task, generator
from cirp.methods import METHODS, ip2p, noisy, references
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd

FAST = dict(steps=4, progress=False)


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def task(seed: int = 0, key: str = "one", image=None) -> Task:
    return Task(image or painted(), "make the dog happy", "a happy dog on the beach", seed, key)


def with_scheduler(kind) -> Models:
    plain = tiny_ip2p().scheduler.config
    mine = kind.from_config(
        {k: v for k, v in plain.items() if k not in ("rescale_betas_zero_snr", "timestep_spacing")}
    )
    return Models("tiny", tiny_ip2p(scheduler=mine), tiny_sd(scheduler=mine), "other")


@pytest.mark.parametrize(
    "kind", [None, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler], ids=str
)
def test_the_baseline_equals_diffusers_own_pipeline(models, kind):
    models = models if kind is None else with_scheduler(kind)
    one = task()
    (mine,) = ip2p.edit(models, [one], text_scale=7.5, image_scale=1.5, **FAST)
    theirs = models.instruct(
        one.instruction,
        image=one.image,
        num_inference_steps=4,
        guidance_scale=7.5,
        image_guidance_scale=1.5,
        generator=generator(one),
    ).images[0]
    assert np.abs(array(mine.image) - array(theirs)).max() <= 1  # of 255: rounding
    assert mine.unet_calls == 12


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_noisy_input_equals_diffusers_image_to_image(models, strength):
    one = task()
    (mine,) = noisy.edit(models, [one], strength=strength, text_scale=12.0, **FAST)
    img2img = StableDiffusionImg2ImgPipeline(
        **{k: v for k, v in models.text.components.items()}, requires_safety_checker=False
    )
    img2img.set_progress_bar_config(disable=True)
    latents = encode([one.image], models)
    assert models.instruct.vae.config.scaling_factor == models.text.vae.config.scaling_factor
    theirs = img2img(
        one.caption,
        image=latents * models.vae.config.scaling_factor,
        strength=strength,
        num_inference_steps=4,
        guidance_scale=12.0,
        generator=generator(one),
    ).images[0]
    # the two tiny pipelines have different random autoencoders, so decode ours with theirs
    assert mine.unet_calls == 2 * int(4 * strength)
    assert np.abs(array(mine.image) - array(theirs)).max() <= 1


def test_any_scale_counts_where_diffusers_turns_guidance_off(models):
    one = [task()]
    made = {
        s: array(ip2p.edit(models, one, image_scale=s, text_scale=12.0, **FAST)[0].image)
        for s in (0.4, 0.55, 1.0)
    }
    assert (made[0.4] != made[0.55]).any() and (made[0.55] != made[1.0]).any()
    twelve, fifteen = (
        array(ip2p.edit(models, one, image_scale=0.5, text_scale=s, **FAST)[0].image)
        for s in (12.0, 15.0)
    )
    assert (twelve != fifteen).any()


def test_diffusers_itself_runs_at_one_and_one_below_an_image_scale_of_one(models):
    one = task()

    def theirs(text_scale, image_scale):
        return array(
            models.instruct(
                one.instruction,
                image=one.image,
                num_inference_steps=4,
                guidance_scale=text_scale,
                image_guidance_scale=image_scale,
                generator=generator(one),
            ).images[0]
        )

    np.testing.assert_array_equal(theirs(12.0, 0.4), theirs(15.0, 0.55))
    (ours,) = ip2p.edit(models, [one], text_scale=1.0, image_scale=1.0, **FAST)
    assert np.abs(array(ours.image) - theirs(12.0, 0.4)).max() <= 1


def test_combining_by_hand():
    text, image, neither = (torch.full((1, 4, 1, 1), x) for x in (5.0, 3.0, 2.0))
    out = combine(text, image, neither, text_scale=7.5, image_scale=1.5)
    assert out.unique().item() == 2 + 1.5 * (3 - 2) + 7.5 * (5 - 3)


@pytest.mark.parametrize(
    "method, settings",
    [
        ("ip2p", {}),
        ("noisy", {}),
        ("noisy", {"variant": "instruct-pix2pix"}),
        ("noisy", {"variant": "instruct-pix2pix", "concatenate": True}),
    ],
)
@pytest.mark.parametrize("ancestral", [False, True])
def test_an_image_is_the_same_in_any_batch(models, method, settings, ancestral):
    models = with_scheduler(EulerAncestralDiscreteScheduler) if ancestral else models
    tasks = [task(seed, key, painted(seed=seed)) for seed, key in ((0, "a"), (1, "b"), (2, "c"))]
    together = METHODS[method](models, tasks, batch_size=3, **settings, **FAST)
    alone = [METHODS[method](models, [t], batch_size=1, **settings, **FAST)[0] for t in tasks]
    backwards = METHODS[method](models, tasks[::-1], batch_size=2, **settings, **FAST)[::-1]
    for a, b, c in zip(together, alone, backwards, strict=True):
        assert np.abs(array(a.image) - array(b.image)).max() <= 1
        assert np.abs(array(a.image) - array(c.image)).max() <= 1


def test_the_same_seed_twice_is_bit_identical_and_another_differs(models):
    first, again = (ip2p.edit(models, [task(3)], **FAST)[0].image for _ in range(2))
    np.testing.assert_array_equal(array(first), array(again))
    assert (array(first) != array(ip2p.edit(models, [task(4)], **FAST)[0].image)).any()


def test_noise_depends_on_key_and_seed_alone():
    draw = [torch.randn(4, generator=generator(t)) for t in (task(0, "a"), task(0, "a"))]
    torch.testing.assert_close(*draw, rtol=0, atol=0)
    for other in (task(1, "a"), task(0, "b")):
        assert not torch.equal(draw[0], torch.randn(4, generator=generator(other)))


def test_recording_leaves_every_image_as_it_is(models):
    tasks = [task(0, "a"), task(1, "b")]
    for method in (ip2p.edit, noisy.edit):
        seen = Record()
        plain = method(models, tasks, **FAST)
        watched = method(models, tasks, controls=(seen,), **FAST)
        for a, b in zip(plain, watched, strict=True):
            np.testing.assert_array_equal(array(a.image), array(b.image))
        assert seen.images == 2


def test_without_concatenation_the_picture_enters_through_the_noise_only(models):
    """At strength 1 and zero terminal SNR nothing of it is left, so any picture gives the same."""
    settings = dict(variant="instruct-pix2pix", strength=1.0, prompt="instruction", **FAST)
    a, b = (
        noisy.edit(models, [task(0, "k", painted(seed=s))], **settings)[0].image for s in (0, 5)
    )
    assert np.abs(array(a) - array(b)).max() <= 2
    concatenated = noisy.edit(
        models, [task(0, "k", painted(seed=5))], concatenate=True, **settings
    )[0].image
    assert (array(concatenated) != array(b)).any()


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (50, 70)])
def test_images_of_any_size_are_edited(models, size):
    (made,) = ip2p.edit(models, [task(image=painted(*size))], **FAST)
    assert max(made.image.size) == models.resolution
    assert all(side % 8 == 0 for side in made.image.size)


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(steps=0), "steps=0"),
        (dict(strength=0.0), "strength=0.0"),
        (dict(strength=1.2), "strength=1.2"),
        (dict(strength=0.1), "leaves no step"),
        (dict(text_scale=float("nan")), "text_scale=nan"),
        (dict(text_scale=-1.0), "text_scale=-1.0"),
        (dict(variant="sdedit"), "variant='sdedit'; .*text-to-image"),
        (dict(concatenate=True), "eight input channels"),
        (dict(image_scale=0.5), "image_scale=0.5 multiplies nothing"),
        (dict(prompt="poem"), "prompt='poem'; .*instruction.*caption"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_runs(models, settings, words):
    with pytest.raises(ValueError, match=words):
        noisy.edit(models, [task()], **(FAST | settings))


def test_prompts_that_are_missing_or_too_long_are_refused(models):
    silent = Task(painted(), "make it red", None, 0)
    with pytest.raises(ValueError, match="no target_caption"):
        noisy.edit(models, [silent], **FAST)
    long = Task(painted(), "red dog " * 60, None, 0)
    with pytest.raises(ValueError, match="77"):
        ip2p.edit(models, [long], **FAST)


def test_controls_of_every_table(models):
    one = task()
    (same,) = references.nothing(models, [one])
    np.testing.assert_array_equal(array(same.image), array(one.image))
    (trip,) = references.round_trip(models, [one])
    with torch.no_grad():
        x = models.editor.pixels([one.image])
        y = models.vae.decode(models.vae.encode(x).latent_dist.mode()).sample
    expected = ((y[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(array(trip.image) - expected).max() <= 1
    mixed = references.blend(trip.image, one.image, alpha=0.25)
    expected = 0.25 * array(one.image) + 0.75 * array(trip.image)
    assert np.abs(array(mixed) - expected).max() <= 1
    with pytest.raises(ValueError, match="alpha=2"):
        references.blend(trip.image, one.image, alpha=2)
