"""The table of bars: what counts as reached, and measures against answers that are known."""

import numpy as np
import pandas as pd
import pytest

from cirp.data.edits import load_edits
from cirp.experiments import encoder_quality, quality
from cirp.experiments.drawn import right_answers
from cirp.miniature import export
from cirp.miniature.scene import all_labels


def test_a_bar_is_reached_by_its_interval_alone():
    clear, near, under = np.ones(200), np.repeat([1.0, 0.0], [62, 38]), np.zeros(200)
    assert quality.bar("x", clear, 0.9)["reached"] == "yes"
    assert quality.bar("x", near, 0.6)["reached"] == "open"
    assert quality.bar("x", under, 0.6)["reached"] == "no"
    assert quality.bar("x", under, 0.02, quality.AT_MOST)["reached"] == "yes"
    assert quality.bar("x", clear, 0.02, quality.AT_MOST)["reached"] == "no"
    assert quality.bar("x", clear)["reached"] == ""
    few = np.zeros(20)  # none of 20 is not yet at most one in fifty
    assert quality.bar("x", few, 0.02, quality.AT_MOST)["reached"] == "open"


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return load_edits(export.write_split("validation", 0, 16, tmp_path_factory.mktemp("edits")))


def test_drawn_edits_know_their_pair(items):
    for item, right in zip(items, right_answers(items, 3), strict=True):
        assert (right[0] == np.asarray(item.target())).all()
        assert item.record.kept and not set(item.record.kept) & set(item.record.gained)


class Oracle:
    """A judge that knows, or one that says the same of everything."""

    has_judge = True
    clip_image = clip_text = dinov2 = dinov2_patches = patch_cover = staticmethod(print)

    def __init__(self, items, always=None):
        self.items, self.always = items, always

    def judge(self, pictures):
        truth = np.concatenate([encoder_quality._labels(item) for item in self.items])
        said = truth.astype(float) if self.always is None else np.full(truth.shape, self.always)
        return pd.DataFrame(said, columns=all_labels())


def test_a_judge_that_knows_is_calibrated_and_one_that_guesses_is_not(items):
    def gap(judge):
        rows = encoder_quality.judge_calibration(items, judge, quality.bar)
        return next(r["mean"] for r in rows if r["bar"] == "judge: expected calibration error")

    share = np.concatenate([encoder_quality._labels(item) for item in items]).mean()
    assert gap(Oracle(items)) == 0
    assert gap(Oracle(items, 0.95)) == pytest.approx(0.95 - share)
    assert gap(Oracle(items, float(share))) == pytest.approx(0, abs=1e-9)
