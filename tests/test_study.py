"""A quick study must notice when the recorded tables have gone stale."""

import pandas as pd
import pytest

from cirp import study
from cirp.study import CHECKED, agreement


def rows(**changes) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "id": ["a", "b", "a", "b"],
            "method": ["x", "x", "y", "y"],
            "seed": 0,
            "weights": "w1",
            "settings": '{"steps": 3}',
            "processor": "p",
            **{name: [0.1, 0.2, 0.3, 0.4] for name in CHECKED},
        }
    )
    return table.assign(**changes)


def test_equal_tables_agree_and_a_slice_of_them_does(tmp_path):
    assert agreement(rows(), rows(), tmp_path) == 0
    assert agreement(rows().iloc[:1], rows(), tmp_path) == 0


@pytest.mark.parametrize(
    "fresh, words",
    [
        (rows(weights="w2"), "other weights"),
        (rows(seed=3), "lacks 4 of 4 cells"),
        (rows(settings='{"steps": 9}'), "other settings"),
        (rows(clip_i_source=[0.2, 0.3, 0.4, 0.5]), "of [ab] by [xy] was 0.[1-4]"),
    ],
)
def test_stale_tables_are_named_with_the_remedy(tmp_path, fresh, words):
    with pytest.raises(ValueError, match=words) as raised:
        agreement(fresh, rows(), tmp_path / "main.csv")
    assert "make full" in str(raised.value) and "main.csv" in str(raised.value)


def test_another_processor_may_round_but_not_disagree(tmp_path):
    little = rows(processor="q", l1_source=[0.11, 0.21, 0.31, 0.41])
    assert agreement(little, rows(), tmp_path) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="l1_source"):
        agreement(rows(l1_source=little["l1_source"]), rows(), tmp_path)
    with pytest.raises(ValueError, match="l1_source"):
        agreement(rows(processor="q", l1_source=[0.3, 0.4, 0.5, 0.6]), rows(), tmp_path)


@pytest.mark.parametrize(
    "bad, words",
    [
        (dict(profile="fast"), "profile='fast'.*'quick' or 'full'"),
        (dict(edits="nowhere"), "no such folder"),
        (dict(models="sd9"), "unknown models 'sd9'"),
        (dict(steps=0), "steps=0"),
    ],
)
def test_a_study_checks_everything_before_it_loads_anything(monkeypatch, bad, words):
    def fail(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(study, "load", fail)
    with pytest.raises(ValueError, match=words):
        study.begin(**bad)


def test_the_ablation_has_all_eight_cells_and_changes_one_thing_at_a_time():
    cells = study.ablation_methods()
    assert len(cells) == 8
    assert len({tuple(name.split(" | ")) for name in cells}) == 8
    for name, (method, settings) in cells.items():
        form, scale, prompt = name.split(" | ")
        assert (method == "ip2p") == (form == "concatenated")
        assert settings["text_scale"] == float(scale) and settings["prompt"] == prompt
