"""Recorded tables: tied to what made them, never torn, and not stale unseen."""

import itertools
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cirp.experiments import records
from cirp.experiments.records import CHECKED, PROVENANCE, agreement, write
from cirp.metrics import scores
from cirp.metrics.features import load_features


def rows(**changes) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "id": ["a", "b", "a", "b"],
            "method": ["x", "x", "y", "y"],
            "seed": 0,
            "weights": "w1",
            "instruments": "j1",
            "settings": '{"steps": 3}',
            "scheduler": "s1",
            "item": ["ia", "ib", "ia", "ib"],
            "code": "ip2p 1.1",
            "processor": "p",
            "device": "cpu",
            "versions": "torch 2",
            **{name: [0.1, 0.2, 0.3, 0.4] for name in CHECKED},
            "success": [0, 1, 1, 0],
        }
    )
    return table.assign(**changes)


def test_equal_tables_agree_and_a_slice_of_them_does(tmp_path):
    assert agreement(rows(), rows(), tmp_path) == 0
    assert agreement(rows().iloc[:1], rows(), tmp_path) == 0


@pytest.mark.parametrize(
    "fresh, words",
    [
        (rows(weights="w2"), "a / x / 0 was made with other weights .w1, now w2"),
        (rows(instruments="j2"), "a / x / 0 was made with other instruments .j1, now j2"),
        (rows(seed=3), "lacks 4 of 4 cells"),
        (rows(settings='{"steps": 9}'), "other settings"),
        (rows(scheduler="s2"), "other scheduler"),
        (rows(item=["ia", "ic", "ia", "ib"]), "b / x / 0 was made with other item .ib, now ic"),
        (rows(code="ip2p 1.2"), "other code .ip2p 1.1, now ip2p 1.2"),
        (rows(clip_i_source=[0.2, 0.3, 0.4, 0.5]), "clip_i_source of [ab] / [xy] / 0 was 0.[1-4]"),
        (rows(clip_i_source=[0.1, 0.2, 0.3, 0.41]), "of b / y / 0 was 0.4000 and is 0.4100 now"),
        (rows(success=[0, 1, 1, 1]), "success of b / y / 0 was 0.0000 and is 1.0000"),
        (rows(l1_source=[np.nan, 0.2, 0.3, 0.4]), "l1_source of a / x / 0 was 0.1000 and is nan"),
    ],
)
def test_stale_tables_are_named_with_the_cell_the_values_and_the_remedy(tmp_path, fresh, words):
    with pytest.raises(ValueError, match=words) as raised:
        agreement(fresh, rows(), tmp_path / "main.csv")
    assert "make full" in str(raised.value) and "main.csv" in str(raised.value)


def test_what_is_undefined_on_both_sides_agrees(tmp_path):
    both = rows(l1_source=[np.nan, 0.2, 0.3, 0.4])
    assert agreement(both, both, tmp_path) == 0
    with pytest.raises(ValueError, match="was nan and is 0.1000"):
        agreement(rows(), both, tmp_path)


@pytest.mark.parametrize("name", records.ROUNDING)
def test_another_processor_device_or_version_may_round_but_not_disagree(tmp_path, name):
    little = rows(**{name: "q"}, l1_source=[0.11, 0.21, 0.31, 0.41])
    assert agreement(little, rows(), tmp_path) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="l1_source"):
        agreement(rows(l1_source=little["l1_source"]), rows(), tmp_path)
    with pytest.raises(ValueError, match="l1_source"):
        agreement(rows(**{name: "q"}, l1_source=[0.3, 0.4, 0.5, 0.6]), rows(), tmp_path)
    with pytest.raises(ValueError, match="l1_source of b / y"):  # one cell far off, the mean not
        agreement(rows(**{name: "q"}, l1_source=[0.1, 0.2, 0.3, 0.75]), rows(), tmp_path)
    agreement(rows(**{name: "q"}, success=[0, 1, 1, 1]), rows(), tmp_path)  # one verdict turned
    with pytest.raises(ValueError, match="success"):
        agreement(rows(**{name: "q"}, success=[1, 0, 0, 1]), rows(), tmp_path)


@pytest.mark.parametrize("column", PROVENANCE)
def test_a_table_without_provenance_is_neither_written_nor_trusted(tmp_path, column):
    with pytest.raises(ValueError, match=f"no column {column}"):
        write(tmp_path / "t.csv", rows().drop(columns=column))
    assert not list(tmp_path.iterdir())
    if column != "seed":
        with pytest.raises(ValueError, match=f"no column {column}; run make full"):
            agreement(rows(), rows().drop(columns=column), tmp_path)


def test_a_write_that_fails_leaves_the_last_table_whole(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    write(path, rows())
    before = path.read_bytes()

    def full(self, where, **_):
        with open(where, "w") as half:
            half.write("id,meth")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="No space"):
        write(path, rows(seed=1))
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["t.csv", "t.made.json"]


def test_every_recorded_table_is_tied_down():
    tables = sorted(records.RESULTS.glob("*.csv"))
    assert len(tables) > 10
    for path, name in itertools.product(tables, PROVENANCE):
        assert name in records.read(path), (path.name, name)


def test_names_and_hashes_of_digits_stay_texts(tmp_path):
    table = rows(id=["0", "1", "0", "1"], item=["001234567890", "12e456789012"] * 2)
    pd.testing.assert_frame_equal(write(tmp_path / "t.csv", table), table, check_dtype=False)


def test_an_edit_called_na_null_or_none_counts_in_every_mean(tmp_path):
    names = ["NA", "null", "None", "nan", "N/A", "plain"]
    rows = [dict(id=name, method="ip2p", success=1.0) for name in names]
    tied = dict.fromkeys(records.PROVENANCE, "x") | {"seed": 0}
    table = records.write(tmp_path / "t.csv", pd.DataFrame([row | tied for row in rows]))
    assert table["id"].tolist() == names
    assert table.groupby("id")["success"].mean().size == len(names)


def test_rows_from_before_stand_only_while_nothing_else_has_changed(models, monkeypatch):
    facts = {"weights": {models.fingerprint: models.state}}
    monkeypatch.setattr(records, "before", lambda: facts)
    how = dict(settings={}, seed=0, code="x 1")
    assert records.provenance(models, **how)["weights"] == models.fingerprint
    models.instruct.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    try:
        assert records.provenance(models, **how)["weights"] != models.fingerprint
    finally:
        models.instruct.disable_freeu()
    assert records.provenance(models, **how)["weights"] == models.fingerprint


@pytest.mark.parametrize("change", ["view", "preprocessing", "tokenizer", "tensors"])
def test_what_scores_depend_on_is_part_of_the_instruments(change):
    features = load_features("miniature")
    assert records.instruments(features) == f"{features.fingerprint} {scores.CODE}"  # as recorded
    before = features.state
    if change == "view":
        features.view = "crop"
    elif change == "preprocessing":
        features._processors["clip"].image_mean = [0.1, 0.2, 0.3]
    elif change == "tokenizer":
        features._tokenizer.add_tokens(["zyzzyva"])
    else:
        features._dinov2.embeddings.cls_token.data += 1
    assert features.state != before
    assert records.instruments(features) != f"{features.fingerprint} {scores.CODE}"


CELLS = st.one_of(st.none(), st.floats(allow_infinity=False, width=32), st.integers(-9, 9))


@given(
    st.lists(
        st.tuples(st.sampled_from(["NA", "a", "0", "b-1"]), st.sampled_from(["x", "y"]), CELLS,
                  st.sampled_from(["s1", "s2"]), st.sampled_from([True, False])),
        min_size=1, max_size=12,
    )
)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_apart_is_read_back_whole(tmp_path, found):
    table = pd.DataFrame(found, columns=["id", "method", "value", "settings", "pasted"])
    table["value"] = table["value"].astype(float)
    table = table.assign(
        edit_type="add", seed=0, weights="w", instruments="", scheduler="s", processor="p",
        device="cpu", versions="v", item=[f"i-{name}" for name in table["id"]],
        code=[f"{method} 1" for method in table["method"]],
    )  # fmt: skip
    again = write(tmp_path / "t.csv", table, digits=9)
    assert list(again) == list(table)
    pd.testing.assert_frame_equal(
        again, table.replace({"instruments": {"": np.nan}}), check_dtype=False, rtol=1e-8
    )


def test_a_table_and_what_stands_aside_are_of_one_run(tmp_path):
    path = tmp_path / "t.csv"
    write(path, rows())
    old = path.read_bytes()
    write(path, rows(success=[1, 1, 1, 1]))
    path.write_bytes(old)  # as if a kill had come between the two
    with pytest.raises(ValueError, match="not of one run"):
        records.read(path)


def test_the_books_tables_stay_small():
    assert sum(path.stat().st_size for path in records.RESULTS.glob("*.*")) < 10e6
