"""The same number of candidates for all, and the rule that chooses, worked out by hand."""

import json

import pandas as pd
import pytest

from cirp.experiments import cache, configurations, search


def test_every_contender_gets_the_same_budget_and_its_papers_own_settings():
    assert set(search.CANDIDATES) == set(configurations.found()) - {configurations.BASELINE}
    for name, tried in search.CANDIDATES.items():
        assert len(tried) == search.BUDGET and tried[0] == {}, name
        assert len({json.dumps(own) for own in tried}) == search.BUDGET, name


def test_every_candidate_is_known_to_its_method():
    for method, settings in search.candidates().values():
        cache.completed(method, settings)


def rows(method, success, outside):
    return [
        {"method": method, "id": f"i{n}", "seed": 0, "success": s, "region_iou": 0.5,
         "l1_source_outside_excess": o, "settings": "{}", "weights": "w", "scheduler": "s",
         "processor": "p", "item": f"i{n}", "code": "c"}
        for n, (s, o) in enumerate(zip(success, outside, strict=True))
    ]  # fmt: skip


def test_the_choice_keeps_success_and_lets_change_go():
    base = rows(configurations.BASELINE, [1, 0], [0.2, 0.2])
    quiet = rows("LIME | {}", [0, 0], [0.0, 0.0])  # 0 / 0.5 - 0 = 0
    good = rows('LIME | {"points": 8}', [1, 0], [0.1, 0.1])  # 1 - 0.5 = 0.5
    loud = rows('LIME | {"clusters": 5}', [1, 1], [0.4, 0.4])  # 2 - 2 = 0
    scored = search.utility(pd.DataFrame(base + quiet + good + loud)).set_index("method")
    assert scored.loc[configurations.BASELINE, "utility"] == pytest.approx(0.0)
    assert scored.loc['LIME | {"points": 8}', "utility"] == pytest.approx(0.5)
    assert search.choose(scored.reset_index()) == {"LIME": {"points": 8}}


def test_chosen_settings_lie_over_the_usual_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(configurations, "CHOSEN", tmp_path / "chosen.json")
    plain = configurations.found()["LIME"][1]
    assert configurations.searched() == {} and "points" not in plain
    (tmp_path / "chosen.json").write_text(json.dumps({"LIME": {"points": 8, "strides": [1, 2]}}))
    chosen = configurations.found()["LIME"][1]
    assert chosen == {**plain, "points": 8, "strides": (1, 2)}
    assert configurations.told()["LIME, true mask"][1]["points"] == 8


def test_one_contender_can_be_renewed_alone(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no contender 'LIM'; there are Prompt-to-Prompt"):
        search.candidates(only="LIM")
    only = search.candidates(only="LIME")
    assert len(only) == search.BUDGET + 1 and configurations.BASELINE in only
    monkeypatch.setattr(configurations, "CHOSEN", tmp_path / "chosen.json")
    monkeypatch.setattr(search, "TABLE", tmp_path / "search.csv")
    (tmp_path / "chosen.json").write_text(json.dumps({"LIME": {"points": 8}, "ASG": {}}))
    old = [configurations.BASELINE, "ASG | {}", "LIME | {}", 'LIME | {"gone": 1}']
    pd.DataFrame({"method": old, "utility": [0.0, 0.4, 0.9, 0.8]}).to_csv(
        tmp_path / "search.csv", index=False
    )
    fresh = rows(configurations.BASELINE, [1, 0], [0.2, 0.2]) + rows(
        "LIME | {}", [1, 1], [0.1, 0.1]
    )
    monkeypatch.setattr(search, "load", lambda *_, **__: None)
    monkeypatch.setattr(search, "load_features", lambda *_: None)
    monkeypatch.setattr(search.export, "drawn", lambda *_: tmp_path)
    monkeypatch.setattr(search, "load_edits", lambda _: [])
    monkeypatch.setattr(cache, "table", lambda *_, **__: pd.DataFrame(fresh))
    search.search(only="LIME")
    table = pd.read_csv(tmp_path / "search.csv").set_index("method")["utility"]
    assert table.to_dict() == {configurations.BASELINE: 0.0, "ASG | {}": 0.4, "LIME | {}": 1.5}
    assert table.index.tolist() == [configurations.BASELINE, "LIME | {}", "ASG | {}"]
    assert configurations.searched() == {"LIME": {}, "ASG": {}}
