"""A book of one's own: built only into a folder made for it, whatever chapter fails."""

import os
import subprocess

import pytest
import yaml
from papermill.exceptions import PapermillExecutionError
from PIL import Image
from typer.testing import CliRunner

from cirp.cli import app
from cirp.commands import notebooks, own_book
from cirp.data.edits import METADATA, load_edits
from cirp.data.images import DataError
from cirp.experiments.needs import preferred
from cirp.paths import ROOT
from tests.conftest import painted


@pytest.fixture
def edits(tmp_path):
    """One whole-picture edit among others, no masks."""
    folder = tmp_path / "my edits"
    folder.mkdir()
    lines = []
    for i, said in enumerate(("make it a pencil sketch", "add a hat", "add two cats")):
        painted(seed=i).save(folder / f"{i}.png")
        whole = ', "is_global": true' if i == 0 else ""
        lines.append(f'{{"source_file_name": "{i}.png", "instruction": "{said}"{whole}}}\n')
    (folder / METADATA).write_text("".join(lines))
    return folder


def test_a_whole_picture_edit_without_a_mask_drops_no_other(edits):
    items = load_edits(edits)
    assert preferred(items, ("words", "mask", "target caption")) == items


@pytest.mark.parametrize("place", ["a folder of mine", "a file", "the checkout", "the edits"])
def test_what_stands_in_a_folder_is_never_lost(edits, tmp_path, place, monkeypatch):
    mine = tmp_path / "Docs"
    (mine / "book").mkdir(parents=True)
    (mine / "book" / "thesis.txt").write_text("years")
    out = {"a folder of mine": mine, "a file": mine / "book" / "thesis.txt", "the checkout": ROOT,
           "the edits": edits}[place]  # fmt: skip
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    monkeypatch.setattr(own_book, "execute", lambda *_: pytest.fail("it began"))
    done = CliRunner().invoke(app, ["book", "--edits", str(edits), "--out", str(out)])
    assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "name a folder that does not exist" in done.stderr or "another folder" in done.stderr
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert (ROOT / "book" / "_toc.yml").exists()


def test_a_folder_made_before_is_made_anew(tmp_path):
    own_book.check_folder(tmp_path / "new", own_book.MARK)
    book = own_book.prepare(tmp_path / "new")
    (book / "old.md").write_text("x")
    own_book.check_folder(tmp_path / "new", own_book.MARK)
    assert not (own_book.prepare(tmp_path / "new") / "old.md").exists()
    assert not (book / "intro.md").exists() and (book / "_static").is_dir()


def test_a_chapter_that_fails_is_left_out_and_the_book_goes_on(tmp_path, monkeypatch, capsys):
    def executed(source, out, given):
        if source.stem.startswith("03"):
            raise PapermillExecutionError(3, 1, "x", "IndexError", "list index out of range", [])
        why = "no edit has mask" if source.stem.startswith("07") else ""
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{source.stem}.ipynb").write_text("{}")
        return {"left_out": why, "seconds": 1.0}

    monkeypatch.setattr(notebooks, "execute", executed)
    shown, without = own_book.execute(own_book.CHAPTERS, {"steps": 3}, tmp_path)
    assert shown[0] == own_book.FIRST and set(without) == {
        "03_attention", "07_what_scores_cannot_tell"
    }  # fmt: skip
    assert "IndexError: list index out of range" in without["03_attention"]
    assert "03_attention: left out. IndexError" in capsys.readouterr().out
    listed = own_book.contents(shown)["parts"][0]["chapters"]
    assert listed[0] == {"file": f"notebooks/{own_book.FIRST}"} and len(listed) == len(shown)


def test_quotes_in_makes_variables_are_only_letters(tmp_path):
    """`make -n` would show what the shell is given; here the command itself is replaced."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".cirp-installed").touch()
    said = tmp_path / "said"
    fake = venv / "bin" / "cirp"
    fake.write_text(f'#!/bin/sh\nfor a in "$@"; do echo "$a" >> {said}; done\n')
    fake.chmod(0o755)
    os.utime(venv / ".cirp-installed", (2**31, 2**31))
    evil = f"my'edits\"; touch {tmp_path}/owned; echo `touch {tmp_path}/owned`"
    done = subprocess.run(
        ["make", "-s", "book", f"VENV={venv}", f"EDITS={evil}", f"OUT={tmp_path}/o'o"], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = said.read_text().splitlines()
    assert words[0] == "book" and evil in words and f"{tmp_path}/o'o" in words
    assert not (tmp_path / "owned").exists()


def test_the_front_page_shows_the_first_picture_and_what_was_left_out(edits, tmp_path):
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "figures" / "19_first_picture.webp")
    text = own_book.front_page(tmp_path, {"07_x": "no masks"}, edits=edits, models="miniature")
    assert "../figures/19_first_picture.webp" in text and "3 pictures" in text
    assert "`07_x`: no masks" in text and "notebooks/19_your_pictures.ipynb" in text


def test_bad_edits_are_one_line_before_anything_is_made(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        own_book.build(tmp_path / "out", {}, edits=tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_the_configuration_is_the_books(tmp_path):
    known = own_book.configuration()
    assert yaml.safe_load(yaml.safe_dump(known)) == known and known["title"] == "Your pictures"
