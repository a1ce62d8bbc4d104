"""Regions crossed with holds: the regions are what they are called, and every cell is run once."""

from dataclasses import replace

import numpy as np
import pytest

from cirp.data.edits import load_edits
from cirp.experiments import cache, configurations, factorial
from cirp.experiments.engine import Job
from cirp.methods import METHODS
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


def test_regions_are_what_they_are_called(items, models):
    some = local(items)
    job = Job(models, None, some[:3], some)
    where = {c.columns["region"]: c.regions(job) for c in factorial.cells() if c.regions
             and c.columns["region"] not in factorial.FINDERS}  # fmt: skip
    fitted = cache.fitted(some, models)
    for n, item in enumerate(fitted[:3]):
        assert (where[factorial.TRUE][n] == item.mask()).all()
        assert (where[factorial.INVERSE][n] == ~item.mask()).all()
        assert not where[factorial.NOWHERE][n].any()
        assert any((where[factorial.SHUFFLED][n] == other.mask()).all() for other in fitted)


def test_every_region_meets_everything_held_once():
    names = [(c.columns["region"], c.columns["held"]) for c in factorial.cells()]
    assert len(set(names)) == len(names) == 6 * len(factorial.HOLDS) + 3
    assert {("", ""), (factorial.EVEN, "guidance"), (factorial.NOWHERE, "guidance")} <= set(names)


def test_rows_depend_on_what_found_their_regions(monkeypatch):
    def codes():
        return {(c.columns["region"], c.columns["held"]): c.regions_by for c in factorial.cells()}

    before = codes()
    remap = METHODS["remap"]
    monkeypatch.setitem(METHODS, "remap", replace(remap, version=remap.version + 1))
    changed = {key for key, text in codes().items() if text != before[key]}
    assert {region for region, _ in changed} == {configurations.OURS}
    assert len(changed) == len(factorial.HOLDS)


def test_whole_picture_edits_are_refused(items):
    with pytest.raises(ValueError, match="only local edits with a mask"):
        factorial.check_local(items)
