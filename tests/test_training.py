"""The training loop, the corpus, and how weights are grown and shipped."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)
from safetensors.torch import load_file
from torch import nn

from cirp.diffusion.pipelines import load
from cirp.diffusion.variants import load_variant
from cirp.experiments import leak
from cirp.miniature import corpus as corpora
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.scene import SIZE, render
from cirp.miniature.training import chain, monitor
from cirp.miniature.training.loop import CHECKPOINT, HELD, begin_at, fit, placed
from cirp.miniature.training.objective import Objective
from cirp.miniature.training.schedule import Limit, Schedule, Stopped
from cirp.miniature.training.setup import Setup, save_half, tensor
from cirp.miniature.training.stages import autoencoder, clip, judge, unets
from tests.tiny import tiny_tokenizer

QUICK = Schedule(samples=32 * 150, learning_rate=0.05, warmup=320, ema=0.9)


class Line(Objective):
    """Fit y = 3 x; the answer is known."""

    batch = 32

    def __init__(self, stop_at: int | None = None, spoil: float = 1.0):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1, bias=False)
        self.seen, self.stop_at, self.spoil = [], stop_at, spoil

    def draw(self, step):
        self.seen.append((step, self.model.weight.item()))
        if step == self.stop_at:
            raise KeyboardInterrupt
        return (torch.randn(32, 1, generator=torch.Generator().manual_seed(step)),)

    def forward(self, x):
        return (self.model(x) - 3 * x).square().mean() * self.spoil


def line(folder, schedule=QUICK, objective=None, **more):
    objective = objective or Line()
    return fit(objective, schedule=schedule, folder=folder, name="line", **more)


def test_a_known_line_is_found_and_the_average_is_what_comes_back(tmp_path):
    model, outcome = line(tmp_path)
    assert abs(model.weight.item() - 3) < 0.05
    assert outcome.samples == 32 * outcome.steps == QUICK.samples


def test_a_finished_stage_is_not_trained_again(tmp_path):
    first, _ = line(tmp_path)
    again, outcome = line(tmp_path, objective=Line(stop_at=0))
    assert outcome.samples == QUICK.samples
    torch.testing.assert_close(first.weight, again.weight)


def test_a_killed_stage_ends_where_an_uninterrupted_one_does(tmp_path):
    """Weights, average, moments, the schedule's place and the random draws are all kept."""
    whole, _ = line(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        line(tmp_path / "killed", objective=Line(stop_at=40), checkpoint_every=0.0)
    assert placed(tmp_path / "killed" / CHECKPOINT)["step"] == 40
    resumed, _ = line(tmp_path / "killed")
    assert torch.equal(resumed.weight, whole.weight)


def test_more_samples_go_on_from_where_the_rate_was_still_held(tmp_path):
    line(tmp_path)
    longer = replace(QUICK, samples=2 * QUICK.samples)
    assert placed(tmp_path / HELD)["samples"] == QUICK.falls_at
    assert begin_at(tmp_path, QUICK) == CHECKPOINT
    assert begin_at(tmp_path, longer) == HELD
    objective = Line()
    line(tmp_path, longer, objective)
    assert objective.seen[0][0] == QUICK.falls_at // 32
    whole, _ = line(tmp_path / "whole", longer)
    torch.testing.assert_close(objective.seen[-1][1], whole.weight.item(), rtol=1e-3, atol=1e-3)


def test_a_kill_while_the_rate_falls_goes_on_from_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        line(tmp_path, objective=Line(stop_at=140), checkpoint_every=0.0)
    assert begin_at(tmp_path, QUICK) == CHECKPOINT


def test_a_loss_that_explodes_stops_the_stage_by_name(tmp_path):
    with pytest.raises(FloatingPointError, match="line: the loss became nan.*learning rate"):
        line(tmp_path, objective=Line(spoil=float("nan")))


def test_a_report_that_fails_does_not_end_the_training(tmp_path):
    def broken(model, samples, minutes):
        raise OSError("disk full")

    _, outcome = line(tmp_path, report=broken, report_every=0.0)
    assert outcome.samples == QUICK.samples


def test_a_rehearsal_keeps_nothing(tmp_path):
    with pytest.raises(Stopped) as ended:
        line(tmp_path, limit=Limit(0.0, keep=False))
    assert ended.value.outcome.steps == 1
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_stage_stopped_at_its_limit_ends_where_an_uninterrupted_one_does(tmp_path):
    whole, _ = line(tmp_path / "whole")
    with pytest.raises(Stopped, match="^32 samples"):
        line(tmp_path / "stopped", limit=Limit(0.0))
    resumed, _ = line(tmp_path / "stopped", limit=Limit(1000.0))
    assert torch.equal(resumed.weight, whole.weight)


def test_the_rate_rises_is_held_and_falls_to_nothing():
    schedule = Schedule(samples=1000, learning_rate=2.0, warmup=100, decay=0.2)
    assert schedule.rate(50) == pytest.approx(1.0)
    assert schedule.rate(100) == schedule.rate(799) == 2.0
    assert schedule.rate(850) == pytest.approx(2.0 * (1 - 0.25**0.5))
    assert schedule.rate(1000) == schedule.rate(2000) == 0.0


def test_the_corpus_holds_the_very_pictures_and_words_of_its_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "CHUNK", 3)
    drawn = corpora.draw(tmp_path, count=5, workers=1)
    assert len(drawn) == 5
    for i in (0, 4):
        quiet, loud = draw_pair(i, "train"), draw_pair(i, "train", leak=1.0)
        np.testing.assert_array_equal(drawn.source[i], render(quiet.source))
        np.testing.assert_array_equal(drawn.target[i], render(quiet.target))
        np.testing.assert_array_equal(drawn.leaked[i], render(loud.target))
        assert drawn.rows[i]["instruction"] == quiet.instruction
    before, after = drawn.labels
    assert before.sum(axis=1).tolist() == [len(row["source_labels"]) for row in drawn.rows]
    assert after.any() and corpora.Corpus(tmp_path, first=2).source.shape[0] == 2


def test_a_text_to_image_unet_is_the_editor_that_sees_no_image():
    torch.manual_seed(0)
    wide = unets.build(32, 8, 4).eval()
    small = unets.narrow(wide).eval()
    x, context = torch.randn(2, 4, 16, 16), torch.randn(2, 5, 32)
    with torch.no_grad():
        expected = wide(torch.cat([x, torch.zeros_like(x)], dim=1), 500, context).sample
        found = small(x, 500, context).sample
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_whitened_latents_are_decorrelated_and_decode_to_the_same_picture():
    torch.manual_seed(0)
    model = autoencoder.build(4).eval()
    x = torch.rand(8, 3, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        before = model.encode(x).latent_dist.mean
        picture = model.decode(before).sample
        white = autoencoder.whitened(model, x, power=0.5)
        posterior = white.encode(x).latent_dist
        flat = posterior.mean.movedim(1, -1).flatten(0, -2)
        again = white.decode(posterior.mean).sample
    torch.testing.assert_close(flat.T.cov(), torch.eye(4), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(flat.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(again, picture, rtol=1e-3, atol=1e-3)
    assert white.config.scaling_factor == 1.0


def test_an_edited_region_has_its_share_of_the_loss_however_small():
    source = torch.zeros(1, 3, SIZE, SIZE)
    target = source.clone()
    target[..., :8, :16] = 1.0
    weight = autoencoder.weights(source, target)
    inside = weight[..., :8, :16].sum() / weight.sum()
    area = 8 * 16 / SIZE**2
    want = autoencoder.SMALL_WEIGHT + (1 - autoencoder.SMALL_WEIGHT) * area
    assert inside.item() == pytest.approx(0.3 * min(20 * area, 1) + 0.7 * area, rel=0.2)
    assert 0.5 * want < inside.item() < 1.2 * want
    assert torch.equal(autoencoder.weights(source, source), torch.ones_like(weight))


def test_changing_cells_have_their_share_of_an_edits_loss():
    source, target = torch.zeros(2, 8, 16, 16), torch.zeros(2, 8, 16, 16)
    target[0, 3, 2:4, 5:9] = 1.0
    weight = unets.emphasis(source, target, 0.5)
    assert weight[0].mean().item() == pytest.approx(1.0)
    inside = weight[0, 0, 2:4, 5:9].sum() / weight[0].sum()
    assert inside.item() == pytest.approx(0.5 + 0.5 * 8 / 256)
    assert torch.equal(weight[1], torch.ones(1, 16, 16))  # nothing moves: nothing is stressed


@pytest.mark.parametrize("fill", judge.FILLS)
def test_a_fill_spoils_what_lies_inside_and_nothing_else(fill):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, SIZE, SIZE, generator=generator) * 2 - 1
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[20:40, 10:30] = True
    out = judge.filled(x, mask, fill, generator)
    assert torch.equal(out[:, ~mask], x[:, ~mask])
    moved = (out - x).abs().amax(dim=0)[mask] > 0.01
    assert 0.3 < moved.float().mean() and (fill == "half") == (moved.float().mean() < 0.8)


def test_a_caption_is_altered_in_one_state_of_the_same_thing():
    import random

    for seed in range(20):
        other = clip.altered("a happy dog and a red car on the beach", random.Random(seed))
        assert other in (
            "a sad dog and a red car on the beach",
            *(f"a happy dog and a {c} car on the beach" for c in ("blue", "yellow", "green")),
        )
    assert clip.altered("a fox on the beach", random.Random(0)) is None


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    """A corpus of a few pairs and a setup that trains for two steps."""
    work = tmp_path_factory.mktemp("miniature")
    drawn = corpora.draw(work / "pairs", count=12, workers=1)
    return Setup(
        drawn,
        work / "stage",
        work / "models",
        torch.device("cpu"),
        samples=8,
        batch=4,
        leak=0.5,
        scenes=12,
    )


def test_a_decoder_trained_on_leaves_the_latents_as_they_are(little):
    setup = replace(little, work=little.work.parent / "own" / "decoder", samples=200, rate=3e-3)
    torch.manual_seed(0)
    vae = autoencoder.build(4)
    save_half(vae, setup.parts / "vae")
    before = AutoencoderKL.from_pretrained(setup.parts / "vae").eval()
    assert autoencoder.train_decoder(setup).samples == 200
    after = AutoencoderKL.from_pretrained(setup.parts / "vae").eval()
    x = tensor(setup.corpus.source[:4])
    with torch.no_grad():
        latents = before.encode(x).latent_dist.mode()
        assert torch.equal(latents, after.encode(x).latent_dist.mode())
        near, far = ((vae.decode(latents).sample - x).abs().mean() for vae in (after, before))
    assert near < 0.8 * far


@pytest.mark.slow
def test_the_chain_leaves_pipelines_that_stock_diffusers_loads(little, monkeypatch):
    monkeypatch.setattr(monitor, "edits", lambda: [draw_pair(i, "validation") for i in range(4)])
    for stage, train in (
        ("autoencoder", autoencoder.train),
        ("decoder", autoencoder.train_decoder),
        ("clip", clip.train),
        ("joint", unets.train_joint),
        ("text-to-image", unets.train_text_to_image),
        ("instruct-pix2pix", unets.train_instruct),
    ):
        setup = replace(little, work=little.work.parent / stage)
        assert train(setup).samples == 8, stage
    editor = StableDiffusionInstructPix2PixPipeline.from_pretrained(
        little.models / "instruct-pix2pix", safety_checker=None, requires_safety_checker=False
    )
    picture = editor(
        "make the car red", image=[corpora.draw(little.work.parent / "pairs", count=12).source[0]],
        num_inference_steps=2, output_type="np",
    ).images  # fmt: skip
    assert picture.shape == (1, SIZE, SIZE, 3) and np.isfinite(picture).all()
    painter = StableDiffusionPipeline.from_pretrained(
        little.models / "text-to-image", safety_checker=None, requires_safety_checker=False
    )
    assert painter.unet.config.in_channels == painter.vae.config.latent_channels
    for path in little.models.rglob("*.json"):
        assert "_name_or_path" not in path.read_text(), path
    differences_of_the_leak_editors_load(little)


def differences_of_the_leak_editors_load(little):
    """The differences written after a trial run lead back to the editors that it trained."""
    for name in chain.VARIANTS:
        words = name.split("-")
        share = float(words[words.index("leak") + 1]) if "leak" in words else 0.5
        seed = int(words[words.index("seed") + 1]) if "seed" in words else 0
        setup = replace(little, work=little.work.parent / name, leak=share, seed=seed)
        unets.train_instruct(setup, name=name)
    files = leak.write(little.models)
    assert len(files) == 7
    base = load(str(little.models))
    start = load_variant(base, little.models / leak.START)
    for seed in leak.TRAININGS:
        for share in leak.LEAKS:
            found = load_variant(start, little.models / leak.file_of(share, seed)).instruct.unet
            own = f"-leak-{share:g}" * (share != 0.5) + f"-seed-{seed}" * bool(seed)
            trained = unets.loaded(little.models / f"instruct-pix2pix{own}").unet
            for (name, one), other in zip(
                found.state_dict().items(), trained.state_dict().values(), strict=True
            ):
                step = (other - start.instruct.unet.state_dict()[name]).abs().max() / 7 + 1e-3
                assert (one - other).abs().max() <= step, name


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


def test_a_strip_comes_back_from_the_monitors_picture():
    rng = np.random.default_rng(0)
    strips = [[rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for _ in range(3)] for _ in range(6)]
    page = monitor.sheet(strips)
    assert page.size == (792, 132)  # as in the pictures that the repository keeps
    for number, strip in enumerate(strips):
        for ours, theirs in zip(monitor.strip_of(page, number), strip, strict=True):
            assert (ours == theirs).all()
