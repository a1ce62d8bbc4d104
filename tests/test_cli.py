"""Bad input ends in one line that names the value and the remedy, before any model is loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import cirp.diffusion.pipelines
from cirp.cli import app
from cirp.diffusion.pipelines import load, resolve
from cirp.methods import METHODS
from tests.conftest import painted


@pytest.fixture(autouse=True)
def no_model_is_loaded(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(cirp.diffusion.pipelines, "_pipeline", fail)


@pytest.fixture
def picture(tmp_path):
    painted().save(tmp_path / "x.png")
    return str(tmp_path / "x.png")


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("cirp: ")
    return lines[0]


def test_a_missing_folder():
    assert "no such folder" in refused("check", "nowhere")


@pytest.mark.parametrize(
    "extra, words",
    [
        (["--models", "sd9"], "unknown models 'sd9'"),
        (["--method", "noisy", "--set", "strength=1.5", "--caption", "a dog"], "strength=1.5"),
        (["--set", "text_scale=-3", "make it red"], "text_scale=-3"),
        (["--set", "steps=0", "make it red"], "steps=0"),
        ([" "], "remap needs an instruction"),
        (["--method", "p2p"], "p2p needs --caption and --source-caption"),
        (["--method", "diffedit", "--source-caption", "a dog"], "diffedit needs --caption"),
        (["--method", "noisy", "make it red"], "needs --caption"),
        (["--method", "noisy", "--caption", "a dog", "x"], "noisy reads no instruction; drop it"),
        (["--source-caption", "a dog", "x"], "remap reads no source caption; drop it"),
        (["--set", "strength=0.5", "x"], "remap has no setting 'strength'"),
        (["--method", "magic", "x"], "unknown method 'magic'; there are ip2p"),
        (["--set", "steps", "x"], "--set 'steps'; give NAME=VALUE"),
        (
            ["--set", "steps=many", "x"],
            "steps='many'; input should be a valid int",
        ),
        (["🎈🎈"], "has no word"),
        (["--method", "p2p", "--caption", "a dog"], "p2p needs --source-caption"),
        (["--method", "lime", "--set", "region=given", "x"], "has no mask"),
        (["--device", "tpu", "x"], "unknown device 'tpu'"),
        (["--device", "cuda:9", "x"], "no cuda device is available"),
    ],
)
def test_bad_values(picture, extra, words):
    assert words in refused("edit", picture, "--out", "y.png", *extra)


def mask_of(tmp_path, name="m.png"):
    picture = painted()
    white = Image.new("L", picture.size, 255)
    white.save(tmp_path / name)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    "method, extra, words",
    [
        ("ip2p", [], "works without a region"),
        ("noisy", ["--caption", "a dog"], "works without a region"),
        ("lime", ["--set", "region=found"], "contradict each other"),
    ],
)
def test_a_mask_is_the_region_or_is_refused(picture, tmp_path, method, extra, words):
    said = refused(
        "edit", picture, "--out", str(tmp_path / "y.png"), "--mask", mask_of(tmp_path),
        "--method", method, "make it red", *extra,
    )  # fmt: skip
    assert words in said


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if "region" in m.settings.model_fields]
)
def test_each_method_with_a_region_takes_the_mask_that_is_given(name):
    assert METHODS[name].parsed(METHODS[name].with_region({})).region == "given"


def test_an_edit_never_replaces_one_of_its_inputs(picture, tmp_path):
    mask = mask_of(tmp_path)
    for out in (picture, mask):
        before = Path(out).read_bytes()
        said = refused("edit", picture, "--mask", mask, "--out", out, "--method", "lime",
                       "x")  # fmt: skip
        assert "is an input of this edit" in said and Path(out).read_bytes() == before


def test_a_broken_picture(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    line = refused("edit", str(tmp_path / "broken.png"), "--out", "y.png", "x")
    assert "broken.png" in line and "replace the file" in line


def test_model_names_are_presets_folders_or_pairs(tmp_path):
    assert resolve("real")[0] == "timbrooks/instruct-pix2pix"
    assert resolve("a/b, c/d") == ("a/b", "c/d")
    with pytest.raises(ValueError, match="no folder .*instruct-pix2pix"):
        resolve(str(tmp_path))
    with pytest.raises(ValueError, match="unknown models 'x'; give 'miniature' or 'real'"):
        load("x")


def test_a_place_that_cannot_be_written_or_would_lose_the_image(picture, tmp_path):
    def to(out) -> str:
        return refused("edit", picture, "--out", str(out), "x")

    assert "is an input of this edit" in to(picture)
    assert "is an input of this edit" in to(tmp_path / ".." / tmp_path.name / "x.png")
    assert "is a folder" in to(tmp_path)
    assert "there is no folder" in to(tmp_path / "nowhere" / "y.png")
    assert "no picture format is called '.tiffany'" in to(tmp_path / "y.tiffany")
    assert "no picture format is called ''" in to(tmp_path / "y")


def test_a_mask_of_another_size_is_refused(picture, tmp_path):
    painted(8, 8).save(tmp_path / "mask.png")
    line = refused(
        "edit", picture, "--out", str(tmp_path / "y.png"), "x",
        "--method", "lime", "--mask", str(tmp_path / "mask.png"),
    )  # fmt: skip
    assert "mask of 8x8" in line


def test_every_method_is_listed_with_its_settings():
    result = CliRunner().invoke(app, ["methods"])
    for name, method in METHODS.items():
        assert f"{name}: {method.summary.removesuffix(chr(46))}" in result.output
        for setting in method.settings.model_fields:
            assert setting in result.output
    assert "unknown method 'magic'" in refused("methods", "magic")


def test_every_setting_says_what_it_means():
    for method in METHODS.values():
        for setting, field in method.settings.model_fields.items():
            assert field.description, (method.name, setting)


def test_settings_of_the_command_line_are_those_of_python():
    lime = METHODS["lime"]
    parsed = lime.parsed({"steps": "12", "strides": "[1, 2]", "abstain": "null", "share": "1"})
    assert parsed == lime.configured(steps=12, strides=(1, 2), abstain=None, share=1.0)
    with pytest.raises(ValueError, match="steps='30'; input should be a valid integer"):
        lime.configured(steps="30")


def test_real_models_without_a_network_are_one_line(picture, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(cirp.diffusion.pipelines.HfApi, "model_info", offline)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    line = refused(
        "edit", picture, "--out", str(tmp_path / "y.png"), "x",
        "--models", "nobody/nothing, nobody/nothing",
    )  # fmt: skip
    assert "hf download nobody/nothing" in line


def test_check_names_the_row_that_no_model_could_be_given(tmp_path):
    painted().save(tmp_path / "a.png")

    def row(**facts) -> str:
        whole = {"source_file_name": "a.png", "instruction": "make it red", "id": "row-7"} | facts
        (tmp_path / "metadata.jsonl").write_text(json.dumps(whole) + "\n")
        return refused("check", str(tmp_path))

    assert "row-7" in row(instruction="cat " * 90) and "shorten it" in row(instruction="cat " * 90)
    assert "row-7" in row(target_caption="cat " * 90)
    assert "row-7" in row(instruction="🎈") and "has no word" in row(instruction="🎈")
    assert "row-7" in row(words=["mak"])


def test_a_locale_without_utf8_loses_no_letter(tmp_path):
    """Locale C, UTF-8 mode switched off: names and texts are UTF-8 all the same."""
    folder = tmp_path / "éditions"
    folder.mkdir()
    painted().save(folder / "chäteau.png")
    row = {"source_file_name": "chäteau.png", "instruction": "add a hat",
           "source_caption": "a dog in a château"}  # fmt: skip
    (folder / "metadata.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-m", "cirp", "refine", "--edits", str(folder), "--dry-run"],
        env={**plain, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, cwd=tmp_path,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    sent = json.loads(json.loads(done.stdout.decode("utf-8").splitlines()[0]))
    assert sent["caption"] == row["source_caption"]
