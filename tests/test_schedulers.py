"""Every method, the recorder and the explorer under the schedulers of real models."""

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from cirp.attention.control import controlled
from cirp.attention.record import Record
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import State, clean_guess, mixture
from cirp.diffusion.tasks import Task
from cirp.explorer.runs import Request, run
from cirp.methods import METHODS
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd

KINDS = {
    "DDIM": (DDIMScheduler, {}),
    "Euler": (EulerDiscreteScheduler, {}),
    "Euler, fractional": (EulerDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "Euler, Karras": (EulerDiscreteScheduler, {"use_karras_sigmas": True}),
    "Euler ancestral": (EulerAncestralDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "DPM++ 2M": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "UniPC": (UniPCMultistepScheduler, {}),
}
STEPS = 4


@pytest.fixture(scope="module", params=KINDS)
def scheduled(request) -> Models:
    """Tiny models with another scheduler."""
    kind, more = KINDS[request.param]
    editor, text = tiny_ip2p(), tiny_sd()
    for pipe in (editor, text):
        known = {k: v for k, v in pipe.scheduler.config.items() if k[0] != "_"}
        pipe.scheduler = kind.from_config({**known, **more})
    return Models("tiny", editor, text, f"tiny {request.param}")


def a_task() -> Task:
    mask = np.zeros((64, 64), dtype=bool)
    mask[16:40, 16:40] = True
    return Task(painted(), "make the cat red", "a red cat", 0, "x", source_caption="a blue cat",
                words=("red",), target_words=("red",), mask=mask)  # fmt: skip


def settings_of(name: str) -> dict:
    fields = METHODS[name].settings.model_fields
    found = {"steps": STEPS} if "steps" in fields else {}
    if "look_steps" in fields:
        found["look_steps"] = 2
    if "region" in fields and "strides" in fields and name == "refocus":
        found["stride"] = 2
    return found


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_and_is_watched(scheduled, name):
    record = Record(times="step")
    (made,) = METHODS[name](
        scheduled, [a_task()], controls=() if name in ("nothing", "round trip") else (record,),
        progress=False, **settings_of(name),
    )  # fmt: skip
    assert made.image.size == (64, 64) and np.asarray(made.image).std() > 0


@pytest.mark.parametrize("method", ["ledits"])
def test_the_maps_of_each_step_are_found_by_its_own_timestep(scheduled, method):
    (made,) = METHODS[method](
        scheduled, [a_task()], progress=False, steps=STEPS, each_step=True, released=True
    )
    assert made.mask is not None


def test_each_step_is_recorded_and_can_be_asked_for(scheduled):
    record, pipe = Record(times="step"), scheduled.instruct
    with controlled(pipe.unet, record):
        pipe("make it red", image=Image.new("RGB", (64, 64), "red"), num_inference_steps=STEPS,
             generator=torch.Generator().manual_seed(0), output_type="latent")  # fmt: skip
    assert record.images == 1 and len(record.times) == STEPS
    for time in pipe.scheduler.timesteps.tolist():
        assert record.time(time)


def test_the_explorers_picture_of_a_step_is_the_schedulers_own(scheduled):
    """At the end of a run the picture of the last step is the edit, whatever the scheduler."""
    seen = []
    made = run(scheduled, a_task(), Request(item="x", instruction="make the cat red", steps=STEPS,
                                            text_scale=1.5), on_step=seen.append)  # fmt: skip
    apart = np.abs(np.asarray(seen[-1].picture, float) - np.asarray(made, float))
    assert len(seen) == STEPS and apart.mean() < 12


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["DDIM", "Euler", "Euler, fractional", "Euler ancestral"])
def test_the_clean_latents_are_what_the_scheduler_says(name, kind):
    made, more = KINDS[name]
    scheduler = made(
        prediction_type=kind, **more, **({"clip_sample": False} if name == "DDIM" else {})
    )
    scheduler.set_timesteps(10)
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=rng) * scheduler.init_noise_sigma
    for step, time in enumerate(scheduler.timesteps):
        said = torch.randn(2, 4, 8, 8, generator=rng)
        scheduler.scale_model_input(latents, time)
        state = State(step, float(time), latents, {}, said, latents)
        mine = clean_guess(scheduler, state)
        after = scheduler.step(said, time, latents)
        torch.testing.assert_close(mine, after.pred_original_sample, rtol=1e-3, atol=1e-3)
        latents = after.prev_sample


def test_signal_and_noise_are_those_that_the_scheduler_adds(scheduled):
    scheduler = scheduled.instruct.scheduler
    scheduler.set_timesteps(STEPS)
    one, noise = torch.full((1, 1, 2, 2), 0.7), torch.full((1, 1, 2, 2), -0.3)
    for time in scheduler.timesteps:
        signal, amount = mixture(scheduler, float(time))
        mixed = scheduler.add_noise(one, noise, time[None])
        torch.testing.assert_close(mixed, signal * one + amount * noise, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [5, 10, 20, 50])
@pytest.mark.parametrize("text_scale", [1.5, 7.5])
def test_remap_keeps_the_outside_at_any_number_of_steps_and_scale(scheduled, steps, text_scale):
    one = a_task()
    settings = dict(steps=steps, text_scale=text_scale, region="given")
    (made,) = METHODS["remap"](scheduled, [one], progress=False, **settings)
    apart = np.abs(np.asarray(made.image, int) - np.asarray(one.image, int))
    assert not apart[np.asarray(made.mask) == 0].any()  # the source's own pixels
    with_image = round(steps * 0.5)
    per_step = 3 * with_image + 2 * (steps - with_image)
    extra = scheduled.instruct.scheduler.order > 1
    assert made.unet_calls == per_step or extra
    assert apart[one.mask].any()
