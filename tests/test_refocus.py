"""The losses by hand; a step lowers them; each image goes its own way; nothing else sees it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from cirp.attention.control import Control, controlled
from cirp.attention.record import Record
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import scheduler_of
from cirp.diffusion.tasks import Task
from cirp.diffusion.text import encode_prompts
from cirp.editing.driver import begin_edit
from cirp.editing.first_pass import positions
from cirp.editing.masks import given
from cirp.methods import ip2p, refocus
from cirp.methods.refocus import (
    at_step,
    attention_losses,
    car,
    descend,
    sar,
    strides_of,
    twin,
    without_begin,
)
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd

SIDE = 32  # pixels; gradients cost, so these models are a quarter of the usual tiny ones
FAST = dict(steps=3, progress=False)
SHORT = dict(share=0.7, iterations=2, look_steps=1) | FAST  # two steps of the three


@pytest.fixture(scope="module")
def models() -> Models:
    return Models("tiny", tiny_ip2p(sample_size=8), tiny_sd(sample_size=8), "tiny-fingerprint")


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def left(width: int = SIDE, height: int = SIDE) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[:, : width // 4] = True
    return mask


def task(seed: int = 0, key: str = "one", **other) -> Task:
    kept = dict(words=("dog",), mask=left()) | other
    return Task(painted(SIDE, SIDE, seed), "make the dog happy", "a happy dog", seed, key, **kept)


def test_cross_attention_refocusing_by_hand():
    inside = torch.tensor([True, True, False, False])
    maps = torch.tensor([[0.25, 0.5, 0.125, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert car(maps[:1], inside).item() == 1 - 0.5 + 0.125
    assert car(maps[1:], inside).item() == 0.0  # all inside, none outside: the least
    assert car(maps, inside).item() == 0.625 / 2
    assert car(maps[1:], ~inside).item() == 2.0  # the most


def test_self_attention_refocusing_by_hand():
    attention = torch.tensor(
        [[0.5, 0.25, 0.25, 0.0], [0.0, 0.5, 0.0, 0.5], [1.0, 0, 0, 0], [0.0, 0, 0, 1]]
    )
    inside = torch.tensor([True, True, False, False])
    assert sar(attention, inside).item() == (0.25 + 0.5) / 2
    assert sar(attention, ~inside).item() == (1.0 + 0.0) / 2
    assert sar(torch.eye(4), inside).item() == 0.0


@pytest.mark.parametrize("inside", [[True] * 4, [False] * 4])
def test_a_region_without_inside_or_outside_has_no_loss(inside):
    with pytest.raises(ValueError, match="an inside and an outside"):
        car(torch.rand(1, 4), torch.tensor(inside))
    with pytest.raises(ValueError, match="an inside and an outside"):
        sar(torch.rand(4, 4), torch.tensor(inside))


def test_without_begin_of_text_what_is_left_sums_to_one():
    rest = without_begin(torch.tensor([[[0.5, 0.25, 0.25], [0.9, 0.1, 0.0]]]))
    torch.testing.assert_close(rest, torch.tensor([[[0.5, 0.5], [1.0, 0.0]]]))


def test_schedules_are_spread_evenly():
    assert [at_step((4, 3), k, 4) for k in range(4)] == [4, 4, 3, 3]
    assert [at_step((2, 6, 3), k, 3) for k in range(3)] == [2, 6, 3]
    assert [at_step(1.5, k, 3) for k in range(3)] == [1.5] * 3
    code = [2, 2, 6, 6, 6, 3, 3, 3, 3, 3]
    assert [at_step(tuple(code), k, 10) for k in range(10)] == code


def test_each_image_descends_and_stops_for_itself():
    """Of x**2 the gradient is 2 x: a step size of 1/4 halves x, and x**2 <= 1 is enough."""
    x = torch.tensor([4.0, 0.5, 8.0, 4.0]).view(4, 1, 1, 1)
    seen = []

    def losses(x, which):
        seen.append(list(which))
        return x.flatten(1).square().sum(dim=1)

    moved, taken = descend(x, losses, [0, 1, 2], step_size=0.25, iterations=3, enough=1.0)
    assert moved.flatten().tolist() == [1.0, 0.5, 1.0, 4.0]
    assert taken == [3, 1, 3, 0] and seen == [[0, 1, 2], [0, 2], [0, 2]]
    assert x.flatten().tolist() == [4.0, 0.5, 8.0, 4.0]


def prepared(models, tasks, **settings):
    start = begin_edit(models, tasks)
    unet = twin(models.instruct.unet)
    words = [positions(models.instruct.tokenizer, one) for one in tasks]
    text = encode_prompts([one.instruction for one in tasks], models.instruct)
    masks = given(tasks, start.grid)
    losses, active = attention_losses(
        models, unet, text, start.source, masks, words, stride=2, **settings
    )
    t = scheduler_of(models.instruct, 4).timesteps[0]
    return start, lambda x, which: losses(x, which, t), active


@pytest.mark.parametrize("weights", [{}, dict(car_weight=0.0), dict(sar_weight=0.0)], ids=str)
def test_a_small_step_lowers_the_loss(models, weights):
    start, losses, active = prepared(models, [task(0, "a"), task(1, "b")], **weights)
    assert active == [0, 1]
    before = losses(start.noise, active).detach()
    moved, taken = descend(start.noise, losses, active, step_size=0.1, iterations=3, enough=0.0)
    after = losses(moved, active).detach()
    assert (after < before).all() and taken == [3, 3]
    assert before.grad_fn is None and not moved.requires_grad


def test_the_losses_are_those_of_the_maps_the_model_has(models):
    """Of the text branch of the real UNet, by way of a recorder, for cross-attention."""
    one = task()
    start, losses, _ = prepared(models, [one], sar_weight=0.0)
    record = Record()
    ip2p.edit(models, [one], controls=(record,), steps=1, progress=False)  # the same noise and time
    parts = [
        record.layer(name).mean(dim=0)
        for name in record.layers
        if record.stride(name) == 2 and not name.startswith("mid")
    ]
    probs = torch.stack(parts).mean(dim=0).flatten(1)  # token, query
    word = probs[3] / (1 - probs[0])  # begin, make, the, dog
    inside = given([one], (4, 4)).flatten() >= 0.5
    expected = 1 - word[inside].max() + word[~inside].max()
    torch.testing.assert_close(losses(start.noise, [0])[0].detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_twin_shares_the_weights_and_none_of_the_hooks(models):
    unet = models.instruct.unet
    with controlled(unet, Record()):
        other = twin(unet)
        mine, theirs = (dict(m.named_parameters()) for m in (unet, other))
        assert mine.keys() == theirs.keys()
        assert all(mine[k].data_ptr() == theirs[k].data_ptr() for k in mine)
        assert not other._forward_pre_hooks and not other.training
        assert not any(p.requires_grad for p in other.parameters())
    assert strides_of(unet) == [1, 2]


def test_a_step_size_of_zero_is_the_baseline(models):
    (plain,) = ip2p.edit(models, [task()], **FAST)
    (same,) = refocus.edit(models, [task()], region="given", step_size=0.0, **SHORT)
    np.testing.assert_array_equal(array(plain.image), array(same.image))
    (moved,) = refocus.edit(models, [task()], region="given", **SHORT)
    assert (array(plain.image) != array(moved.image)).any()


@pytest.mark.parametrize("settings", [dict(abstain=1e9), dict(region="given")], ids=str)
def test_where_nothing_is_outside_it_is_the_baseline(models, settings):
    one = replace(task(), mask=np.ones((SIDE, SIDE), dtype=bool))
    (plain,) = ip2p.edit(models, [one], **FAST)
    (same,) = refocus.edit(models, [one], **settings, **SHORT)
    np.testing.assert_array_equal(array(plain.image), array(same.image))
    assert same.unet_calls == 3 * 3 + (3 if "abstain" in settings else 0)
    assert same.abstained == ("abstain" in settings)


def test_an_image_is_the_same_in_any_batch_and_counts_are_right(models):
    tasks = [task(0, "a"), task(1, "b")]
    small = SHORT | dict(step_size=0.1, region="given")  # rounding is not blown up
    together = refocus.edit(models, tasks, **small)
    for one, made in zip(tasks, together, strict=True):
        (alone,) = refocus.edit(models, [one], **small)
        assert np.abs(array(alone.image) - array(made.image)).max() <= 1
        assert alone.unet_calls == 3 * 3 + 2 * 2  # the run, the gradients
        assert np.array_equal(array(alone.mask), array(made.mask))


def test_images_that_have_enough_cost_one_gradient_a_step(models):
    (made,) = refocus.edit(models, [task()], region="given", enough=100.0, **SHORT)
    assert made.unet_calls == 3 * 3 + 2
    (plain,) = ip2p.edit(models, [task()], **FAST)
    np.testing.assert_array_equal(array(plain.image), array(made.image))


@pytest.mark.parametrize("size", [(48, 32), (20, 36)])
def test_images_need_not_be_square(models, size):
    one = replace(task(), image=painted(*size), mask=left(*size))
    for region in ("found", "given"):
        (made,) = refocus.edit(models, [one], region=region, **SHORT)
        assert max(made.image.size) == models.resolution and made.mask.size == made.image.size


def test_controls_see_the_run_and_not_the_gradients(models):
    seen = Record(times="step")
    settings = dict(region="given", **SHORT)
    around = Record()
    (watched,) = refocus.edit(models, [task()], controls=(seen,), **settings)
    assert seen.images == 1 and len(seen.times) == 3
    with controlled(models.instruct.unet, around):
        (plain,) = refocus.edit(models, [task()], **settings)
    np.testing.assert_array_equal(array(plain.image), array(watched.image))
    for layer in seen.layers:
        torch.testing.assert_close(around.layer(layer), seen.layer(layer), rtol=0, atol=0)


def test_latents_that_grow_with_the_noise_are_moved_alike():
    """Euler's latents are sigma times larger, and are divided before the UNet sees them."""
    plain = tiny_ip2p().scheduler.config
    kept = ("rescale_betas_zero_snr", "timestep_spacing")
    euler = EulerDiscreteScheduler.from_config({k: v for k, v in plain.items() if k not in kept})
    models = Models("tiny", tiny_ip2p(sample_size=8, scheduler=euler), tiny_sd(), "other")
    (base,) = ip2p.edit(models, [task()], **FAST)
    settings = dict(region="given", **SHORT)
    (same,) = refocus.edit(models, [task()], step_size=0.0, **settings)
    assert np.abs(array(base.image) - array(same.image)).max() <= 1
    (moved,) = refocus.edit(models, [task()], **settings)
    assert (array(base.image) != array(moved.image)).any()


def test_gradients_are_taken_wherever_it_is_called_and_leave_none_behind(models):
    settings = dict(region="given", **SHORT)
    (usual,) = refocus.edit(models, [task()], **settings)
    with torch.no_grad():
        (inside,) = refocus.edit(models, [task()], **settings)
    np.testing.assert_array_equal(array(usual.image), array(inside.image))
    assert all(p.grad is None for p in models.instruct.unet.parameters())


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(region="given"), "has no mask"),
        (dict(share=0.0), "share=0.0"),
        (dict(stride=4), r"stride=4; this UNet has attention at \[1, 2\]"),
        (dict(step_size=(1.0, -1.0)), "step_size=-1.0"),
        (dict(iterations=()), r"iterations=\(\)"),
        (dict(sar_weight=-1.0), "sar_weight=-1.0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(models, settings, words):
    class Never(Control):
        def wants(self, site):
            raise AssertionError("the UNet ran")

    with controlled(models.instruct.unet, Never()), pytest.raises(ValueError, match=words):
        refocus.edit(models, [replace(task(), mask=None)], **(SHORT | settings))
