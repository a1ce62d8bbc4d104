"""Holding: nothing held is the baseline, all held is remap, and each hold does what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cirp.attention.site import IMAGE, NEITHER, TEXT, Site
from cirp.diffusion.editors import Editor
from cirp.diffusion.pipelines import Models
from cirp.diffusion.text import states
from cirp.editing.constraints import HoldAttention, Mute, gated
from cirp.editing.driver import begin_edit
from cirp.editing.regional import Work
from cirp.experiments import carries, swaps
from cirp.methods import METHODS, blending, held, ip2p, remap
from tests.test_local_methods import FAST, array, box, task
from tests.tiny import tiny_ip2p, tiny_sd

HOLDS = ("guidance_held", "cross_held", "self_held", "latents_held", "paste")


@pytest.fixture(scope="module")
def models():
    return Models("tiny", tiny_ip2p(), tiny_sd(), "own")


def made(models, one, **settings):
    return array(held.edit(models, [one], **settings, **FAST)[0].image)


def test_with_nothing_held_it_is_the_baseline(models):
    (base,) = ip2p.edit(models, [task()], **FAST)
    assert (made(models, task(mask=box())) == array(base.image)).all()


@pytest.mark.parametrize("hold", HOLDS)
def test_within_a_region_that_is_everything_nothing_is_held(models, hold):
    (base,) = ip2p.edit(models, [task()], **FAST)
    everywhere = task(mask=np.ones((64, 64), bool))
    np.testing.assert_allclose(made(models, everywhere, **{hold: True}), array(base.image), atol=1)


def test_what_others_hold_is_what_they_are(models):
    one = task(mask=box())
    own = dict(remap=False, image_until=1.0, paste=False)
    (whole,) = remap.edit(models, [one], region="given", **own, **FAST)
    assert np.abs(made(models, one, latents_held=True) - array(whole.image)).max() <= 1
    (blend,) = blending.edit(models, [one], region="given", **FAST)
    assert (made(models, one, latents_held=True) == array(blend.image)).all()


@pytest.mark.parametrize("hold", HOLDS)
def test_each_hold_changes_the_picture(models, hold):
    one = task(mask=box())
    assert (made(models, one, **{hold: True}) != made(models, one)).any()


def test_no_region_and_gated_guidance_is_no_instruction(models):
    nowhere = task(mask=np.zeros((64, 64), bool))
    still = made(models, nowhere, guidance_held=True)
    assert (still == made(models, nowhere, text_scale=0.0)).all()
    other = replace(nowhere, instruction="remove the dog", words=("dog",))
    # the words are still read, but do not count
    assert (still == made(models, other, guidance_held=True)).all()


def test_an_even_dose_is_the_masks_mean_everywhere(models):
    one = task(mask=box())
    masks = held.dosed(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), "even")
    assert masks.tolist() == [[[0.25, 0.25], [0.25, 0.25]]]
    scale = float(box().reshape(16, 4, 16, 4).any((1, 3)).mean()) * 7.5
    even = made(models, one, guidance_held=True, dose="even")
    np.testing.assert_allclose(even, made(models, one, text_scale=scale), atol=1)


def test_gated_guidance_is_the_equation():
    e = {b: torch.rand(1, 2, 1, 2) for b in (TEXT, IMAGE, NEITHER)}
    found = gated(torch.tensor([[[1.0, 0.5]]]), Editor(None), text_scale=4.0, image_scale=2.0)(e)
    for column, inside in enumerate((1.0, 0.5)):
        t, i, n = (e[b][..., column] for b in (TEXT, IMAGE, NEITHER))
        torch.testing.assert_close(found[..., column], n + 2 * (i - n) + 4 * inside * (t - i))


def test_a_hold_of_self_attention_leaves_the_words_alone():
    control = HoldAttention(torch.tensor([[[1.0, 0.0]]]), cross=False)
    words, cells = (Site(f"x.attn{2 - s}", not s, 500.0, (1, 2)) for s in (0, 1))
    assert not control.wants(words) and control.wants(cells)
    probs = torch.rand(3, 2, 2, 2).softmax(-1)
    found = control.on_probs(probs, cells)
    torch.testing.assert_close(found[0, :, 0], probs[0, :, 0])
    torch.testing.assert_close(found[0, :, 1], probs[1, :, 1])


def test_it_needs_a_region(models):
    with pytest.raises(ValueError, match="has no mask"):
        held.edit(models, [task()], **FAST)


def test_muting_leaves_the_other_tokens_their_shares_also_where_a_muted_one_had_all():
    scores = torch.randn(3, 2, 4, 5)  # rows of text, image, neither; heads; cells; tokens
    scores[0, 0, 0, 1] = 200  # single precision leaves the other tokens of this row nothing
    muted = torch.tensor([[False, True, False, False, True]])
    found = Mute(muted).on_scores(scores, Site("a", True, 500.0, (2, 2))).softmax(dim=-1)
    assert (found[0][..., muted[0]] == 0).all()
    alone = scores[0][..., ~muted[0]].softmax(dim=-1)
    torch.testing.assert_close(found[0][..., ~muted[0]], alone)
    torch.testing.assert_close(found[1:], scores[1:].softmax(dim=-1))


def test_groups_of_tokens_are_disjoint_and_all_there_are(models):
    one = replace(task(mask=box()), instruction="make the dog red", words=("dog",))
    work = Work(models, [one], begin_edit(models, [one]))
    each = [held.muted(work, held.Settings(mute=(group,)))[0] for group in held.GROUPS]
    assert (torch.stack(each).int().sum(dim=0) == 1).all()
    names = models.instruct.tokenizer.convert_ids_to_tokens(
        models.instruct.tokenizer(one.instruction).input_ids
    )
    for group, expected in {"begin": [0], "words": [3], "others": [1, 2, 4], "end": [5]}.items():
        assert each[held.GROUPS.index(group)].nonzero().flatten().tolist() == expected
    assert names[3] == "dog</w>" and len(names) == 6
    plain, without = made(models, one), made(models, one, mute=("end", "padding"))
    assert not np.array_equal(plain, without)
    with pytest.raises(ValueError, match="mute leaves no token"):
        made(models, one, mute=held.GROUPS)


def test_what_carries_an_edit_is_asked_as_it_is_planned():
    cells = list(carries.cells())
    assert len(cells) == 13 * 2 * 2 and len({(c.label, *c.columns.values()) for c in cells}) == 52
    alone = {name: set(held.GROUPS) - set(groups) for name, groups in carries.MUTED.items()}
    assert alone["all but end of text and padding"] == {"end", "padding"}
    assert alone["end of text and padding"] == {"begin", "words", "others"}
    assert [c.label for c in cells if c.in_slice][0] == "muted: nothing"


def test_exchanged_tokens_are_those_of_the_second_instruction(models):
    pipe = models.instruct
    both = ("make the dog red", "take the small yellow boat away")
    own, other = (states([text], pipe) for text in both)
    ends = [tuple(len(pipe.tokenizer(text).input_ids) - 1 for text in both)]
    (first, second) = ends[0]
    assert first < second
    taken = {
        name: swaps.exchanged(own, other, ends, groups) for name, groups in swaps.TAKEN.items()
    }
    assert torch.equal(taken["nothing"], own) and torch.equal(taken["everything"], other)
    words = taken["words"][0]
    assert torch.equal(words[:second], other[0, :second])
    assert torch.equal(words[second], own[0, first])  # its own end of text, behind the words
    assert torch.equal(words[second + 1 :], own[0, second + 1 :])
    mixed = taken["end of text and padding"][0]
    assert torch.equal(mixed[:first], own[0, :first])
    assert torch.equal(mixed[first], other[0, second])
    assert torch.equal(mixed[first + 1], other[0, second + 1])
    assert torch.equal(mixed[second + 1 :], other[0, second + 1 :])


def test_an_edit_that_reads_only_the_second_instruction_is_that_edit(models):
    one = task(mask=box())
    said = "take the small yellow boat away"
    with swaps.reading(models.instruct.unet, states([said], models.instruct)):
        (mixed,) = METHODS["ip2p"](models, [one], steps=2, progress=False)
    (plain,) = METHODS["ip2p"](models, [replace(one, instruction=said)], steps=2, progress=False)
    (own,) = METHODS["ip2p"](models, [one], steps=2, progress=False)
    assert np.array_equal(mixed.image, plain.image) and not np.array_equal(mixed.image, own.image)


def test_a_second_edit_changes_nothing_that_the_first_one_changes():
    found = swaps.EXPERIMENT.items()
    assert len(found) == 39
    for two in found:
        first, second = ({*p.gained, *p.lost} for p in (two.first, two.second))
        assert first and second and not first & second
        assert two.first.source == two.second.source
    assert swaps.second(found[0].first, "test") == found[0].second
