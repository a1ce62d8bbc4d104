"""The live explorer's Python half: a run is the methods' own, interventions do what they say."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cirp.attention.site import TEXT, Site
from cirp.diffusion.tasks import Task
from cirp.explorer import widget
from cirp.explorer.runs import Request, Weigh, average, region_of, run, snippet, tokens_of
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


def test_maps_are_shares_and_an_average_is_their_mean(models, task):
    seen = []
    run(models, task, asked(), on_step=seen.append)
    count = len(tokens_of(models.instruct.tokenizer, "make it red"))
    for maps in seen[0].maps.values():
        assert maps.shape[0] == count == 5 and maps.min() >= 0
        assert (maps.sum(axis=0) <= 1 + 1e-5).all()  # padding has the rest
    mean = average([one.maps for one in seen])
    for layer, maps in mean.items():
        np.testing.assert_allclose(maps, sum(one.maps[layer] for one in seen) / 3, rtol=1e-5)


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

    def ask(self, kind, **more):
        request = {"item": self.explorer.items[0]["id"], "instruction": "make it red", "steps": 2}
        self.explorer._told(None, {"kind": kind, "request": request | more}, [])
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
    cells = sum(one["rows"] * one["columns"] for one in content["layers"])
    assert len(buffers[0]) == 4 * 5 * cells and buffers[1][:4] == b"\x89PNG"
    said.messages.clear()
    said.ask("run", steps=200)
    said.kinds("step")
    said.explorer._told(None, {"kind": "cancel"}, [])
    assert said.kinds("cancelled")[-1] == "cancelled"


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
