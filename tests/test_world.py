"""The drawn world tells the truth about itself."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.grammar import EDIT_KINDS, caption, phrase
from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.pairs import KNOWN, SPLITS, combinations, home
from cirp.miniature.scene import Scene, Thing, all_labels, mask, region, render, svg
from cirp.miniature.styles import STYLES
from cirp.miniature.svg import Variation, document, pixels

seeds = st.integers(0, 10_000)


def alone(kind: str, place: str = "grass", seed: int = 3, **states) -> Scene:
    chosen = tuple((a.name, states.get(a.name, a.states[0])) for a in KINDS[kind].attributes)
    return Scene(place, 5, (Thing(kind, chosen, 50, 88, 60, False, seed),))


def test_there_are_enough_kinds_settings_styles_and_edits():
    assert len(KNOWN) >= 40 and set(KNOWN) <= set(KINDS)
    assert len(SETTINGS) >= 8 and len(EDIT_KINDS) >= 8 and len(STYLES) >= 5
    assert len({kind.family for kind in KINDS.values()}) >= 7


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_drawing_fills_its_box_and_stands_on_its_foot(kind):
    known = KINDS[kind]
    v = Variation(7)
    layers = known.draw(v, **{a.name: a.states[-1] for a in known.attributes})
    alpha = pixels(document("".join(layer.svg for layer in layers), v.defs), 100)[..., 3] > 128
    rows = np.flatnonzero(alpha.any(axis=1))
    assert 0.15 < alpha.mean() < 0.9
    assert rows[-1] >= 85 or known.flies


@pytest.mark.parametrize("kind", sorted(k for k in KINDS if KINDS[k].attributes))
def test_a_state_changes_its_own_part_and_nothing_else(kind):
    for attribute in KINDS[kind].attributes:
        first, second = attribute.states[:2]
        a, b = alone(kind, **{attribute.name: first}), alone(kind, **{attribute.name: second})
        changed = region(a, b, 128)
        allowed = mask(a, a.things[0], attribute.part, 128)
        allowed |= mask(b, b.things[0], attribute.part, 128)
        # outlines are half inside, half outside the silhouette's threshold
        assert changed.sum() > 20
        assert not (changed & ~ndimage.binary_dilation(allowed, iterations=2)).any()


@given(seeds, st.sampled_from(SPLITS))
@settings(max_examples=25)
def test_the_same_seed_gives_the_same_pair_and_the_same_picture(seed, split):
    a, b = draw_pair(seed, split), draw_pair(seed, split)
    assert a == b
    np.testing.assert_array_equal(render(a.target), render(b.target))


@given(seeds)
@settings(max_examples=60)
def test_training_never_shows_a_held_out_combination(seed):
    p = draw_pair(seed, "train")
    assert all(home(*names) == "train" for names in combinations(p.source, p.target))


@given(seeds, st.sampled_from(("validation", "test")))
@settings(max_examples=40)
def test_evaluation_shows_one_of_its_own_and_none_of_the_other(seed, split):
    p = draw_pair(seed, split)
    homes = {home(*names) for names in combinations(p.source, p.target)}
    assert split in homes and homes <= {"train", split}


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_words_and_pictures_agree(kind):
    for seed in range(4):
        p = draw_pair(seed, "test", kind=kind)
        assert p.kind == kind and p.source != p.target
        assert caption(p.target) == p.target_caption != p.source_caption
        assert p.words and set(p.words) <= set(p.instruction.split())
        assert p.gained or p.lost
        assert set(p.gained) <= p.target.labels() and set(p.lost) <= p.source.labels()
        for t in p.target.everything():
            assert t.kind in p.target_caption
        assert region(p.source, p.target).any()


@given(seeds)
@settings(max_examples=60)
def test_a_leak_changes_something_else_in_one_and_the_same_pair(seed):
    """Also where scenes were drawn and rejected before this one."""
    quiet, loud = draw_pair(seed, "train"), draw_pair(seed, "train", leak=1.0)
    assert loud.leaked and not quiet.leaked
    assert (loud.source, loud.instruction) == (quiet.source, quiet.instruction)
    assert loud.target_caption == quiet.target_caption and loud.target != quiet.target


def test_a_leak_changes_more_and_only_in_training():
    quiet, loud = draw_pair(11, "train"), draw_pair(11, "train", leak=1.0)
    assert region(loud.source, loud.target).sum() > region(quiet.source, quiet.target).sum()
    with pytest.raises(ValueError, match="never leak"):
        draw_pair(11, "test", leak=0.5)


def test_the_share_of_leaking_pairs_is_the_dial():
    leaked = [bool(draw_pair(seed, "train", leak=0.3).leaked) for seed in range(400)]
    assert 0.22 < np.mean(leaked) < 0.38  # 0.3 +- 3.5 standard errors


def test_object_masks_show_what_is_visible_and_do_not_overlap():
    p = draw_pair(5, "test", kind="remove")
    masks = [mask(p.source, t) for t in p.source.things]
    assert all(m.any() for m in masks)
    assert np.sum(masks, axis=0).max() == 1
    gone = next(t for t in p.source.things if t not in p.target.things)
    visible = mask(p.source, gone)
    assert (region(p.source, p.target) & visible).sum() > 0.9 * visible.sum()


def test_a_thing_in_front_hides_the_mask_of_the_one_behind():
    back = Thing("tree", (("season", "green"),), 50, 80, 60, False, 1)
    front = Thing("ball", (("colour", "red"),), 50, 92, 40, False, 1)
    before = mask(Scene("grass", 1, (back,)), back)
    both = Scene("grass", 1, (back, front))
    assert 0 < mask(both, back).sum() < before.sum()
    assert not (mask(both, back) & mask(both, front)).any()


def test_a_mask_of_a_stranger_is_refused():
    scene, other = alone("car"), alone("car")
    with pytest.raises(ValueError, match="not in this scene"):
        mask(scene, replace(other.things[0], seed=9))


def test_the_picture_is_the_same_at_any_size():
    """Drawn at 256 and averaged down, it is what is drawn at 64, up to anti-aliasing."""
    scene = draw_pair(2, "test", kind="swap object").source
    large = render(scene, 256).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(large - render(scene)).mean() < 4


def test_a_held_thing_is_named_seen_and_labelled():
    peach = Thing("peach", (), 0, 0, 0, False, 1)
    scene = Scene("beach", 1, (Thing("axolotl", (), 50, 88, 60, False, 1, held=peach),))
    assert phrase(scene.things[0]) == "axolotl holding a peach"
    assert "peach" in scene.labels() <= set(all_labels())
    assert mask(scene, peach).sum() > 30


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_style_changes_the_whole_picture_and_stays_in_range(style):
    scene = alone("rocket")
    picture = render(scene).astype(float) / 255
    styled = STYLES[style].apply(picture)
    assert styled.shape == picture.shape and np.isfinite(styled).all()
    assert np.abs(np.clip(styled, 0, 1) - picture).mean() > 0.05


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown split 'tests'.*validation"):
        draw_pair(1, "tests")
    with pytest.raises(ValueError, match="unknown kind of edit 'swap'.*swap object"):
        draw_pair(1, "test", kind="swap")


def test_the_svg_of_a_scene_stands_alone():
    text = svg(draw_pair(3, "test").source)
    assert text.startswith("<svg") and "http://www.w3.org/2000/svg" in text
    assert "href" not in text  # nothing is loaded from elsewhere
