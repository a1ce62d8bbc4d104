"""Chains of edits, and what a method leaves of a scene after several turns."""

import numpy as np
import pandas as pd
import pytest

from cirp.diffusion.pipelines import Models
from cirp.experiments import turns
from cirp.experiments.engine import Cell, Job
from cirp.miniature.chains import KINDS, chain
from cirp.miniature.scene import all_labels, render
from tests.tiny import tiny_ip2p, tiny_sd


@pytest.mark.parametrize("seed", range(6))
def test_each_turn_begins_where_the_last_one_ended(seed):
    pairs = chain(seed)
    assert len(pairs) == 5
    gone: set[str] = set()
    for before, after in zip(pairs, pairs[1:], strict=False):
        assert after.source == before.target
    for pair in pairs:
        assert pair.kind in KINDS and len(pair.target.things) >= 2
        assert not gone & set(pair.gained)
        gone |= set(pair.lost)
    assert chain(seed) == pairs


def test_turns_are_asked_for():
    assert len(chain(0, turns=2)) == 2
    with pytest.raises(ValueError, match="turns=0"):
        chain(0, turns=0)


class Knows:
    """A judge that recognises the true pictures of some chains, and sees nothing in others."""

    has_judge = True
    clip_image = clip_text = dinov2 = dinov2_patches = patch_cover = staticmethod(print)

    def __init__(self, chains):
        scenes = [s for c in chains for p in c.pairs for s in (p.source, p.target)]
        self.known = {render(scene).tobytes(): scene.labels() for scene in scenes}

    def judge(self, pictures):
        seen = [self.known.get(np.asarray(p).tobytes(), ()) for p in pictures]
        names = all_labels()
        return pd.DataFrame([[float(n in s) for n in names] for s in seen], columns=names)


def test_doing_nothing_changes_nothing_and_does_nothing():
    some = turns.chains(3, turns=3)
    models = Models("tiny", tiny_ip2p(), tiny_sd(), "own")
    table = turns.measure(Job(models, Knows(some), some), Cell("still", "nothing"))
    assert len(table) == 9 and list(table["turn"].unique()) == [1, 2, 3]
    assert (table["untouched_change"] == 0).all()
    first = table[table["turn"] == 1]
    assert (first["done"] == 0).all()
    assert (first["still_right"] < 1).all() and (first["still_right"] > 0.3).all()
    assert len(list(turns.pictures_of(models, some, "nothing", {}))) == 4


def test_what_was_never_meant_shrinks_with_every_turn():
    (one,) = turns.chains(1)
    areas = [one.untouched(turn).sum() for turn in range(turns.TURNS)]
    assert areas == sorted(areas, reverse=True) and areas[-1] > 0
    for turn in range(turns.TURNS):
        first, now = (render(s) for s in (one.pairs[0].source, one.pairs[turn].target))
        assert np.abs(first.astype(int) - now)[one.untouched(turn)].max() <= 8
