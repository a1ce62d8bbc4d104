"""The scales at which methods are shown are those that validation edits chose."""

import pytest

from cirp.experiments import configurations, records
from cirp.experiments.drawn import is_local
from cirp.statistics.bootstrap import SUCCESS, by_image, paired_interval


def test_no_pair_of_scales_is_better_on_validation_edits_by_interval():
    table = records.read(records.path_of("guidance"))
    assert table["id"].str.startswith("validation-").all()
    local = table[is_local(table)]
    wide = by_image(local, SUCCESS)
    own = f"text {configurations.TEXT_SCALE:g}, image {configurations.IMAGE_SCALE:g}"
    assert len(wide.columns) == 16 and own in wide
    for name in wide.columns.drop(own):
        better = paired_interval(wide[name].to_numpy(float), wide[own].to_numpy(float))
        assert better.low <= 0, name
    assert wide[own].mean() == pytest.approx(wide.mean().max(), abs=0.05)
