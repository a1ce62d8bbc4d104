"""Twins, places, plurals and many wordings say what the pictures show."""

import random
import re

import numpy as np
import pytest

from cirp.miniature import gallery
from cirp.miniature.draw_pairs import draw_pair, with_twins
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.kinds import KINDS
from cirp.miniature.pairs import KNOWN, combinations, home
from cirp.miniature.scene import all_labels, region, render
from cirp.miniature.wordings import HELD_OUT, WORDINGS, plural, said, side

MANY = [draw_pair(seed, "train") for seed in range(1500)]


def pattern(wording: str) -> re.Pattern:
    """A wording as an expression in which every field is some words."""
    return re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(wording)))


def changed(p):
    """The things of the source that are not in the target."""
    return [t for t in p.source.everything() if t not in list(p.target.everything())]


def test_every_kind_of_edit_is_worded_in_at_least_six_ways():
    for kind in EDIT_KINDS:
        assert len(WORDINGS[kind]) - HELD_OUT >= 6
        assert len(set(WORDINGS[kind])) == len(WORDINGS[kind])


def test_training_never_shows_a_wording_that_is_held_out():
    for p in MANY[:400]:
        assert not p.held_out_wording
        for instruction in (p.instruction, *p.wordings):
            for wording in WORDINGS[p.kind][-HELD_OUT:]:
                assert not pattern(wording).fullmatch(instruction), instruction


def test_a_quarter_of_evaluation_is_worded_as_training_never_is():
    some = [draw_pair(seed, "test") for seed in range(240)]
    share = sum(p.held_out_wording for p in some) / len(some)
    assert 0.15 < share < 0.35
    for p in some:
        ways = WORDINGS[p.kind][-HELD_OUT:] if p.held_out_wording else WORDINGS[p.kind][:-HELD_OUT]
        assert any(pattern(wording).fullmatch(p.instruction) for wording in ways), p.instruction


def test_left_and_right_are_where_the_pictures_have_them():
    found = 0
    for p in MANY:
        match = re.search(r"\b(left|right)\b", p.instruction)
        if not match or p.kind == "change setting":
            continue
        full = p.target if p.kind == "add" else p.source
        things = [
            t for t in full.things if t not in (p.source if p.kind == "add" else p.target).things
        ]
        (thing,) = things
        assert side(full, thing) == match[1], p.instruction
        found += 1
    assert found > 40


def test_a_plural_changes_every_thing_of_its_kind_and_a_place_only_one():
    plurals = singles = 0
    for p in MANY:
        gone = changed(p)
        kinds = [t.kind for t in p.source.everything()]
        twins = {k for k in kinds if kinds.count(k) > 1}
        if not twins or p.kind not in ("swap object", "change colour", "remove", "change part"):
            continue
        if any(re.search(rf"\b{plural(k)}\b", p.instruction) for k in twins):
            assert len(gone) == 2 and gone[0].kind == gone[1].kind, p.instruction
            plurals += 1
        elif gone and gone[0].kind in twins and len(gone) == 1:
            assert re.search(r"\b(left|right|middle)\b", p.instruction), p.instruction
            singles += 1
    assert plurals > 5 and singles > 5


def test_what_changes_can_be_judged_and_what_is_held_out_stays_held_out():
    for p in MANY[:300]:
        assert p.gained or p.lost
        assert all(home(*names) == "train" for names in combinations(p.source, p.target))
        assert set(p.words) <= {w.strip(",.'") for w in p.instruction.split()}


def test_a_leak_leaves_source_and_words_alone():
    for seed in range(60):
        quiet, loud = draw_pair(seed), draw_pair(seed, leak=1.0)
        assert (quiet.source, quiet.instruction) == (loud.source, loud.instruction)
        assert loud.leaked and quiet.target != loud.target


def test_twins_differ_where_they_can_and_stand_where_their_neighbour_stood():
    rng = random.Random(0)
    from cirp.miniature.pairs import scene

    seen = 0
    for _ in range(200):
        drawn = scene(rng, count=2, holding=False)
        first, second = with_twins(drawn, rng).things
        assert first.kind == second.kind
        assert sorted((first.x, second.x)) == sorted(t.x for t in drawn.things)
        if KINDS[first.kind].attributes:
            assert first.states != second.states
            seen += 1
    assert seen > 80


@pytest.mark.parametrize("kind", KNOWN)
def test_plurals_are_english(kind):
    irregular = {"yellow mouse": "yellow mice", "snowman": "snowmen", "cactus": "cacti",
                 "bag of fries": "bags of fries", "strawberry": "strawberries"}  # fmt: skip
    expected = irregular.get(kind) or (
        kind + "es" if kind.endswith(("x", "s", "ch", "sh")) else kind + "s"
    )
    assert plural(kind) == expected


def test_a_wording_that_speaks_of_what_is_not_known_is_left_out():
    assert said("change part", {"the_noun": "the left donut", "part": "topping", "state": "mint"},
                held_out=False) == [
        "make the topping of the left donut mint", "change the topping of the left donut to mint",
    ]  # fmt: skip


def test_half_an_edit_is_the_target_on_one_side_and_the_source_on_the_other():
    found = [(seed, made) for seed in range(40) if (made := gallery.halved(seed))]
    assert len(found) > 10
    for _, (picture, pair) in found:
        source, target = render(pair.source), render(pair.target)
        is_target, is_source = (picture == target).all(-1), (picture == source).all(-1)
        assert (is_target | is_source).all()
        changed = region(pair.source, pair.target)
        assert is_target[changed].any() and is_source[changed].any()


def test_halves_are_damaged_and_leave_open_what_the_edit_decides(tmp_path):
    drawn = gallery.draw_gallery(tmp_path / "g", count=120, workers=1)
    names = np.array(all_labels())
    assert 5 < drawn.halved.sum() < 40
    for seed in np.flatnonzero(drawn.halved):
        _, pair = gallery.halved(int(seed))
        assert {*names[drawn.open[seed]]} == {*pair.gained, *pair.lost}
        assert not drawn.spots[seed]
