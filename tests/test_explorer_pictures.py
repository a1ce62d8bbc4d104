"""Pictures brought into the explorer: what is asked for is drawn, what is no picture is refused."""

import io

import numpy as np
import pytest
from pydantic import ValidationError

from cirp.data.images import DataError
from cirp.explorer import pictures, widget
from cirp.explorer.pictures import SceneRequest, own, scene
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.pairs import combinations, home
from tests.conftest import painted
from tests.test_explorer import Blind


def encoded(kind="PNG", size=(64, 48)) -> bytes:
    buffer = io.BytesIO()
    painted(*size).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"kind": "add"},
        {"setting": "beach"},
        {"count": 3},
        {"kind": "change colour", "count": 1},
    ],
    ids=str,
)
def test_a_scene_is_as_asked_for_and_knows_its_truth(tmp_path, asked):
    item = scene(SceneRequest(seed=3, **asked), tmp_path)
    record = item.record
    assert record.edit_type == asked.get("kind", record.edit_type)
    if "setting" in asked:
        assert asked["setting"] in record.source_caption
    if "count" in asked:
        assert len(record.object_names) >= asked["count"]
    mask, source, target = item.mask(), item.source(), item.target()
    moved = np.abs(np.asarray(source).astype(int) - np.asarray(target)).max(axis=-1) > 8
    assert (mask == moved).all() and mask.any()
    assert record.split == ""  # it is none of the planned edits


def test_a_seed_draws_the_same_scene_again_and_another_one_another(tmp_path):
    first, again, other = (scene(SceneRequest(seed=s), tmp_path) for s in (1, 1, 2))
    assert first.record == again.record and first.record != other.record


def test_scenes_are_of_the_held_out_world(tmp_path):
    """Numbers far above the plan's, and each shows a combination that training has not seen."""
    item = scene(SceneRequest(seed=5, kind="swap object"), tmp_path)
    number = int(item.id.removeprefix("scene-"))
    pair = draw_pair(number, "test", kind="swap object")
    assert number >= pictures.FIRST and pair.instruction == item.record.instruction
    homes = {home(*names) for names in combinations(pair.source, pair.target)}
    assert "test" in homes and "validation" not in homes


@pytest.mark.parametrize(
    "bad", [{"kind": "melt"}, {"setting": "moon"}, {"count": 4}, {"seed": -1}, {"more": 1}], ids=str
)
def test_what_the_world_does_not_know_is_refused(bad):
    with pytest.raises(ValidationError):
        SceneRequest(**bad)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_ones_own_becomes_an_edit(tmp_path, kind):
    item = own(encoded(kind), 7, tmp_path)
    assert item.id == "own-7" and item.source().size == (64, 48) and item.mask() is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "a file of 0 bytes"),
        (b"<svg onload=alert(1)>", "no picture"),
        (b"x" * 100, "no picture"),
        (encoded("GIF"), "no picture"),
        (encoded(size=(7, 64)), "7 x 64; give sides of 8"),
        (encoded()[:400], "cannot be read as an image|no picture"),
    ],
    ids=["empty", "svg", "text", "gif", "tiny", "cut off"],
)
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, data, words):
    with pytest.raises(DataError, match=words) as error:
        own(data, 1, tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) not in str(error.value)


def test_a_file_that_is_too_large_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "BYTES", 100)
    with pytest.raises(DataError, match="at most 100"):
        own(encoded(), 1, tmp_path)


def test_the_explorer_takes_them_and_answers_what_is_wrong(models, items):
    made = widget.LiveExplorer(models, items, Blind())
    sent = []
    made.send = lambda content, buffers=None: sent.append(content)
    made._told(None, {"kind": "scene", "scene": {"seed": 1}}, [])
    made._told(None, {"kind": "picture"}, [encoded()])
    assert [one["kind"] for one in sent] == ["item", "item"]
    scene_, own_ = (one["item"] for one in sent)
    assert scene_["mask"] and scene_["target"] and own_["mask"] == "" and own_["target"] is None
    assert {scene_["id"], own_["id"]} <= set(made._items)
    request = {"item": own_["id"], "instruction": "make it red"}
    for message, buffers in (
        ({"kind": "snippet", "request": request}, []),
        ({"kind": "scene", "scene": {"kind": "melt"}}, []),
        ({"kind": "scene"}, []),
        ({"kind": "picture"}, [b"no"]),
        ({"kind": "picture"}, []),
    ):
        sent.clear()
        made._told(None, message, buffers)
        assert [one["kind"] for one in sent] == ["error"] and "\n" not in sent[0]["text"]
