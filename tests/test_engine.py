"""The engine: what is recorded is kept, what is not is computed, and what differs is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cirp.experiments import cache, records, results, study
from cirp.experiments.engine import Cell, Experiment, Job, cells_of, placed, scores
from cirp.methods import METHODS
from tests.conftest import Blank

TWO = cells_of({"x": ("ip2p", {"steps": 3}), "y": ("noisy", {"steps": 3}), "z": ("nothing", {})})


def measure(job, cell):
    """One row a seed and edit, without running anything."""
    asked.append(cell.label)
    rows = [dict(id=item.id, seed=seed) for seed in job.seeds for item in job.items]
    return pd.DataFrame(rows).assign(**dict.fromkeys(records.CHECKED, 0.1))


asked: list[str] = []
LIVE = Experiment("t", lambda steps: TWO, measure=measure)


def computed(job, cells, known=None, experiment=LIVE):
    """The labels that were measured."""
    asked.clear()
    experiment.rows(job, cells, known)
    return set(asked)


@pytest.fixture
def job(models, items):
    return Job(models, Blank(), items, items)


def test_only_what_is_not_recorded_is_computed(job):
    table = LIVE.rows(job, TWO)
    assert computed(job, TWO, table) == set()
    assert computed(job, TWO, table[table["method"] != "z"]) == {"z"}
    assert computed(replace(job, seeds=(0, 1)), TWO, table) == {"x", "y"}  # z has no noise
    assert computed(job, TWO, table.iloc[1:]) == {"x"}
    changed = [TWO[0], replace(TWO[1], settings={"steps": 4}), TWO[2]]
    assert computed(job, changed, table) == {"y"}


@pytest.mark.parametrize("column", ["weights", "scheduler", "code", "item", "settings"])
def test_a_row_made_of_anything_else_is_computed_again(job, column):
    table = LIVE.rows(job, TWO)
    table.loc[table["method"] == "y", column] = "another"
    assert computed(job, TWO, table) == {"y"}
    assert computed(job, TWO, table.drop(columns=column)) == {"x", "y", "z"}


@pytest.mark.parametrize("column", records.ROUNDING)
def test_another_machine_shares_its_rows(job, column):
    assert computed(job, TWO, LIVE.rows(job, TWO).assign(**{column: "another"})) == set()


def test_rows_that_another_judge_has_scored_are_made_again(job):
    table = LIVE.rows(job, TWO)
    newer = Blank()
    newer.fingerprint = "new judge"
    other = replace(job, features=newer)
    assert computed(other, TWO, table) == {"x", "y", "z"}
    assert computed(replace(job, features=None), TWO, table) == set()  # their edits are the same
    unscored = replace(LIVE, scored=False)
    assert computed(other, TWO, unscored.rows(job, TWO), unscored) == set()


def test_cells_of_one_label_are_told_apart_by_their_columns(job, tmp_path):
    both = [
        replace(TWO[0], columns={"point": n, "text_scale": s}) for n, s in ((0, 2.5), (1, np.nan))
    ]
    table = LIVE.rows(job, both)
    path = tmp_path / "t.csv"
    assert computed(job, both, records.write(path, table)) == set()
    assert computed(job, both, table[table["point"] == 1]) == {"x"}


def test_the_table_of_a_cell_is_that_of_its_edits(models, items):
    job = Job(models, Blank(), items, items, (0, 1))
    with_words = Cell("w", "ip2p", {"steps": 1}, {"part": "w"}, lambda some: list(some)[:1])
    rows = Experiment("t", lambda steps: []).rows(job, [with_words])
    assert rows["id"].tolist() == [items[0].id] * 2 and rows["seed"].tolist() == [0, 1]
    made = cache.edits(models, items[:1], "ip2p", settings={"steps": 1}, progress=False)
    want = np.abs(np.asarray(made[0].image, float) - np.asarray(items[0].source(), float)).mean()
    assert rows["l1_source"][0] == pytest.approx(want / 255, abs=1e-6)


def test_pasting_leaves_the_source_outside_of_a_given_region(models, items):
    where = np.zeros((64, 64), bool)
    where[:, :16] = True
    cell = Cell("c", "held", {"steps": 1}, regions=lambda job: [where] * len(job.items))
    rows = scores(Job(models, Blank(), items, items), cell, paste=True)
    assert rows["pasted"].tolist() == [False] * 3 + [True] * 3
    (made,) = cache.edits(models, placed(items[:1], [where]), "held", settings={"steps": 1},
                          progress=False)  # fmt: skip
    over = Image.composite(made.image, items[0].source(), Image.fromarray(where))
    want = np.abs(np.asarray(over, float) - np.asarray(items[0].source(), float)).mean() / 255
    assert rows["l1_source"][3] == pytest.approx(want, abs=1e-6)


def test_a_placed_edit_is_the_same_edit_with_another_mask(items):
    where = np.eye(64) > 0
    (other,) = placed(items[:1], [where])
    assert (other.mask() == where).all()
    mine, theirs = cache.task(items[0], 0), cache.task(other, 0)
    assert replace(theirs, mask=None, image=mine.image) == replace(mine, mask=None)
    assert theirs.image.tobytes() == mine.image.tobytes()


def book(models, items, **more):
    """A study that is the book's, of tiny models."""
    facts = dict(profile="quick", models=models, items=list(items), seeds=(0,), steps=20,
                 features=Blank())  # fmt: skip
    made = object.__new__(study.Study)
    made.__dict__.update(facts | more)
    return made


@pytest.fixture
def one_table(monkeypatch, tmp_path):
    """The engine with one table, kept in a folder of its own."""

    def use(measure):
        cells = cells_of({"x": ("ip2p", {"steps": 1})})
        experiment = Experiment("t", lambda steps: cells, measure=measure)
        monkeypatch.setitem(results.EXPERIMENTS, "t", experiment)
        return experiment

    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setattr(study.Study, "is_default", True)
    return use


def pixels(job, cell):
    """The mean of each edited picture, whatever else."""
    made = cache.edits(job.models, job.items, cell.method, settings=cell.settings, progress=False)
    rows = [dict(id=i.id, seed=0, success=float(np.asarray(m.image).mean() / 255))
            for i, m in zip(job.items, made, strict=True)]  # fmt: skip
    return pd.DataFrame(rows).assign(**dict.fromkeys(records.CHECKED[1:], 0.1))


def test_a_forgotten_version_is_found_with_a_warm_cache(
    models, items, one_table, tmp_path, monkeypatch
):
    experiment = one_table(pixels)
    s = book(models, items)
    with cache.kept_in(tmp_path / "warm"):
        rows = experiment.rows(Job(models, s.features, items, items), experiment.cells(20))
        records.write(tmp_path / "t.csv", rows)
        results.table(s, "t")  # agrees
        method = METHODS["ip2p"]

        def darker(models, tasks, *rest):
            made = method.batch(models, tasks, *rest)
            return replace(made, images=[im.point(lambda v: v // 2) for im in made.images])

        monkeypatch.setitem(METHODS, "ip2p", replace(method, batch=darker))
        with pytest.raises(ValueError, match="success of .* was .* run cirp tables t"):
            results.table(s, "t")


def test_a_table_that_is_missing_names_the_command_that_makes_it(one_table, models, items):
    one_table(pixels)
    with pytest.raises(ValueError, match="run cirp tables t"):
        results.table(book(models, items), "t")
    for name, command in results.MEASURED.items():
        with pytest.raises(ValueError, match=f"run {command}"):
            results.known(name)


def test_a_book_of_ones_own_has_its_own_table(one_table, models, items, tmp_path, monkeypatch):
    one_table(pixels)
    monkeypatch.setattr(study.Study, "is_default", False)
    monkeypatch.setattr(study.Study, "results", tmp_path / "own")
    rows = results.table(book(models, items, profile="full"), "t")
    assert rows["id"].tolist() == [item.id for item in items]
    pd.testing.assert_frame_equal(
        records.read(tmp_path / "own" / "t.csv")[["id", "method"]], rows[["id", "method"]]
    )
    assert results.of_book(book(models, items), "t") is None


def test_a_wrong_name_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(results, "load", None)
    with pytest.raises(ValueError, match="unknown table 'frontier'; there are main, blends"):
        results.make(["frontier"])


def test_processes_share_the_edits(monkeypatch, models, items, one_table, tmp_path):
    seen = []

    def note(job, cell):
        seen.append([item.id for item in job.items])
        return pd.DataFrame()

    one_table(note)
    monkeypatch.setattr(results, "load", lambda name, device: models)
    monkeypatch.setattr(results, "book_items", lambda models: list(items))
    for names in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        seen.clear()
        for rank in "01":
            with monkeypatch.context() as own:
                for name, value in zip(names, (rank, "2"), strict=True):
                    own.setenv(name, value)
                results.make(["t"])
        assert seen == [[items[0].id, items[2].id], [items[1].id]]
    assert not list(tmp_path.glob("*.csv"))  # the last call, alone, writes


@pytest.mark.parametrize("name", ["controls", "guesses", "subject"])
def test_what_runs_no_editor_is_not_shared(models, items, name, monkeypatch):
    """Such cells keep nothing, and need the judge or the encoders that a share does not load."""
    run = []
    noted = replace(
        results.EXPERIMENTS[name], items=lambda: list(items),
        measure=lambda job, cell: run.append(cell) or pd.DataFrame(),
    )  # fmt: skip
    monkeypatch.setattr(results, "load", lambda name, device: models)
    monkeypatch.setitem(results.EXPERIMENTS, name, noted)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    results.make([name])
    assert all(cell.method for cell in run)


def test_every_table_has_a_file_and_every_file_a_table():
    there = {path.stem for path in records.RESULTS.glob("*.csv")}
    assert there == set(results.EXPERIMENTS) | set(results.MEASURED)


@pytest.mark.parametrize("name", results.EXPERIMENTS)
def test_no_two_cells_of_a_table_are_one(name):
    experiment = results.EXPERIMENTS[name]
    cells = list(experiment.cells(experiment.steps))
    keys = [(cell.label, *map(str, cell.columns.values())) for cell in cells]
    assert len(set(keys)) == len(keys) > 0
    assert any(cell.in_slice for cell in cells)
    assert set(records.KEYS) >= set().union(*(set(cell.columns) for cell in cells))
