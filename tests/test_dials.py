"""A dial is a player of real edits: what it stores is what the method makes, scored as ever."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cirp.chapters.dials import dial, dials, instruction_of, run_live
from cirp.experiments import cache
from cirp.explorer import widget
from cirp.explorer.links import of_link
from cirp.explorer.page import shown_items
from cirp.explorer.runs import Request


@pytest.fixture(scope="module")
def made():
    models, features = widget.loaded("miniature", "cpu")
    items = cache.fitted([i for i in shown_items() if not i.record.is_global][:2], models)
    values = {t: (models, "ip2p", dict(steps=3, text_scale=t, image_scale=1.5)) for t in (1.0, 5.0)}
    return dial("text guidance", values, items, features), models, items


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


def test_every_value_has_the_methods_own_edit(made):
    player, models, items = made
    assert player.settings == [{"name": "text guidance", "values": [1.0, 5.0]}]
    for n, item in enumerate(items):
        assert player.items[n]["name"] == instruction_of(item)
        for place, scale in enumerate((1.0, 5.0)):
            settings = dict(steps=3, text_scale=scale, image_scale=1.5)
            (edit,) = cache.edits(models, [item], "ip2p", settings=settings, progress=False)
            assert (decoded(player.edits[2 * n + place]) == np.asarray(edit.image)).all()
            scores = player.scores[2 * n + place]
            assert set(scores) == {"edit success", "excess outside change (L1)", "CLIP-I to source"}


def test_a_point_opens_where_it_can_be_run_anew(made):
    _, models, items = made
    features = widget.loaded("miniature", "cpu")[1]

    def cell(text_scale: float):
        return models, "ip2p", dict(steps=3, text_scale=text_scale, image_scale=1.5)

    player = dials({"text guidance": (1.0, 5.0)}, cell, items, features, seed=4, live=run_live)
    page, _, fragment = player.links[3].partition("#")
    assert page == "18_try_it.html"
    request = Request.model_validate(of_link(fragment))
    assert (request.item, request.instruction) == (items[1].id, items[1].record.instruction)
    assert (request.text_scale, request.image_scale) == (5.0, 1.5)
    assert (request.steps, request.seed) == (3, 4)
    assert made[0].links == []
