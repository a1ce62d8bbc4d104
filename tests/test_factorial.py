"""Regions crossed with holds: the regions are what they are called, and every cell is run once."""

from dataclasses import replace

import numpy as np
import pytest

from cirp.data.edits import load_edits
from cirp.experiments import cache, factorial
from cirp.miniature import export
from cirp.miniature.grammar import WHOLE_PICTURE


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return load_edits(export.write_split("validation", 0, 16, tmp_path_factory.mktemp("edits")))


def local(items):
    return [i for i in items if i.record.edit_type not in WHOLE_PICTURE]


def test_shuffled_regions_are_other_pictures_of_about_the_same_area():
    regions = [np.zeros((8, 8), bool) for _ in range(5)]
    for i, region in enumerate(regions):
        region.flat[: 4 * (i + 1)] = True
    found = factorial.shuffled(regions)
    for i, region in enumerate(found):
        assert region is not regions[i]
        assert any(region is other for other in regions)
    areas = [int(region.sum()) for region in found]
    assert sorted(areas) == [4, 8, 12, 16, 20]  # each of them once: the dose of all is the same
    assert areas[:4] == [8, 12, 16, 20]


def test_a_placed_edit_is_the_same_edit_with_another_mask(items):
    some = local(items)
    regions = factorial.given_regions(some)
    for item, other in zip(some, factorial.placed(some, regions[factorial.INVERSE]), strict=True):
        assert (other.mask() == ~item.mask()).all()
        mine, theirs = cache.task(item, 0), cache.task(other, 0)
        assert replace(theirs, mask=None, image=mine.image) == replace(mine, mask=None)
        assert theirs.image.tobytes() == mine.image.tobytes()


def test_pasting_leaves_the_source_outside(items):
    item = local(items)[0]
    picture = factorial.pasted(item.target(), item.source(), item.mask())
    assert (np.asarray(picture) == np.asarray(item.target())).all(-1)[item.mask()].all()
    assert (np.asarray(picture) == np.asarray(item.source())).all(-1)[~item.mask()].all()


def test_every_region_meets_every_hold_once():
    found = factorial.cells({"true": [], "inverse": []})
    names = [(region, hold) for region, hold, _ in found]
    assert len(set(names)) == len(names) == 2 * len(factorial.HOLDS) + 1
    assert (factorial.EVEN, "guidance") in names


def test_whole_picture_edits_are_refused(items):
    with pytest.raises(ValueError, match="only local edits with a mask"):
        factorial.check_local(items)
