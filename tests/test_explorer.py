"""The live explorer's Python half: a run is the methods' own, interventions do what they say."""

import dataclasses
import io
import math
import time

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from cirp.attention.site import NEITHER, TEXT, Site
from cirp.diffusion.tasks import Task
from cirp.explorer import widget
from cirp.explorer.maps import Freeze, KeepMaps, LastMaps, Weigh, frozen_layers, mean
from cirp.explorer.messages import png
from cirp.explorer.runs import Request, region_of, run, snippet, tokens_of
from cirp.figures.explorers import as_text
from cirp.methods import METHODS


@pytest.fixture
def task(items):
    return Task(items[0].source(), "make it red", "a red dog", 3, key="k")


def asked(**more):
    return Request(**{"item": "0", "instruction": "make it red", "steps": 3, "seed": 3} | more)


def pixels(image):
    return np.asarray(image).astype(int)


def test_a_plain_run_is_the_baselines_own_bit_for_bit(models, task):
    seen = []
    made = run(models, task, asked(text_scale=4.0), on_step=seen.append)
    (theirs,) = METHODS["ip2p"](models, [task], steps=3, text_scale=4.0, progress=False)
    assert made.tobytes() == theirs.image.tobytes()
    assert [one.step for one in seen] == [0, 1, 2]
    assert pixels(seen[-1].picture).shape == pixels(made).shape


def test_held_everywhere_it_is_held_as_the_instrument_holds_it(models, task):
    width, height = task.image.size
    half = np.zeros((height, width), bool)
    half[:, : width // 2] = True
    region = "".join("1" if m else "0" for m in half.flat)
    made = run(models, task, asked(region=region, gate=True, keep=True, hold=True))
    told = dataclasses.replace(task, mask=half)
    (theirs,) = METHODS["held"](
        models, [told], steps=3, text_scale=2.5, guidance_held=True, cross_held=True,
        latents_held=True, progress=False,
    )  # fmt: skip
    assert made.tobytes() == theirs.image.tobytes()
    over = run(models, task, asked(region=region, gate=True, paste=True))
    assert (pixels(over)[~half] == pixels(task.image)[~half]).all()


def test_from_the_noised_input_it_is_the_noisy_inputs_own_bit_for_bit(models, task):
    seen = []
    made = run(models, task, asked(steps=6, strength=0.5, text_scale=9.0), on_step=seen.append)
    (theirs,) = METHODS["noisy"](
        models, [task], variant="instruct-pix2pix", prompt="instruction", steps=6, strength=0.5,
        text_scale=9.0, progress=False,
    )  # fmt: skip
    assert made.tobytes() == theirs.image.tobytes()
    assert [(one.step, one.steps) for one in seen] == [(0, 3), (1, 3), (2, 3)]
    shown = run(models, task, asked(steps=6, strength=0.5, text_scale=9.0, image_scale=4.0))
    assert shown.tobytes() == made.tobytes()  # nothing stands beside


def test_from_the_noised_input_what_is_held_everywhere_is_the_input(models, task):
    """The whole picture is outside of the region: after the last step it is the clean source."""
    width, height = task.image.size
    request = asked(steps=8, strength=0.4, region="0" * width * height, hold=True)
    seen = []
    made = run(models, task, request, on_step=seen.append)
    (trip,) = METHODS["round trip"](models, [task], progress=False)
    assert made.tobytes() == trip.image.tobytes() and len(seen) == 3
    # and each step goes on from the source at its own noise: no step may start from a cleaner one
    keep, free = KeepMaps(), KeepMaps()
    run(models, task, request, keep=keep)
    run(models, task, asked(steps=8, strength=0.4), keep=free)
    assert all(keep.steps[0][name].equal(free.steps[0][name]) for name in keep.steps[0])


def test_a_strength_that_leaves_no_step_is_refused():
    with pytest.raises(ValidationError, match=r"strength 0.2 of 3 steps leaves no step"):
        asked(strength=0.2)


def test_maps_are_shares_of_each_branch_and_head_or_their_mean(models, task):
    real = dataclasses.replace(models, name="real")
    assert models.is_miniature and not real.is_miniature
    count = len(tokens_of(models.instruct.tokenizer, "make it red"))
    for own, branches in ((models, 3), (real, 1)):
        seen = []
        run(own, task, asked(), on_step=seen.append)
        for maps in seen[0].maps.values():
            assert maps.shape[0] == branches and maps.shape[2] == count + 1 == 6
            assert maps.min() >= 0 and np.abs(maps.sum(axis=2) - 1).max() < 1e-5  # with padding
            assert branches == 3 or maps.shape[1] == 1
        for layer, one in mean(seen[-1].maps).items():
            np.testing.assert_allclose(one, seen[-1].maps[layer][0].sum(axis=0) / maps.shape[1])


def test_the_branches_are_told_apart_and_each_head_is_its_own():
    torch.manual_seed(0)
    probs = torch.rand(3, 2, 4, 6).softmax(-1)
    last = LastMaps(5)
    last.on_probs(probs, Site("x.attn2", True, 500.0, (2, 2)))
    (maps,) = last.maps.values()
    assert maps.shape == (3, 2, 5 + 1, 2, 2)
    assert maps[1, 1, 3].ravel().tolist() == probs[1, 1, :, 3].tolist()
    assert maps[1, 1, 5].ravel().tolist() == probs[1, 1, :, 5].tolist()
    few = LastMaps(2)
    few.on_probs(probs, Site("x.attn2", True, 500.0, (2, 2)))
    np.testing.assert_allclose(few.maps["x.attn2"][0, 0, 2].ravel(), probs[0, 0, :, 2:].sum(-1))
    last.on_probs(probs[:2], Site("x.attn2", True, 500.0, (2, 2), branches=(NEITHER, TEXT)))
    (maps,) = last.maps.values()  # of a text-to-image model: the text first, here too
    assert maps[0, 0, 3].ravel().tolist() == probs[1, 0, :, 3].tolist()


def test_a_run_frozen_to_itself_is_itself_and_to_another_attends_like_it(models, task):
    keep = KeepMaps()
    plain = run(models, task, asked(), keep=keep)
    layers = tuple(range(len(keep.steps[0])))
    again = run(models, task, asked(freeze=layers), before=keep.steps)
    assert np.abs(pixels(again) - pixels(plain)).max() <= 1
    other = asked(instruction="draw a blue cat", freeze=layers)
    held, seen = KeepMaps(), []
    blue = dataclasses.replace(task, instruction=other.instruction)
    run(models, blue, other, before=keep.steps, keep=held, on_step=seen.append)
    for ours, theirs in zip(held.steps, keep.steps, strict=True):
        assert all(ours[name].equal(theirs[name]) for name in theirs)
    free = KeepMaps()
    one = asked(instruction=other.instruction, freeze=(1,))
    run(models, blue, one, before=keep.steps, keep=free)
    names = list(keep.steps[0])
    assert free.steps[0][names[1]].equal(keep.steps[0][names[1]])
    assert not free.steps[0][names[0]].equal(keep.steps[0][names[0]])


def test_freezing_touches_the_text_branch_alone():
    probs, other = torch.rand(3, 2, 4, 6), torch.rand(1, 2, 4, 6)
    site = Site("x.attn2", True, 500.0, (2, 2))
    frozen = Freeze([{"x.attn2": other}], ["x.attn2"])
    frozen.begin()
    changed = frozen.on_probs(probs, site)
    assert changed[:1].equal(other) and changed[1:].equal(probs[1:])
    assert not frozen.wants(dataclasses.replace(site, layer="y.attn2"))


@pytest.mark.parametrize(
    ("kept", "numbers", "words"),
    [([], (0,), "no run before"), ([{}] * 2, (0,), "had 2 steps; freezing 3"),
     ([{"a": torch.zeros(1, 2, 4, 6)}] * 3, (1,), "no layer 1 to freeze; there are 0 to 0")],
)  # fmt: skip
def test_what_cannot_be_frozen_is_one_line(kept, numbers, words):
    with pytest.raises(ValueError, match=words):
        frozen_layers(kept, numbers, 3)


def test_weights_and_swaps_touch_the_text_branch_alone():
    torch.manual_seed(0)
    probs = torch.rand(3, 2, 4, 6).softmax(-1)
    site = Site("x.attn2", True, 500.0, (2, 2))
    changed = Weigh({2: 0.0, 3: 4.0}).on_probs(probs, site)
    rows = site.rows(TEXT)
    assert (changed[rows][..., 2] == 0).all()
    torch.testing.assert_close(changed[rows][..., 3], 4 * probs[rows][..., 3])
    torch.testing.assert_close(changed[rows][..., [0, 1, 4, 5]], probs[rows][..., [0, 1, 4, 5]])
    assert changed[1:].equal(probs[1:])
    swapped = Weigh({}, (1, 4)).on_probs(probs, site)
    assert swapped[rows][..., 1].equal(probs[rows][..., 4])
    assert Weigh({}).on_probs(probs, site).equal(probs)


def test_a_muted_word_changes_the_picture(models, task):
    plain, muted = run(models, task, asked()), run(models, task, asked(factors={3: 0.0}))
    assert np.abs(pixels(plain) - pixels(muted)).max() > 0


def test_a_cancelled_run_stops_after_the_step(models, task):
    seen = []
    made = run(models, task, asked(steps=50), on_step=seen.append, cancelled=lambda: len(seen) > 1)
    assert made is None and len(seen) == 2


@pytest.mark.parametrize(
    "wrong",
    [dict(steps=0), dict(text_scale=-1.0), dict(text_scale=float("nan")), dict(factors={1: 9.0}),
     dict(region="01x"), dict(seed=-1), dict(surprise=1), dict(factors={99: 1.0})],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ValidationError):
        asked(**wrong)


def test_regions_and_words_that_do_not_fit_are_one_line(models, task):
    with pytest.raises(ValueError, match="no region; paint one"):
        region_of(asked(gate=True), (8, 8))
    with pytest.raises(ValueError, match="3 pixels on a picture of 8 x 8"):
        region_of(asked(region="010"), (8, 8))
    with pytest.raises(ValueError, match="has no word"):
        tokens_of(models.instruct.tokenizer, "?! 🙂")


class Blind:
    """An extractor that is never asked."""

    has_judge = False
    clip_image = clip_text = dinov2 = dinov2_patches = patch_cover = judge = staticmethod(print)


class Said:
    """An explorer whose messages are kept in place of being sent."""

    def __init__(self, models, items):
        self.explorer = widget.LiveExplorer(models, items, Blind())
        self.messages = []
        self.explorer.send = lambda content, buffers=None: self.messages.append((content, buffers))
        self.explorer._scored = lambda request, made: {"edit success": None}

    def ask(self, kind, *buffers, **more):
        request = {"item": self.explorer.items[0]["id"], "instruction": "make it red", "steps": 2}
        self.explorer._told(None, {"kind": kind, "request": request | more}, list(buffers))
        return self

    def kinds(self, until, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [content["kind"] for content, _ in self.messages]
            if until in found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no {until!r} among {self.messages}")


def test_a_run_is_told_step_by_step_and_a_new_one_takes_its_place(models, items):
    said = Said(models, items)
    assert said.ask("run").kinds("done") == ["begin", "step", "step", "done"]
    content, buffers = said.messages[1]
    sides = ("branches", "heads", "rows", "columns")
    cells = sum(math.prod(one[side] for side in sides) for one in content["layers"])
    assert len(buffers[0]) == 4 * 6 * cells and buffers[1][:4] == b"\x89PNG"
    said.messages.clear()
    said.ask("run", steps=200)
    said.kinds("step")
    said.explorer._told(None, {"kind": "cancel"}, [])
    assert said.kinds("cancelled")[-1] == "cancelled"


def test_an_edit_made_elsewhere_is_repaired_within_the_region_found_or_painted(models, items):
    said = Said(models, items)
    source = np.asarray(items[0].source()).copy()
    height, width = source.shape[:2]
    edited = source.astype(int) + np.random.default_rng(0).integers(-3, 4, source.shape)
    edited[8:24, 8:24] = 255 - source[8:24, 8:24]
    output = png(Image.fromarray(edited.clip(0, 255).astype(np.uint8)))
    inside = np.zeros((height, width), dtype=bool)
    inside[8:24, 8:24] = True
    for more in ({}, {"region": as_text(inside)}):
        said.messages.clear()
        said.ask("repair", output, **more).kinds("repaired")
        content, (came, kept) = said.messages[-1]
        before, after = (one["change outside the region (L1)"] for one in content["scores"])
        assert after < 0.2 * before and content["text"].startswith("not aligned")
        made = np.asarray(Image.open(io.BytesIO(kept)))
        assert (made[40:, 40:] == source[40:, 40:]).all()  # far outside, the picture's own
        assert np.abs(made[10:22, 10:22].astype(int) - edited[10:22, 10:22]).max() <= 1
        found = np.array(list(content["worked"])).reshape(height, width) == "1"
        assert (found & inside).sum() / (found | inside).sum() > (0.99 if more else 0.6)
    said.messages.clear()
    assert "no picture" in said.ask("repair", b"GIF89a").messages[0][0]["text"]


@pytest.mark.parametrize(
    "message",
    [{"kind": "run", "request": {"item": "nowhere", "instruction": "x"}},
     {"kind": "run", "request": {"item": "0", "instruction": "x", "steps": "<img onerror>"}},
     {"kind": "run", "request": None}, {"kind": "tokens", "request": {"item": "0"}}],
)  # fmt: skip
def test_bad_messages_are_answered_in_one_line(models, items, message):
    said = Said(models, items)
    said.explorer._told(None, message, [])
    ((content, _),) = said.messages
    assert content["kind"] == "error" and "\n" not in content["text"]


def test_what_nobody_asks_for_is_not_done(models, items):
    said = Said(models, items)
    for message in ("x", {"kind": "__class__"}, {"kind": "wrong", "request": {}}, {}):
        said.explorer._told(None, message, [])
    assert said.messages == []


def test_the_snippet_says_what_was_chosen():
    text = snippet(asked(factors={2: 0.5}))
    compile(text, "snippet", "exec")
    assert "'factors': {2: 0.5}" in text and "'steps': 3" in text


def test_it_opens_at_what_is_asked_for_or_says_what_there_is(models, items):
    opened = widget.LiveExplorer(models, items, Blind(), item="1", steps=7)
    assert opened.request["item"] == "1" and opened.request["steps"] == 7
    assert "needs a kernel" in opened.still()
    with pytest.raises(ValueError, match="no picture 'x'; there are 0, 1, 2"):
        widget.LiveExplorer(models, items, Blind(), item="x")
    with pytest.raises(ValidationError):
        widget.LiveExplorer(models, items, Blind(), steps=-1)
