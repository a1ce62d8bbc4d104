"""What a study computes, what it reads, and where it writes."""

import copy
import inspect
import itertools
import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from diffusers import DDIMScheduler

from cirp import paths
from cirp.chapters import noisy_input, question, scores
from cirp.diffusion.pipelines import fingerprint
from cirp.experiments import cache, needs, records, report, study
from cirp.explorer import page


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
    cells = report.ablation_methods()
    assert len(cells) == 8
    tried = {(method, own["text_scale"], own["prompt"]) for method, own in cells.values()}
    assert tried == set(
        itertools.product(("ip2p", "noisy"), (7.5, 12.0), ("instruction", "caption"))
    )
    rest = [
        {k: v for k, v in own.items() if k not in ("text_scale", "prompt")}
        for method, own in cells.values() if method == "noisy"
    ]  # fmt: skip
    assert all(own == rest[0] for own in rest)


def test_the_effect_of_each_factor_is_read_from_settings_not_from_labels():
    """Noising is worth .4, the text scale .1, the caption nothing, whatever cells are called."""
    rows = []
    for n, (method, own) in enumerate(report.ablation_methods().values()):
        value = 0.4 * (method == "noisy") + 0.1 * (own["text_scale"] == 12.0)
        rows += [
            {"id": name, "method": f"cell {n}", "seed": 0, "settings": json.dumps(own),
             "success": value + extra}
            for name, extra in (("a", 0.0), ("b", 0.2), ("c", 0.3))
        ]  # fmt: skip
    effects = scores.main_effects(pd.DataFrame(rows), ["success"])
    assert [round(one.mean, 9) for one in effects["difference"]] == [0.4, 0.1, 0.0]


def test_a_label_that_stands_for_two_settings_is_refused():
    rows = pd.DataFrame({"method": ["a", "a"], "settings": ['{"steps": 1}', '{"steps": 2}']})
    with pytest.raises(ValueError, match="'a' stands for several settings"):
        records.settings_by_label(rows, "steps")


def test_changed_weights_in_memory_are_other_weights(models):
    before = fingerprint(models.instruct.unet)
    weight = models.instruct.unet.conv_in.weight
    with torch.no_grad():
        weight[0, 0, 0, 0] += 1e-3
        try:
            assert fingerprint(models.instruct.unet) != before
        finally:
            weight[0, 0, 0, 0] -= 1e-3


def test_another_scheduler_configuration_is_another_scheduler(models):
    before = records.scheduler_of_record(models)
    other = replace(models, instruct=copy.copy(models.instruct))
    config = models.instruct.scheduler.config
    other.instruct.scheduler = DDIMScheduler.from_config(config, timestep_spacing="linspace")
    assert records.scheduler_of_record(other) != before


class Bare(SimpleNamespace):
    is_default, results = study.Study.is_default, study.Study.results


def test_a_run_on_ones_own_never_touches_the_books_tables(tmp_path, monkeypatch, models):
    monkeypatch.setenv("CIRP_OUT", str(tmp_path / "own"))
    for change in (dict(folder=str(tmp_path)), dict(seeds=(1,)), dict(steps=20)):
        facts = dict(
            profile="full", models=replace(models, name="miniature"), features=None, items=[],
            everything=[], seeds=(0,), steps=150, usual_steps=150, folder=str(paths.EDITS),
        )  # fmt: skip
        assert Bare(**facts).results == paths.RESULTS
        assert Bare(**(facts | change)).results == tmp_path / "own" / "results"
    foreign = Bare(**(facts | dict(models=replace(models, name="real"))))
    assert foreign.results == tmp_path / "own" / "results" and not foreign.is_default


def test_each_run_has_its_own_folder_of_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRP_OUT", str(tmp_path))
    book = ("data/edits", "miniature", 0)
    assert study.figures_folder("full", *book) == paths.FIGURES
    assert study.figures_folder("quick", *book) == paths.ROOT / "_build" / "figures"
    for other in (("tests", *book[1:]), ("data/edits", "real", 0), ("data/edits", "miniature", 1)):
        assert study.figures_folder("full", *other) == tmp_path / "figures"


def test_opening_a_study_changes_no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("CIRP_OUT", raising=False)
    monkeypatch.setattr(study, "load", None)
    with pytest.raises(needs.LeftOut):
        study.open_study(steps=20, needs=("frontiers",))
    assert "CIRP_OUT" not in os.environ


def test_a_chapter_of_recorded_tables_is_left_out_of_a_book_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.setenv("CIRP_OUT", str(tmp_path))
    monkeypatch.setattr(study, "load", None)
    with pytest.raises(needs.LeftOut, match="tables of hours .frontiers.* is left out"):
        study.open_study(steps=20, needs=("frontiers",))


@pytest.mark.parametrize(
    "bad", [dict(steps="30"), dict(seed="0"), dict(steps=True), dict(edits=3), dict(models=None)]
)
def test_a_parameter_of_the_wrong_type_is_named(bad, monkeypatch):
    monkeypatch.setattr(study, "load", None)
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name}={value!r}; give a value of type"):
        inspect.unwrap(study.open_study)(**bad)  # tests check types before it can


def test_edits_without_what_a_chapter_shows_are_left_out_with_a_line(items, capsys):
    assert needs.showable(items, ()) == list(items)
    assert needs.showable(items, ("target caption",)) == list(items)
    bare = replace(items[0], record=items[0].record.model_copy(update={"target_caption": None}))
    assert needs.showable([bare, *items], ("target caption",)) == list(items)
    assert "1 of 4 edits have no target caption and are left out here" in capsys.readouterr().out
    with pytest.raises(needs.LeftOut, match="no edit has target caption and mask"):
        needs.showable([bare], ("target caption", "mask"))


def without(item, **nothing):
    return replace(item, record=item.record.model_copy(update=dict.fromkeys(nothing)))


def test_what_a_chapter_prefers_it_asks_for_only_where_there_is_some(items, capsys):
    bare = without(items[0], target_caption=True)
    assert needs.preferred([bare, *items], ("target caption", "mask")) == list(items)
    assert "1 of 4 edits have no target caption" in capsys.readouterr().out
    assert needs.preferred([bare, bare], ("target caption", "mask")) == [bare, bare]
    assert capsys.readouterr().out == ""


def test_methods_that_need_captions_are_left_out_with_a_line_where_there_are_none(items, capsys):
    methods = report.main_methods(4)
    assert needs.possible(methods, items) == methods
    bare = without(items[0], target_caption=True)
    assert set(methods) - set(needs.possible(methods, [bare, *items])) == {report.NOISY}
    assert "left out: noisy input." in capsys.readouterr().out
    needs.possible(report.sweep_methods(), [bare])
    assert "left out: 10 of 17 settings." in capsys.readouterr().out


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 150])
def test_no_table_takes_more_steps_than_were_asked_for(steps):
    tables = (report.main_methods(steps), report.step_methods(steps))
    taken = {own.get("steps", 0) for table in tables for _, own in table.values()}
    assert max(taken) <= steps and taken - {0}


def test_captions_that_no_rule_can_write_are_left_out_with_a_line(items, capsys):
    def captioned(item, **more):
        return replace(item, record=item.record.model_copy(update=more))

    none = dict(target_caption=None, source_caption="a sad dog on the beach")
    bare = captioned(items[0], **none, instruction="make the dog happy")
    wild = captioned(items[1], **none, instruction="do it")
    assert list(noisy_input.captions([bare, wild]).index) == [bare.record.instruction]
    assert noisy_input.captions([wild]) is None
    assert "No source caption here can be refined by rule" in capsys.readouterr().out


def test_what_leaves_no_step_to_run_is_left_out_and_said(items, capsys):
    methods = {
        "half": ("noisy", {"steps": 2, "strength": 0.5, "prompt": "instruction"}),
        "less": ("noisy", {"steps": 2, "strength": 0.4, "prompt": "instruction"}),
        "whole": ("ip2p", {"steps": 1}),
    }
    found = needs.possible(methods, items)
    assert set(found) == {"half", "whole"}
    for method, settings in found.values():
        cache.completed(method, settings)  # and these are settings that run
    with pytest.raises(ValueError, match="leaves no step to run"):
        cache.completed(*methods["less"])
    assert "left out: less. Of so few steps the strength leaves none" in capsys.readouterr().out


def test_the_explorer_opens_at_the_edit_of_the_front_page():
    assert question.chosen(study.open_study(), None).id == page.FRONT == page.shown_items()[0].id
