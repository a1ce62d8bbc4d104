"""The training loop, the corpus, and how weights are grown and shipped."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch import nn

from cirp.miniature import corpus as corpora
from cirp.miniature.fit import Budget, fit, rate
from cirp.miniature.pairs import pair
from cirp.miniature.scene import render
from cirp.miniature.stages import autoencoder, clip, judge, unets
from cirp.miniature.stages.setup import save_half
from tests.tiny import tiny_tokenizer

QUICK = Budget(minutes=0.02, learning_rate=0.05, warmup=0.1, ema=0.9)


def line(folder, budget=QUICK, **more):
    """Fit y = 3 x; the answer is known."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False)

    def losses(step):
        x = torch.randn(32, 1, generator=torch.Generator().manual_seed(step))
        return (model(x) - 3 * x).square().mean()

    return fit(model, losses, budget=budget, folder=folder, batch=32, name="line", **more)


def test_a_known_line_is_found_and_the_average_is_what_comes_back(tmp_path):
    state, outcome = line(tmp_path)
    assert abs(state["weight"].item() - 3) < 0.05
    assert outcome.samples == 32 * outcome.steps
    assert 0.02 <= outcome.minutes < 0.1


def test_a_finished_stage_is_not_trained_again(tmp_path):
    state, first = line(tmp_path)
    again, second = line(tmp_path)
    assert second.steps == first.steps
    torch.testing.assert_close(state["weight"], again["weight"])


def test_an_interrupted_stage_goes_on_with_weights_average_and_moments(tmp_path):
    torch.manual_seed(0)
    model, seen = nn.Linear(1, 1, bias=False), []

    def losses(step):
        seen.append((step, model.weight.item()))
        if len(seen) == 40:
            raise KeyboardInterrupt
        x = torch.randn(32, 1, generator=torch.Generator().manual_seed(step))
        return (model(x) - 3 * x).square().mean()

    often = Budget(minutes=0.05, learning_rate=0.01, checkpoint_every=0.0)
    with pytest.raises(KeyboardInterrupt):
        fit(model, losses, budget=often, folder=tmp_path, batch=32, name="line")
    kept = load_file(tmp_path / "checkpoint.safetensors")
    assert kept["model/weight"].item() == seen[-1][1]
    assert kept["optimizer/weight/step"].item() == seen[-1][0]
    resumed, outcome = line(tmp_path, often)
    assert outcome.steps > kept["optimizer/weight/step"].item()
    assert abs(resumed["weight"].item() - 3) < 0.5


def test_a_loss_that_explodes_stops_the_stage_by_name(tmp_path):
    model = nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="boom: the loss became nan.*learning rate"):
        fit(
            model,
            lambda step: model(torch.ones(1, 1)).sum() * float("nan"),
            budget=QUICK,
            folder=tmp_path,
            batch=1,
            name="boom",
        )


def test_the_schedule_rises_then_falls_to_its_floor():
    budget = Budget(minutes=1, learning_rate=2.0, warmup=0.1, floor=0.1)
    assert rate(0.05, budget) == pytest.approx(1.0)
    assert rate(0.1, budget) == pytest.approx(2.0)
    assert rate(0.55, budget) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert rate(1.0, budget) == rate(1.5, budget) == pytest.approx(0.2)


def test_the_corpus_holds_the_very_pictures_and_words_of_its_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "CHUNK", 3)
    drawn = corpora.draw(tmp_path, count=5, workers=1)
    assert len(drawn) == 5
    for i in (0, 4):
        quiet, loud = pair(i, "train"), pair(i, "train", leak=1.0)
        np.testing.assert_array_equal(drawn.source[i], render(quiet.source))
        np.testing.assert_array_equal(drawn.target[i], render(quiet.target))
        np.testing.assert_array_equal(drawn.leaked[i], render(loud.target))
        assert drawn.rows[i]["instruction"] == quiet.instruction
    before, after = drawn.labels
    assert before.sum(axis=1).tolist() == [len(row["source_labels"]) for row in drawn.rows]
    assert after.any() and corpora.Corpus(tmp_path, first=2).source.shape[0] == 2


def test_the_editor_starts_as_the_text_to_image_model():
    """Extra input channels start at zero, so any image is ignored (InstructPix2Pix, 3.2)."""
    torch.manual_seed(0)
    narrow = unets.build(32, 4, 4).eval()
    wide = unets.widen(narrow).eval()
    x, image, context = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16), torch.randn(2, 5, 32)
    with torch.no_grad():
        expected = narrow(x, 500, context).sample
        found = wide(torch.cat([x, image], dim=1), 500, context).sample
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_widened_autoencoder_keeps_what_the_narrow_one_knew():
    torch.manual_seed(0)
    narrow = autoencoder.build(4).eval()
    wide = autoencoder.widen(narrow).eval()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        a, b = narrow.encode(x).latent_dist.mode(), wide.encode(x).latent_dist.mode()
    torch.testing.assert_close(b[:, :4], a, rtol=1e-3, atol=1e-3)


def test_the_velocity_is_what_diffusers_scheduler_inverts():
    """v-prediction with zero terminal SNR: at the last time step x is pure noise and v is -x0."""
    scheduler, x = unets.schedule(), torch.randn(3, 4, 8, 8)
    generator = torch.Generator().manual_seed(1)
    noised, t, velocity = unets.diffuse(scheduler, x, generator)
    alpha = scheduler.alphas_cumprod[t].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - scheduler.alphas_cumprod[t]).sqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(alpha * noised - sigma * velocity, x, rtol=1e-4, atol=1e-4)
    assert scheduler.alphas_cumprod[-1] < 1e-6
    assert isinstance(scheduler, DDIMScheduler)


def test_shipped_weights_are_half_precision_and_load_in_single(tmp_path):
    model = judge.build(["a", "b:c=d"])
    save_half(model, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert {v.dtype for v in stored.values() if v.is_floating_point()} == {torch.float16}
    loaded = type(model).from_pretrained(tmp_path)
    assert next(loaded.parameters()).dtype == torch.float32
    assert loaded.config.id2label[1] == "b:c=d"
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"


def test_the_text_encoder_is_the_text_tower():
    model = clip.build(tiny_tokenizer()).eval()
    tower = clip.text_encoder(model).eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        expected = model.text_model(ids).last_hidden_state
        torch.testing.assert_close(tower(ids).last_hidden_state, expected)
