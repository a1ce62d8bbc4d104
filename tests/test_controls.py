"""Controls are what they say, and no score takes them for the edit."""

import numpy as np
import pytest

from cirp.experiments import controls
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.scene import region, render

PAIR = draw_pair(3, "validation", kind="swap object")
SOURCE, TARGET = render(PAIR.source), render(PAIR.target)
REGION = region(PAIR.source, PAIR.target)


@pytest.mark.parametrize("fill", controls.FILLS)
def test_a_fill_changes_its_region_and_nothing_else(fill):
    picture = controls.filled(SOURCE, TARGET, REGION, fill, seed=0)
    assert (picture[~REGION] == SOURCE[~REGION]).all()
    changed = (picture[REGION] != SOURCE[REGION]).any(axis=-1)
    assert changed.mean() > 0.3
    assert (picture == controls.filled(SOURCE, TARGET, REGION, fill, seed=0)).all()


def test_half_drawn_is_the_targets_upper_half_over_the_sources_lower():
    picture = controls.filled(SOURCE, TARGET, REGION, "half-drawn", seed=0)
    rows = np.nonzero(REGION.any(axis=1))[0]
    middle = (rows[0] + rows[-1] + 1) / 2
    for row in range(64):
        side = TARGET if row < middle else SOURCE
        assert (picture[row][REGION[row]] == side[row][REGION[row]]).all()


def test_the_borders_colour_is_that_of_what_lies_around():
    flat = np.full((64, 64, 3), 40, np.uint8)
    inside = np.zeros((64, 64), bool)
    inside[20:40, 20:40] = True
    flat[inside] = 200
    picture = controls.filled(flat, flat, inside, "border", seed=0)
    assert (picture == 40).all()


def test_an_unknown_fill_is_refused():
    with pytest.raises(ValueError, match="unknown fill 'foam'; there are noise"):
        controls.filled(SOURCE, TARGET, REGION, "foam", seed=0)
