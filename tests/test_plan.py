"""The plan is whole, agrees with the code that follows it, and shows when it is changed."""

import pytest

from cirp.experiments import confirmation, drawn
from cirp.experiments.plan import PLAN, plan
from cirp.metrics import answers
from cirp.metrics.scores import METRICS
from cirp.miniature.grammar import EDIT_KINDS, WHOLE_PICTURE
from cirp.statistics.bootstrap import PRIMARY, SUCCESS


def test_the_plan_names_what_the_code_measures():
    known = plan()
    assert (known.primary.success, known.primary.change) == (SUCCESS, PRIMARY)
    assert {SUCCESS, PRIMARY} <= set(METRICS)
    assert known.primary.answers == drawn.ANSWERS
    assert (known.primary.share_done, known.primary.share_halfway) == (answers.MOST, answers.HALF)
    assert tuple(known.confirmation.methods) == confirmation.COMPARED
    assert known.amendments and all(one.seen for one in known.amendments)
    assert tuple(known.exclusions.local) == WHOLE_PICTURE
    assert set(known.exclusions.local) < set(EDIT_KINDS)


def test_no_edit_is_in_two_test_splits():
    splits = plan().splits
    some = (splits.bars, splits.test, splits.confirmation)
    for one, after in zip(some, some[1:], strict=False):
        assert one.first + one.count <= after.first
    assert splits.bars.first >= 500  # those before were looked at


def test_another_plan_has_another_hash_and_a_comment_does_not_count(tmp_path):
    text = PLAN.read_text()
    other = tmp_path / "other.toml"
    other.write_text(text.replace("closed = 0.80", "closed = 0.70"))
    assert plan(other).hash != plan().hash
    same = tmp_path / "same.toml"
    same.write_text("# a comment\n" + text)
    assert plan(same).hash == plan().hash


def test_what_no_plan_says_is_refused(tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(PLAN.read_text() + "\n[luck]\nwanted = 1\n")
    with pytest.raises(ValueError, match="luck"):
        plan(wrong)
