"""Any method in the explorer: its own run, stopped within a step, refused in one line."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from cirp.data.edits import load_edits
from cirp.experiments import cache
from cirp.experiments.drawn import right_answers
from cirp.explorer import by_name
from cirp.explorer.by_name import NAMES, prompt_of, run_method, snippet, task_of
from cirp.explorer.messages import scores_of
from cirp.explorer.runs import Request
from cirp.methods import METHODS
from cirp.metrics.features import load_features
from cirp.metrics.scores import verdict
from cirp.paths import EDITS


@pytest.fixture(scope="module")
def known(miniature):
    (item,) = cache.fitted([i for i in load_edits(EDITS) if i.id == "example-01"], miniature)
    return miniature, item


def asked(item, **more) -> Request:
    given = {"item": item.id, "instruction": item.record.instruction, "steps": 4}
    return Request(**(given | more))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_methods_own_edit(known, name):
    models, item = known
    request = asked(item, method=name, text_scale=4.0)
    seen = []
    made = run_method(models, task_of(item, request), request, on_step=seen.append)
    settings = by_name.settings_of(request)
    (theirs,) = METHODS[name](models, [cache.task(item, 0)], progress=False, **settings)
    assert np.abs(np.asarray(made.image).astype(int) - np.asarray(theirs.image)).max() <= 1
    assert len(seen) == 1 and seen[0].maps
    tokens = {maps.shape[0] for maps in seen[0].maps.values()}
    assert len(tokens) == 1  # as many as its prompt has


@pytest.mark.parametrize("name", NAMES)
def test_a_dial_that_is_in_use_changes_the_run_and_no_other_does(known, name):
    _, item = known
    other = {"text_scale": 9.0, "image_scale": 3.0, "steps": 7, "strength": 0.3}
    plain = by_name.settings_of(asked(item, method=name))
    moved = {
        dial: by_name.settings_of(asked(item, method=name, **{dial: value})) != plain
        for dial, value in other.items()
    }
    assert [dial for dial, does in moved.items() if does] == by_name.dials(name)
    assert by_name.dials(by_name.BASELINE) == list(other)


def test_a_run_is_stopped_within_a_step(known):
    models, item = known
    request = asked(item, method="remap", steps=50)
    calls = []

    def cancelled():
        calls.append(1)
        return len(calls) > 10

    assert run_method(models, task_of(item, request), request, cancelled=cancelled) is None
    assert len(calls) == 11


def test_another_instruction_brings_its_own_words_and_caption(known):
    _, item = known
    own, plain = task_of(item, asked(item)), cache.task(item, 0)
    for name in ("instruction", "caption", "words", "target_words", "source_caption", "seed"):
        assert getattr(own, name) == getattr(plain, name)
    other = task_of(item, asked(item, instruction="make it a pencil sketch"))
    assert other.words == () and "pencil sketch" in other.caption
    lost = task_of(item, asked(item, instruction="do something wild"))
    assert lost.caption is None
    with pytest.raises(ValueError, match="noisy reads a target caption, and none can be written"):
        prompt_of(lost, "noisy")
    assert prompt_of(lost, "wys") == "do something wild"


def test_what_cannot_be_is_refused(known):
    models, item = known
    with pytest.raises(ValidationError, match="unknown method 'melt'"):
        asked(item, method="melt")
    region = "1" * (item.size[0] * item.size[1])
    request = asked(item, method="wys", hold=True, region=region)
    with pytest.raises(ValueError, match="wys holds by itself"):
        run_method(models, task_of(item, request), request)


@pytest.mark.parametrize("name", ["wys", "ip2p"])
def test_the_snippet_makes_the_same_picture_again(known, name):
    models, item = known
    request = asked(item, method=name, text_scale=3.0)
    scope: dict = {}
    exec(snippet(request), scope)  # our own text
    made = scope["edit"].image if name == "wys" else scope["picture"]
    settings = {"steps": 4, "text_scale": 3.0, "image_scale": 1.5}
    (theirs,) = METHODS[name](models, [cache.task(item, 0)], progress=False, **settings)
    assert (np.asarray(made) == np.asarray(theirs.image)).all()


@pytest.mark.parametrize("name", ["ip2p", "wys", "p2p"])
def test_a_plain_run_is_a_few_lines_of_the_public_api(known, name, monkeypatch, tmp_path):
    models, item = known
    request = asked(item, method=name, seed=3)
    monkeypatch.chdir(tmp_path)
    text = by_name.public_snippet(task_of(item, request), request, models.name, item.folder)
    assert len(text.splitlines()) <= 8 and "cirp." in text and "explorer" not in text
    exec(text, {})
    settings = by_name.settings_of(request)
    (theirs,) = METHODS[name](models, [cache.task(item, 3)], progress=False, **settings)
    assert (np.asarray(Image.open("edited.png")) == np.asarray(theirs.image)).all()
    assert by_name.is_one_call(request) and not by_name.is_one_call(asked(item, factors={2: 0.0}))


def test_a_muted_word_reaches_another_method_too(known):
    models, item = known
    plain = asked(item, method="wys")
    muted = asked(item, method="wys", factors={2: 0.0, 3: 0.0, 4: 0.0})
    one, other = (run_method(models, task_of(item, r), r).image for r in (plain, muted))
    assert (np.asarray(one) != np.asarray(other)).any()
    assert dataclasses.is_dataclass(task_of(item, plain)) and torch.is_grad_enabled()


def test_a_painted_region_is_the_methods_region_or_is_refused(known):
    models, item = known
    half = np.zeros(item.size[::-1], bool)
    half[:, :32] = True
    painted = "".join("1" if inside else "0" for inside in half.flat)
    request = asked(item, method="wys", region=painted)
    made = run_method(models, task_of(item, request), request)
    assert np.array_equal(np.asarray(made.mask) > 127, half)
    source = np.asarray(item.source())
    assert np.array_equal(np.asarray(made.image)[~half], source[~half])
    without = asked(item, method="noisy", region=painted)
    with pytest.raises(ValueError, match="works without a region"):
        run_method(models, task_of(item, without), without)


def test_success_is_the_books_in_the_explorer_too(known):
    """The input as it is pleases the judge where labels stay; it is near no right answer."""
    models, item = known
    features = load_features("miniature")
    (right,) = right_answers([item])
    for picture in (item.source(), item.target()):
        said = scores_of(models, item, picture, features, {"success": "edit success"})
        assert said["edit success"] == verdict(item, picture, features, right)["success"]
    assert said["edit success"] == 1
    wrong = Image.new("RGB", item.size, "grey")
    without = verdict(item, wrong, features, None), verdict(item, wrong, features, right)
    assert "nearer" not in without[0] and without[1]["nearer"] == 0
