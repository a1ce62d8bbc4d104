"""Words are aligned as by hand; attention is replaced where and when it is said; masks hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cirp.attention.alignment import alignment, changed, matched, read
from cirp.attention.control import Control
from cirp.attention.site import NEITHER, TEXT, Site
from cirp.diffusion.ddim_inversion import ddim, remaining
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode, encode
from cirp.diffusion.tasks import Task
from cirp.methods import p2p
from cirp.methods.p2p import BRANCHES, SOURCE, ReplaceCross, Reweight, blend_mask, coarse
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd, tiny_tokenizer

SIDE = 32  # pixels, 8 latent cells
FAST = dict(steps=5, progress=False)  # of which four are run


@pytest.fixture(scope="module")
def models() -> Models:
    text = tiny_sd(sample_size=8)
    text.unet.conv_out.weight.data *= 0.1  # so that an inversion can be exact
    return Models("tiny", tiny_ip2p(sample_size=8), text, "tiny-fingerprint")


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


def round_trip(models, image):
    return decode(encode([image], models) * models.vae.config.scaling_factor, models)[0]


class Spy(Control):
    """Keeps every map, by layer and time."""

    def __init__(self, *, cross: bool) -> None:
        self.cross, self.seen = cross, {}

    def wants(self, site: Site) -> bool:
        return site.is_cross == self.cross

    def on_probs(self, probs, site):
        self.seen[site.layer, site.timestep] = (site, probs.clone())
        return probs


# --- alignment


def pairs(source: str, target: str, length: int = 12) -> dict[int, list[tuple[int, float]]]:
    """Target position -> the source positions it is given, with their shares."""
    tokenizer = tiny_tokenizer()
    mapper = alignment(read(tokenizer, source), read(tokenizer, target), length)
    return {
        new: [(old, float(mapper[old, new])) for old in mapper[:, new].nonzero().flatten().tolist()]
        for new in range(length)
    }


def same(positions) -> dict[int, list[tuple[int, float]]]:
    return {p: [(p, 1.0)] for p in positions}


def test_captions_of_equally_many_words_are_aligned_word_by_word():
    assert pairs("a red car", "a blue car") == same(range(12))
    assert pairs("a red car", "a red car") == same(range(12))
    assert pairs("red car", "car red") == same(range(12))  # by place, as the reference


def test_a_longer_word_shares_its_counterparts_attention():
    tokenizer = tiny_tokenizer()
    count = len(tokenizer("zyzzogeton").input_ids) - 2
    assert count > 1
    found = pairs("a red car", "a zyzzogeton car", 20)
    # begin, a, [the word], car, end; then padding from where both have it
    expected = {0: 0, 1: 1, count + 2: 3, count + 3: 4}
    assert {new: old for new, old in found.items() if new < count + 4} == {
        **{new: [(old, 1.0)] for new, old in expected.items()},
        **{new: [(2, pytest.approx(1 / count))] for new in range(2, 2 + count)},
    }
    assert {new: old for new, old in found.items() if new >= count + 4} == same(
        range(count + 4, 20)
    )


def test_captions_of_more_words_are_refined():
    # begin a dog end | begin a dog with a hat end
    found = pairs("a dog", "a dog with a hat", 9)
    assert found == same((0, 1, 2, 7, 8)) | {3: [], 4: [], 5: [], 6: [(3, 1.0)]}
    # and less: the source's own padding begins later, at 7
    found = pairs("a dog with a hat", "a dog", 9)
    assert found == same((0, 1, 2, 7, 8)) | {3: [(6, 1.0)], 4: [], 5: [], 6: []}


def test_punctuation_belongs_to_no_word_and_is_aligned_by_itself():
    assert pairs("dog, cat", "dog, car", 8) == same(range(8))
    assert pairs("dog cat", "dog, cat", 8) == same((0, 1, 5, 6, 7)) | {
        2: [], 3: [(2, 1.0)], 4: [(3, 1.0)]
    }  # fmt: skip


def test_matching_keeps_the_order():
    assert matched("abcd", "xbcy") == [None, 1, 2, None]
    assert matched("", "ab") == [None, None] and matched("ab", "") == []


@pytest.mark.parametrize(
    "source, target, gone, new",
    [
        ("a red car", "a blue car", [2], [2]),
        ("a dog", "a dog with a hat", [], [5]),
        ("a dog with a hat", "a dog", [5], []),
        ("a dog", "a dog", [], []),
        ("a dog on a table", "a dog in a table", [3], [3]),  # nothing else differs
    ],
)
def test_the_words_that_differ(source, target, gone, new):
    tokenizer = tiny_tokenizer()
    assert changed(tokenizer, read(tokenizer, source), read(tokenizer, target)) == (gone, new)


# --- controls


def site(cross: bool = True, timestep: float = 1.0) -> Site:
    return Site("layer.attn2", cross, timestep, (2, 2), BRANCHES, 2)


def test_replacing_and_refining_by_hand():
    probs = torch.rand(6, 3, 4, 5, generator=torch.manual_seed(0)).softmax(-1)
    mappers = torch.zeros(2, 5, 5)
    mappers[0] = torch.eye(5)  # image 0: all of it
    mappers[1, 3, 1] = 1.0  # image 1: target token 1 from source token 3
    mappers[1, 0, 2] = mappers[1, 4, 2] = 0.5  # and 2 from the mean of 0 and 4
    out = ReplaceCross(mappers, [1.0]).on_probs(probs, site())
    torch.testing.assert_close(out[site().rows(NEITHER)], probs[:2], rtol=0, atol=0)
    torch.testing.assert_close(out[site().rows(SOURCE)], probs[4:], rtol=0, atol=0)
    torch.testing.assert_close(out[2], probs[4])
    torch.testing.assert_close(out[3][..., 1], probs[5][..., 3])
    torch.testing.assert_close(out[3][..., 2], (probs[5][..., 0] + probs[5][..., 4]) / 2)
    for kept in (0, 3, 4):
        assert torch.equal(out[3][..., kept], probs[3][..., kept])


def test_weights_multiply_columns_of_the_target_and_nothing_is_renormalised():
    probs = torch.rand(6, 3, 4, 5, generator=torch.manual_seed(0)).softmax(-1)
    weights = torch.ones(2, 5)
    weights[1, 2] = 2.0
    out = Reweight(weights, [1.0]).on_probs(probs, site())
    expected = probs.clone()
    expected[3][..., 2] *= 2
    assert torch.equal(out, expected)


def test_each_control_wants_its_own_sites():
    crossing = ReplaceCross(torch.eye(5).repeat(2, 1, 1), [1.0])
    assert crossing.wants(site()) and not crossing.wants(site(timestep=2.0))
    assert not crossing.wants(site(cross=False))


def test_attention_is_the_sources_in_the_first_steps_only(models):
    spy = Spy(cross=True)
    p2p.edit(models, [task()], cross_replace=0.5, equalizer=1.0, controls=[spy], **FAST)
    mine = ddim(models.text, 5)
    times = remaining(mine, 0.8).tolist()
    assert {time for _, time in spy.seen} == set(times)  # and nothing of the inversion
    for (_, time), (where, probs) in spy.seen.items():
        target, source = probs[where.rows(TEXT)], probs[where.rows(SOURCE)]
        if time in times[:2]:
            torch.testing.assert_close(target, source)
        else:
            assert (target - source).abs().max() > 1e-4


def test_self_attention_is_the_sources_at_low_resolution_only(models):
    spy = Spy(cross=False)
    low = set(coarse(models.text.unet))
    p2p.edit(models, [task()], self_replace=0.5, controls=[spy], **FAST)
    times = remaining(ddim(models.text, 5), 0.8).tolist()
    for (layer, time), (where, probs) in spy.seen.items():
        assert (layer in low) == (probs.shape[2] <= 16)  # 64 cells, halved once
        target, source = probs[where.rows(TEXT)], probs[where.rows(SOURCE)]
        if layer in low and time in times[:2]:
            assert torch.equal(target, source)
        elif time != times[0]:  # there all begin with the same latents
            assert not torch.equal(target, source)


def test_refining_keeps_what_new_words_attend_to(models):
    """What a spy before the method's own controls would see is the same without them."""
    spies = {share: Spy(cross=True) for share in (0.0, 0.25)}
    one = task("a dog", "a dog with a hat")
    for share, spy in spies.items():
        p2p.edit(
            models, [one], cross_replace=share, self_replace=0, equalizer=1.0, local_blend=False,
            controls=[spy], **FAST,
        )  # fmt: skip
    time = remaining(ddim(models.text, 5), 0.8).tolist()[0]
    first = next(key for key in spies[0.0].seen if key[1] == time)  # the input is the same there
    where, plain = spies[0.0].seen[first]
    _, refined = spies[0.25].seen[first]
    target, source = where.rows(TEXT), where.rows(SOURCE)
    own, shared = [3, 4, 5], [0, 1, 2]
    assert torch.equal(refined[target][..., own], plain[target][..., own])
    torch.testing.assert_close(refined[target][..., shared], plain[source][..., shared])
    assert (plain[target][..., shared] - plain[source][..., shared]).abs().max() > 1e-4


def test_the_weight_reaches_the_target_words_alone(models):
    spies = {weight: Spy(cross=True) for weight in (1.0, 2.0)}
    one = task("a red car", "a blue car", target_words=("car",))
    for weight, spy in spies.items():
        p2p.edit(models, [one], equalizer=weight, controls=[spy], **FAST)
    first = next(iter(spies[1.0].seen))
    where, plain = spies[1.0].seen[first]
    _, weighted = spies[2.0].seen[first]
    plain = plain.clone()
    plain[where.rows(TEXT)][..., 3] *= 2
    assert torch.equal(weighted, plain)


# --- blending and the whole


def test_the_mask_for_blending_by_hand():
    maps = torch.zeros(2, 6, 8)
    maps[0, 1, 1] = 1.0
    maps[0, 4, 6] = 0.3  # not over the threshold
    maps[1, 4, 4] = 5.0  # another map has its own maximum
    expected = torch.zeros(6, 8)
    expected[0:3, 0:3] = expected[3:6, 3:6] = 1
    assert torch.equal(blend_mask(maps, (6, 8), 0.3), expected)
    larger = expected.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(blend_mask(maps, (12, 16), 0.3), larger)
    assert not blend_mask(torch.zeros(1, 2, 2), (2, 2), 0.3).any()


def test_nothing_to_edit_is_the_round_trip_of_the_autoencoder(models):
    one = task("a red car", "a red car")
    (made,) = p2p.edit(models, [one], **FAST)
    assert np.abs(array(made.image) - array(round_trip(models, one.image))).max() <= 1
    assert not array(made.mask).any()
    for exact in (True, False):
        (made,) = p2p.edit(
            models, [one], text_scale=1.0, equalizer=1.0, inversion_iterations=15, exact=exact,
            local_blend=False, **FAST,
        )  # fmt: skip
        assert np.abs(array(made.image) - array(round_trip(models, one.image))).max() <= 1
        assert made.mask is None
        assert made.unet_calls == 4 * (15 + 3)


def latents_of(models, monkeypatch, tasks, **settings):
    """The last latents of an edit and those of the clean source."""
    kept = []

    def keep(latents, models):
        kept.append(latents)
        return decode(latents, models)

    monkeypatch.setattr(p2p, "decode", keep)
    made = p2p.edit(models, tasks, **settings, **FAST)
    clean = encode([task.image for task in tasks], models) * models.vae.config.scaling_factor
    return kept[0], clean, made


@pytest.mark.parametrize("region", ["found", "given"])
def test_outside_the_mask_the_latents_are_the_sources(models, monkeypatch, region):
    one = task(mask=left())
    settings = dict(region=region, threshold=0.8)
    last, clean, (made,) = latents_of(models, monkeypatch, [one], **settings)
    mask = torch.from_numpy(array(made.mask)[::4, ::4] > 0)
    assert 0 < mask.sum() < mask.numel()
    assert torch.equal(last[..., ~mask], clean[..., ~mask])
    assert (last[..., mask] - clean[..., mask]).abs().min() > 0
    if region == "given":
        assert torch.equal(mask, torch.from_numpy(left()[::4, ::4]))


def test_the_inversion_matters_unless_it_is_exact(models, monkeypatch):
    one = task("a red car", "a red car")
    last, clean, _ = latents_of(models, monkeypatch, [one], exact=False, inversion_iterations=1)
    assert (last - clean).abs().max() > 1e-3  # the mask is empty: this is the source's own error


@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE, 24)])
def test_an_image_is_the_same_in_any_batch(models, size):
    tasks = [
        task(image=painted(*size)),
        task("a dog", "a dog with a hat", seed=1, image=painted(*size, seed=1)),
    ]
    together = p2p.edit(models, tasks, batch_size=2, **FAST)
    for one, made in zip(tasks, together, strict=True):
        (alone,) = p2p.edit(models, [one], **FAST)
        assert made.image.size == size
        assert np.abs(array(made.image) - array(alone.image)).max() <= 1
        assert made.mask == alone.mask


def test_nothing_stays_behind(models):
    before = dict(models.text.unet.attn_processors)
    p2p.edit(models, [task()], **FAST)
    assert models.text.unet.attn_processors == before


@pytest.mark.parametrize(
    "settings, complaint",
    [
        (dict(steps=0), "steps=0"),
        (dict(strength=0.0), "strength"),
        (dict(cross_replace=1.5), "cross_replace=1.5"),
        (dict(self_replace=-0.1), "self_replace=-0.1"),
        (dict(threshold=2.0), "threshold=2.0"),
        (dict(equalizer=-1.0), "equalizer=-1"),
        (dict(inversion_iterations=0), "iterations"),
        (dict(region="elsewhere"), "region='elsewhere'; input should be 'found' or 'given'"),
        (dict(region="given"), "has no mask"),
    ],
)
def test_bad_settings_end_in_one_error(models, settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        p2p.edit(models, [task()], **(FAST | settings))


def test_bad_tasks_end_in_one_error(models):
    refused = {
        "no source_caption": task(None),
        "no target_caption": replace(task(), caption=None),
        "'dog' is not in": task(target_words=("dog",)),
        "tokens": task("a red car " * 40),
    }
    for complaint, one in refused.items():
        with pytest.raises(ValueError, match=complaint):
            p2p.edit(models, [one], **FAST)
    with pytest.raises(ValueError, match="local_blend"):
        p2p.edit(models, [task(mask=left())], region="given", local_blend=False, **FAST)
