"""Where change lands: the parts are a partition, mean what they say, and are measured exactly."""

import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cirp.experiments import strays
from cirp.metrics.regions import split
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.scene import mask, region


def pairs(count=12):
    kinds = ("swap object", "change colour", "remove", "add")
    return [draw_pair(seed, "validation", kind=kinds[seed % 4]) for seed in range(count)]


def test_rings_part_the_outside_by_distance():
    square = np.zeros((128, 128), bool)
    square[60:70, 60:70] = True
    found = strays.rings(square)
    outside = split(square, shape=square.shape).outside
    assert sum(part.astype(int) for part in found.values()).max() == 1
    assert (np.any(list(found.values()), axis=0) == outside).all()
    assert not found["up to 4 px"][65, 70 + 3 - 1 - 1] and found["up to 12 px"][65, 69 + 12]
    assert found["up to 24 px"][65, 69 + 13] and found["over 48 px"][0, 0]


@pytest.mark.parametrize("pair", pairs(), ids=lambda p: f"{p.kind}-{p.seed}")
def test_meanings_part_the_outside_and_follow_the_scene(pair):
    where = region(pair.source, pair.target)
    found = strays.meanings(pair, where)
    outside = split(where, shape=where.shape).outside
    assert sum(part.astype(int) for part in found.values()).max() <= 1
    assert not (np.any(list(found.values()), axis=0) & ~outside).any()
    changed = strays.edited(pair)
    kept = [t for t in pair.source.things if t not in changed]
    for thing in kept:
        seen = mask(pair.source, thing) & outside
        alike = thing.kind in {t.kind for t in changed}
        if pair.kind == "change colour":  # its words fit whatever has a colour
            alike |= "colour" in dict(thing.states)
        name = strays.ALIKE if alike else strays.OTHERS
        if not thing.held:
            assert (found[name] & seen).sum() == seen.sum()


def test_a_twin_of_the_edited_thing_is_alike():
    for seed in range(400):
        pair = draw_pair(seed, "validation", kind="remove")
        changed = strays.edited(pair)
        twins = [t for t in pair.source.things if t not in changed and t.kind == changed[0].kind]
        if twins:
            break
    found = strays.meanings(pair, region(pair.source, pair.target))
    assert found[strays.ALIKE].any()
    other = replace(twins[0], seed=random.Random(0).getrandbits(31))
    assert other not in changed


def test_numbers_by_hand():
    rows = [
        {"id": name, "method": "m", "by": "distance", "part": part, "change": change}
        for name, near, far in (("a", 0.3, 0.1), ("b", 0.5, 0.1), ("c", 0.4, np.nan))
        for part, change in (("near", near), ("far", far))
    ]
    table = pd.DataFrame(rows)
    found = strays.profile(table, "distance").set_index("part")
    assert found.loc["near", "mean"] == pytest.approx(0.4) and found.loc["near", "n"] == 3
    assert found.loc["far", "mean"] == pytest.approx(0.1) and found.loc["far", "dropped"] == 1
    apart = strays.difference(table, "distance", "m", "near", "far")
    assert apart.mean == pytest.approx(0.3) and apart.n == 2
