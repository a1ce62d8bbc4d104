"""Cells: computed once, whole or not at all, and keyed by everything they depend on."""

import copy
import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
from diffusers import EulerDiscreteScheduler
from PIL import Image

from cirp import paths
from cirp.diffusion.tasks import Edit
from cirp.experiments import cache, records
from tests.conftest import painted

SETTINGS = {"steps": 2}


def made(models, items, folder, **more):
    with cache.kept_in(folder):
        return cache.edits(models, items, "ip2p", settings=SETTINGS, progress=False, **more)


@pytest.mark.parametrize("where", ["{}/c", "file://{}/c", "memory://{}/c"])
def test_a_second_call_computes_nothing_and_gives_the_same(
    models, items, tmp_path, monkeypatch, where
):
    folder = where.format(tmp_path)
    first = made(models, items, folder, seeds=[0, 1])
    assert len(first) == 6 and len(list(paths.place(folder).iterdir())) == 6

    def fails(*_):
        raise AssertionError("an edit was computed again")

    method = cache.METHODS["ip2p"]
    monkeypatch.setitem(cache.METHODS, "ip2p", replace(method, batch=fails))
    for a, b in zip(first, made(models, items, folder, seeds=[0, 1]), strict=True):
        np.testing.assert_array_equal(np.asarray(a.image), np.asarray(b.image))
        assert a.settings == b.settings and a.unet_calls == b.unet_calls


def test_a_cell_behind_a_url_is_whole_or_none_and_what_is_damaged_is_made_again(
    models, items, tmp_path, monkeypatch
):
    folder = paths.place(f"memory://{tmp_path}/c")
    first = made(models, items[:2], str(folder))
    whole, half = sorted(folder.iterdir(), key=str)
    (half / "meta.json").unlink()  # it is written last: such a cell is not there yet
    (whole / "edit.png").write_bytes(b"cut off")
    assert cache.load(half) is None and cache.load(whole) is None
    for a, b in zip(first, made(models, items[:2], str(folder)), strict=True):
        np.testing.assert_array_equal(np.asarray(a.image), np.asarray(b.image))
    monkeypatch.setenv("CIRP_CACHE", "memory://bucket/cirp")
    assert str(paths.runs()) == "memory://bucket/cirp/runs"
    assert paths.cache() == paths.ROOT / ".cache"  # what is drawn stays on this machine


def test_an_interrupted_run_keeps_what_was_finished(models, items, tmp_path, monkeypatch):
    method, calls = cache.METHODS["ip2p"], []

    def breaks(models, tasks, *rest):
        if calls:
            raise KeyboardInterrupt
        calls.append(len(tasks))
        return method.batch(models, tasks, *rest)

    monkeypatch.setitem(cache.METHODS, "ip2p", replace(method, batch=breaks))
    with pytest.raises(KeyboardInterrupt):
        made(models, items, tmp_path / "c", batch_size=2)
    assert len(list((tmp_path / "c").iterdir())) == 2

    def rest(models, tasks, *more):
        calls.append(len(tasks))
        return method.batch(models, tasks, *more)

    monkeypatch.setitem(cache.METHODS, "ip2p", replace(method, batch=rest))
    assert len(made(models, items, tmp_path / "c", batch_size=2)) == 3
    assert calls == [2, 1]


@pytest.mark.parametrize("file", ["edit.png", "meta.json"])
def test_a_truncated_cell_is_computed_again(models, items, tmp_path, file):
    (first,) = made(models, items[:1], tmp_path / "c")
    (cell,) = (tmp_path / "c").iterdir()
    (cell / file).write_bytes((cell / file).read_bytes()[:20])
    (again,) = made(models, items[:1], tmp_path / "c")
    np.testing.assert_array_equal(np.asarray(first.image), np.asarray(again.image))
    assert json.loads((cell / "meta.json").read_text())["method"] == "ip2p"


TASK_FACTS = {
    "image": dict(image=painted(seed=9)),
    "key": dict(key="another"),
    "instruction": dict(instruction="make it blue"),
    "caption": dict(caption="a blue dog"),
    "source_caption": dict(source_caption="a dog"),
    "words": dict(words=("red",)),
    "target_words": dict(target_words=("red",)),
    "mask": dict(mask=np.eye(64) > 0),
    "seed": dict(seed=1),
}


@pytest.mark.parametrize("fact", TASK_FACTS)
def test_an_edits_key_depends_on_every_fact_of_its_task(models, items, fact):
    one = cache.task(items[0], 0)
    assert set(TASK_FACTS) == {field.name for field in fields(one)}
    before = cache.key(models, one, "ip2p", SETTINGS)
    assert cache.key(models, replace(one, **TASK_FACTS[fact]), "ip2p", SETTINGS) != before
    assert cache.key(models, cache.task(items[0], 0), "ip2p", dict(SETTINGS)) == before


def test_an_edits_key_depends_on_method_settings_models_and_code(models, items, monkeypatch):
    one = cache.task(items[0], 0)
    scheduled = replace(models, instruct=copy.copy(models.instruct))
    scheduled.instruct.scheduler = EulerDiscreteScheduler.from_config(
        models.instruct.scheduler.config
    )
    keys = [
        cache.key(models, one, "ip2p", SETTINGS),
        cache.key(models, one, "noisy", SETTINGS),
        *(cache.key(models, one, "ip2p", SETTINGS | more) for more in (
            {"steps": 3}, {"text_scale": 7.0}, {"image_scale": 1.4}, {"prompt": "caption"},
        )),
        cache.key(replace(models, fingerprint="new weights"), one, "ip2p", SETTINGS),
        cache.key(replace(models, bfloat16=True), one, "ip2p", SETTINGS),
        cache.key(scheduled, one, "ip2p", SETTINGS),
    ]  # fmt: skip
    monkeypatch.setattr(records, "processor", lambda: "another")
    keys.append(cache.key(models, one, "ip2p", SETTINGS))
    monkeypatch.undo()
    monkeypatch.setitem(cache.METHODS, "ip2p", replace(cache.METHODS["ip2p"], version=2))
    keys.append(cache.key(models, one, "ip2p", SETTINGS))
    assert len(set(keys)) == len(keys) == 11


def test_unknown_methods_are_refused_with_the_known_ones(models, items):
    with pytest.raises(ValueError, match="unknown method 'magic'.*ip2p"):
        cache.edits(models, items, "magic")


def test_unknown_settings_are_refused_with_the_known_ones(models, items):
    with pytest.raises(ValueError, match="ip2p has no setting 'strength'.*text_scale"):
        cache.edits(models, items, "ip2p", settings={"strength": 0.5})


def test_a_default_that_is_written_out_is_the_same_cell(models, items):
    one = cache.task(items[0], 0)
    written = cache.key(models, one, "ip2p", SETTINGS | {"text_scale": 7.5})
    assert written == cache.key(models, one, "ip2p", SETTINGS)


def test_every_prompt_is_checked_before_the_first_edit(models, items, tmp_path):
    long = items[2].record.model_copy(update={"instruction": "red dog " * 60})
    with pytest.raises(ValueError, match="77"):
        made(models, [*items[:2], replace(items[2], record=long)], tmp_path / "c", batch_size=1)
    assert not (tmp_path / "c").exists()


def test_a_missing_target_caption_is_written_by_rule(items):
    record = items[0].record.model_copy(
        update={"target_caption": None, "source_caption": "a dog", "instruction": "add a cat"}
    )
    assert cache.task(replace(items[0], record=record), 0).caption == "a dog and a cat"


def test_a_saved_cell_is_what_was_saved(tmp_path):
    image = Image.effect_noise((16, 16), 50).convert("RGB")
    cache.save(tmp_path / "k", Edit(image, "ip2p", {"steps": 1}, 3, 0.5))
    loaded = cache.load(tmp_path / "k")
    np.testing.assert_array_equal(np.asarray(loaded.image), np.asarray(image))
    assert (loaded.method, loaded.unet_calls, loaded.seconds) == ("ip2p", 3, 0.5)
    assert not list(tmp_path.glob("*.tmp"))


def cell(models, items, folder):
    made(models, items[:1], folder)
    (found,) = folder.iterdir()
    return found


@pytest.mark.parametrize("text", ["null", "[]", "3", "{}", '"x"'])
def test_a_cell_whose_record_is_no_record_is_made_again(models, items, tmp_path, text):
    found = cell(models, items, tmp_path / "c")
    (found / "meta.json").write_text(text)
    assert cache.load(found) is None
    made(models, items[:1], tmp_path / "c")
    assert cache.load(found) is not None


def test_a_picture_or_mask_of_another_cell_is_never_served(models, items, tmp_path):
    settings = {"steps": 2, "look_steps": 1}

    def both():
        with cache.kept_in(tmp_path / "c"):
            return cache.edits(models, items[:2], "lime", settings=settings, progress=False)

    right = both()
    one, two = sorted((tmp_path / "c").iterdir())
    for name in ("edit.png", "mask.png"):
        kept = (one / name).read_bytes()
        painted(*right[0].image.size, seed=7).convert("L" if name == "mask.png" else "RGB").save(
            one / name
        )
        assert cache.load(one) is None
        (one / name).write_bytes(kept)
        assert cache.load(one) is not None
    shutil.rmtree(one)
    shutil.copytree(two, one)  # whole, but of another edit
    assert cache.load(one) is None
    for a, b in zip(both(), right, strict=True):  # one is computed alone now: rounding
        np.testing.assert_allclose(np.asarray(a.image, float), np.asarray(b.image, float), atol=2)


def test_what_is_changed_in_the_models_is_not_served_from_before(models, items, tmp_path):
    first = made(models, items[:1], tmp_path / "c")[0].image
    models.instruct.enable_freeu(s1=0.1, s2=0.1, b1=3.0, b2=3.0)
    try:
        again = made(models, items[:1], tmp_path / "c")[0].image
    finally:
        models.instruct.disable_freeu()
    assert len(list((tmp_path / "c").iterdir())) == 2
    assert np.abs(np.asarray(first, float) - np.asarray(again, float)).max() > 0
