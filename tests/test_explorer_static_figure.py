"""A run of the explorer from a link, as a picture and as a command."""

import json
from urllib.parse import quote

import matplotlib.pyplot as plt
import pytest
from pydantic import ValidationError

from cirp.explorer import static_figure, widget
from cirp.explorer.links import of_link, to_link
from cirp.explorer.runs import Request
from cirp.metrics.features import load_features


def link(**asked) -> str:
    return "run=" + quote(json.dumps(asked))


def test_a_link_says_what_is_run_and_brings_no_run_before():
    asked = {"item": "a b", "instruction": "it's $x$ <b>", "freeze": [1], "factors": {"2": 0.5}}
    for fragment in (link(**asked), "#" + link(**asked)):
        found = of_link(fragment)
        assert "freeze" not in found
        assert Request.model_validate(found).factors == {2: 0.5}
    assert of_link("") == {}


@pytest.mark.parametrize("region", ["0", "1", "10", "0011", "1" * 9, "0" * 9, "0101100"])
def test_a_region_comes_through_a_link_in_runs(region):
    fragment = to_link({"item": "a", "region": region})
    assert of_link(fragment)["region"] == region
    assert len(fragment) < 80 and to_link({"item": "a"}) == link(item="a")
    assert of_link(link(region=region))["region"] == region  # as it was written before


@pytest.mark.parametrize("runs", ["1.-2", "1.x", "9999999.1", "1..2"])
def test_runs_that_are_no_region_are_refused(runs):
    with pytest.raises(ValueError, match="lengths of runs"):
        of_link(link(region=runs))


@pytest.mark.parametrize("bad", ["x", "run=", "run=%7B", "run=[1]", "run=3", "ran={}"])
def test_what_is_no_link_is_one_line(bad):
    with pytest.raises(ValueError, match="request=") as caught:
        of_link(bad)
    assert "\n" not in str(caught.value)


def test_the_picture_shows_the_edit_and_a_map_for_each_word(models, items):
    features = load_features("miniature")
    explorer = widget.LiveExplorer(models, items, features, steps=2, instruction="make it red")
    fig = static_figure.figure(*explorer.opened())
    shown = [ax.get_title() for ax in fig.axes if ax.images]
    assert shown == ["input", "the edit", "what changed", "make", "it", "red", static_figure.LAST]
    plt.close(fig)


def test_a_link_that_asks_for_too_much_is_refused(models, items):
    asked = of_link(link(steps=10**6))
    with pytest.raises(ValidationError, match="less than or equal to 200"):
        widget.LiveExplorer(models, items, load_features("miniature"), **asked)
