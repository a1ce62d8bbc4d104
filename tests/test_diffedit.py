"""The mask is where predictions differ; outside it the latents stay on the inversion's path."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from cirp.attention.control import Control
from cirp.diffusion.ddim_inversion import ddim, invert, latents_after, remaining
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode, encode
from cirp.diffusion.tasks import Task
from cirp.diffusion.text import states
from cirp.editing.driver import begin_edit
from cirp.methods import diffedit
from cirp.methods.diffedit import differences, mask
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd

SIDE = 32  # pixels, 8 latent cells
FAST = dict(steps=5, repeats=2, progress=False)
EPSILON = DDIMScheduler(
    beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1,
    clip_sample=False, set_alpha_to_one=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def models() -> Models:
    return Models("tiny", tiny_ip2p(sample_size=8), tiny_sd(sample_size=8), "tiny-fingerprint")


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def left(width: int = SIDE, height: int = SIDE) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[:, : width // 4] = True
    return mask


def task(
    source: str | None = "a red car", target: str = "a blue car", seed: int = 0, **other
) -> Task:
    image = other.pop("image", None) or painted(SIDE, SIDE, seed)
    return Task(image, "make it blue", target, seed, f"n{seed}", source_caption=source, **other)


def test_the_mask_by_hand():
    # mean 1, so the cut is at 3 and the threshold at 1.5
    maps = torch.tensor([[[0.0, 1.6], [1.4, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert mask(maps).tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 0]]]
    assert mask(maps, clamp=1.0).tolist()[0] == [[0, 1], [1, 1]]
    assert mask(maps, threshold=0.0).tolist()[0] == [[0, 1], [1, 1]]
    assert not mask(maps, threshold=1.0).any()


@pytest.mark.parametrize("theirs", [None, EPSILON], ids=["velocity", "epsilon"])
def test_differences_are_of_noise_whatever_the_unet_predicts(models, theirs):
    """At the same latents, noises differ by sqrt(alpha) times what velocities differ by."""
    models = Models("tiny", models.instruct, tiny_sd(sample_size=8, scheduler=theirs), "f")
    start = begin_edit(models, [task()])
    captions = (["a red car"], ["a blue car"])
    found = differences(models, start, *captions, steps=4, strength=0.5, repeats=1)

    pipe = models.text
    pipe.scheduler.set_timesteps(4)
    t = pipe.scheduler.timesteps[2]
    noise = torch.randn(start.clean.shape, generator=start.generators[0])
    noisy = pipe.scheduler.add_noise(start.clean, noise, t[None])
    with torch.no_grad():
        outputs = [pipe.unet(noisy, t, states(caption, pipe)).sample for caption in captions]
    expected = (outputs[1] - outputs[0]).abs().mean(dim=1)
    if theirs is None:
        expected = expected * pipe.scheduler.alphas_cumprod[t].sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_differences_are_averaged_and_drawn_for_each_image(models):
    tasks = [task(), task(seed=1)]
    both = begin_edit(models, tasks)
    captions = (["a red car"] * 2, ["a blue car"] * 2)
    found = differences(models, both, *captions, steps=4, repeats=3)
    again = differences(models, both, *captions, steps=4, repeats=3)
    assert torch.equal(found, again)  # the generators are left as they were
    for i, one in enumerate(tasks):
        alone = differences(
            models, begin_edit(models, [one]), ["a red car"], ["a blue car"], steps=4, repeats=3
        )
        torch.testing.assert_close(alone[0], found[i], rtol=1e-3, atol=1e-5)
    assert not torch.equal(found, differences(models, both, *captions, steps=4, repeats=1))


def test_two_repeats_are_the_mean_of_two_draws(models):
    start = begin_edit(models, [task()])
    both = differences(models, start, ["a"], ["a car"], steps=4, repeats=2)
    first = differences(models, start, ["a"], ["a car"], steps=4, repeats=1)
    torch.randn(start.clean.shape, generator=start.generators[0])  # past the first draw
    second = differences(models, start, ["a"], ["a car"], steps=4, repeats=1)
    torch.testing.assert_close(both, (first + second) / 2)


def test_the_region_is_filled_as_the_caption_says(models):
    blue, dog = (
        diffedit.edit(models, [task(target=said, mask=left())], region="given", **FAST)[0]
        for said in ("a blue car", "a dog")
    )
    apart = np.abs(array(blue.image) - array(dog.image))
    assert apart[:, : SIDE // 4].max() > 1


class Steps(Control):
    """Keeps nothing; says at which timesteps, and with how many rows, the UNet was seen."""

    def __init__(self) -> None:
        self.seen = []

    def on_probs(self, probs, site):
        self.seen.append((site.timestep, len(probs)))
        return probs


@pytest.mark.parametrize("region", ["found", "given"])
def test_outside_the_mask_the_latents_are_the_paths_after_every_step(models, monkeypatch, region):
    kept = []
    drive = diffedit.drive

    def watched(loop, latents, react):
        def keep(state):
            kept.append(react(state))
            return kept[-1]

        return drive(loop, latents, keep)

    monkeypatch.setattr(diffedit, "drive", watched)
    one = task(mask=left())
    (made,) = diffedit.edit(models, [one], region=region, inversion_iterations=2, **FAST)
    inside = torch.from_numpy(array(made.mask)[::4, ::4] > 0)
    assert 0 < inside.sum() < inside.numel()
    mine = ddim(models.text, 5)
    clean = begin_edit(models, [one]).clean
    path = invert(models, mine, remaining(mine, 0.8), clean, [one.source_caption], iterations=2)
    assert len(kept) == 4
    for step, latents in enumerate(kept):
        assert torch.equal(latents[..., ~inside], latents_after(path, step)[..., ~inside])
        assert (latents - latents_after(path, step))[..., inside].abs().max() > 1e-3
    assert torch.equal(kept[-1][..., ~inside], clean[..., ~inside])
    assert made.unet_calls == 2 * 4 + 2 * 4 + (2 * 2 if region == "found" else 0)


def test_nothing_to_edit_is_the_round_trip_of_the_autoencoder(models):
    one = task("a red car", "a red car")
    (made,) = diffedit.edit(models, [one], **FAST)
    clean = encode([one.image], models) * models.vae.config.scaling_factor
    (expected,) = decode(clean, models)
    assert np.abs(array(made.image) - array(expected)).max() <= 1
    assert not array(made.mask).any()


def test_without_source_captions_the_reference_is_empty(models):
    one = task(None)
    (made,) = diffedit.edit(models, [one], reference="empty", **FAST)
    (other,) = diffedit.edit(models, [task("", "a blue car")], reference="empty", **FAST)
    assert made.image == other.image
    (source,) = diffedit.edit(models, [task()], **FAST)
    assert source.image != made.image


@pytest.mark.parametrize("size", [(SIDE, SIDE), (24, SIDE)])
def test_an_image_is_the_same_in_any_batch(models, size):
    tasks = [
        task(image=painted(*size)),
        task("a dog", "a dog with a hat", seed=1, image=painted(*size, seed=1)),
    ]
    together = diffedit.edit(models, tasks, batch_size=2, **FAST)
    for one, made in zip(tasks, together, strict=True):
        (alone,) = diffedit.edit(models, [one], **FAST)
        assert made.image.size == size
        assert np.abs(array(made.image) - array(alone.image)).max() <= 1
        assert made.mask == alone.mask


def test_controls_see_the_denoising_alone(models):
    spy = Steps()
    diffedit.edit(models, [task()], controls=[spy], **FAST)
    assert {time for time, _ in spy.seen} == set(remaining(ddim(models.text, 5), 0.8).tolist())
    assert {rows for _, rows in spy.seen} == {2}


@pytest.mark.parametrize(
    "settings, complaint",
    [
        (dict(steps=0), "steps=0"),
        (dict(mask_strength=1.5), "strength=1.5"),
        (dict(repeats=0), "repeats=0"),
        (dict(threshold=-1.0), "threshold=-1"),
        (dict(inversion_iterations=0), "iterations"),
        (dict(reference="none"), "reference='none'; input should be 'source' or 'empty'"),
        (dict(region="elsewhere"), "region='elsewhere'; input should be 'found' or 'given'"),
        (dict(region="given"), "has no mask"),
    ],
)
def test_bad_settings_end_in_one_error(models, settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        diffedit.edit(models, [task()], **(FAST | settings))


def test_missing_captions_end_in_one_error(models):
    with pytest.raises(ValueError, match="no source_caption"):
        diffedit.edit(models, [task(None)], **FAST)
    with pytest.raises(ValueError, match="no target_caption"):
        diffedit.edit(models, [replace(task(), caption=None)], **FAST)
