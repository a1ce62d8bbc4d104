"""A quick study must notice when the recorded tables have gone stale."""

from types import SimpleNamespace

import pandas as pd
import pytest

from cirp.experiments import study
from cirp.experiments.study import CHECKED, agreement


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
        study.open_study(**bad)


def test_the_ablation_has_all_eight_cells_and_changes_one_thing_at_a_time():
    cells = study.ablation_methods()
    assert len(cells) == 8
    assert len({tuple(name.split(" | ")) for name in cells}) == 8
    for name, (method, settings) in cells.items():
        form, scale, prompt = name.split(" | ")
        assert (method == "ip2p") == (form == "concatenated")
        assert settings["text_scale"] == float(scale) and settings["prompt"] == prompt


def test_only_what_is_not_recorded_is_computed_in_a_full_study():
    methods = {"x": ("ip2p", {"steps": 3}), "y": ("ip2p", {"steps": 3}), "z": ("nothing", {})}
    same = dict(ids=["a", "b"], seeds=[0], weights="w1")
    assert set(study.missing(methods, None, **same)) == {"x", "y", "z"}
    assert set(study.missing(methods, rows(), **same)) == {"z"}
    known = pd.concat([rows(), rows(method="z", settings="{}")])
    assert study.missing(methods, known, **same) == {}
    assert set(study.missing(methods, known, **{**same, "seeds": [0, 1]})) == {"x", "y"}
    assert set(study.missing(methods, known, **{**same, "ids": ["a", "c"]})) == {"x", "y", "z"}
    assert set(study.missing(methods, known, **{**same, "weights": "w2"})) == {"x", "y", "z"}
    changed = {**methods, "y": ("ip2p", {"steps": 4})}
    assert study.missing(changed, known, **same) == {"y": changed["y"]}


class Fake(SimpleNamespace):
    """A study without models."""

    table, kept = study.Study.table, study.Study.kept


def test_a_full_study_keeps_recorded_rows_and_computes_the_others(tmp_path, monkeypatch):
    s = Fake(
        profile="full", is_default=True, seeds=(0,), features=None,
        models=SimpleNamespace(fingerprint="w1"),
        items=[SimpleNamespace(id=name) for name in ("a", "b")],
    )  # fmt: skip
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    rows().to_csv(tmp_path / "t.csv", index=False)
    asked = []

    def compute(models, items, methods, features, **_):
        asked.extend(methods)
        return (
            rows(method="y", l1_source=0.9, settings='{"steps": 4}')
            .iloc[:2]
            .drop(columns="processor")
        )

    monkeypatch.setattr(study.cache, "table", compute)
    methods = {"y": ("ip2p", {"steps": 4}), "x": ("ip2p", {"steps": 3})}
    table = s.table("t", methods)
    assert asked == ["y"]
    assert table["method"].tolist() == ["y", "y", "x", "x"]
    assert table["l1_source"].tolist() == [0.9, 0.9, 0.1, 0.2]
    assert table["processor"].tolist() == [study.processor()] * 2 + ["p"] * 2
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "t.csv"))
    s.table("t", methods)
    assert asked == ["y"]  # all stand now
