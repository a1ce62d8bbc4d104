"""Bad input ends in one line that names the value and the remedy, before any model is loaded."""

import pytest
from typer.testing import CliRunner

import cirp.diffusion.pipelines
from cirp.cli import app
from cirp.diffusion.pipelines import load, resolve
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
    assert "no such folder" in refused("check", "--edits", "nowhere")


@pytest.mark.parametrize(
    "extra, words",
    [
        (["--models", "sd9"], "unknown models 'sd9'"),
        (["--method", "noisy", "--strength", "1.5", "--caption", "a dog"], "strength=1.5"),
        (["--text-scale", "-3", "--instruction", "make it red"], "text_scale=-3.0"),
        (["--steps", "0", "--instruction", "make it red"], "steps=0"),
        (["--instruction", " "], "give --instruction"),
        (["--method", "noisy", "--instruction", "make it red"], "give --caption"),
        (["--strength", "0.5", "--instruction", "x"], "strength=0.5 belongs to the noisy"),
    ],
)
def test_bad_values(picture, extra, words):
    assert words in refused("edit", "--image", picture, "--out", "y.png", *extra)


def test_a_broken_picture(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    line = refused(
        "edit", "--image", str(tmp_path / "broken.png"), "--out", "y.png", "--instruction", "x"
    )
    assert "broken.png" in line and "replace the file" in line


def test_model_names_are_presets_folders_or_pairs(tmp_path):
    assert resolve("real")[0] == "timbrooks/instruct-pix2pix"
    assert resolve("a/b, c/d") == ("a/b", "c/d")
    with pytest.raises(ValueError, match="no folder .*instruct-pix2pix"):
        resolve(str(tmp_path))
    with pytest.raises(ValueError, match="unknown models 'x'; give 'miniature' or 'real'"):
        load("x")
