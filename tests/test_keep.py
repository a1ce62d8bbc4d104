"""`keep` restores the rest of the source, leaves the edit, and refuses what it cannot decide."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cirp
from cirp.cli import app
from cirp.data.edits import load_edits
from cirp.data.images import open_image
from cirp.metrics.registration import move
from cirp.metrics.repair import found_region, keep

LOCAL = [item for item in load_edits("data/edits") if not item.record.is_global]


def array(picture):
    return np.asarray(picture, float)


@pytest.mark.parametrize("number", range(0, 24, 3))
def test_the_true_answer_with_strays_becomes_the_true_answer(number):
    item = LOCAL[number]
    truth, away = array(item.target()), ~item.mask()
    rng = np.random.default_rng(number)
    stray = truth + away[..., None] * rng.normal(0, 6, truth.shape)
    edited = Image.fromarray(stray.clip(0, 255).round().astype(np.uint8))
    made = keep(item.source(), edited)
    before, after = (np.abs(array(p) - truth).mean() for p in (edited, made.image))
    assert after < 0.5 * before
    far = away & ~made.region
    assert np.abs(array(made.image) - array(item.source()))[far].mean() < 1.5
    assert made.after <= made.before


def test_a_region_is_found_without_a_mask():
    overlaps = []
    for item in LOCAL[:20]:
        found, truth = found_region(item.source(), item.target()), item.mask()
        overlaps.append((found & truth).sum() / (found | truth).sum())
    assert np.mean(overlaps) > 0.65
    same = found_region(LOCAL[0].source(), LOCAL[0].source())
    assert not same.any()


def test_a_shifted_output_is_put_back_in_its_place():
    item = LOCAL[0]
    made = keep(item.source(), move(item.target(), dx=6.0, dy=-3.0))
    assert made.registration.moved
    assert made.before > 5 * made.after
    still = keep(item.source(), item.target())
    apart = np.abs(array(made.image) - array(still.image)).mean()
    assert apart < 6 and not still.registration.moved


def test_what_looks_like_an_edit_of_the_whole_picture_is_refused_unless_told():
    item = LOCAL[0]
    other = Image.fromarray(255 - np.asarray(item.source()))
    with pytest.raises(ValueError, match="looks like an edit of the whole picture; give a mask"):
        keep(item.source(), other)
    assert keep(item.source(), other, whole=True).image.size == other.size


def test_noise_everywhere_is_no_edit():
    rng = np.random.default_rng(0)
    pixels = rng.integers(80, 120, (64, 64, 3))
    noisy = pixels + rng.integers(-12, 13, pixels.shape)
    source, output = (Image.fromarray(one.astype(np.uint8)) for one in (pixels, noisy))
    with pytest.raises(ValueError, match="no edit stands out"):
        keep(source, output)
    assert keep(source, output, whole=True).region.mean() > 0.99


def test_a_mask_is_the_region(tmp_path):
    item = LOCAL[0]
    made = cirp.keep(item.source(), item.target(), item.mask())
    assert (made.region == item.mask()).all()
    with pytest.raises(ValueError, match="black everywhere|0 pixels of it white"):
        cirp.keep(item.source(), item.target(), np.zeros((64, 64), bool))
    with pytest.raises(ValueError, match="crop one of them to the other's proportions"):
        cirp.keep(item.source(), item.target().resize((64, 96)))


def test_the_command_says_what_it_did_and_destroys_nothing(tmp_path):
    item = LOCAL[0]
    item.source().save(tmp_path / "a.png")
    move(item.target(), dx=6.0).resize((96, 96)).save(tmp_path / "b.png")

    def run(*words):
        return CliRunner().invoke(app, ["keep", *map(str, words)])

    done = run(tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "c.png",
               "--region", tmp_path / "r.png")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "aligned: shifted by +" in done.output and "before" in done.output
    assert open_image(tmp_path / "c.png").size == item.source().size
    assert open_image(tmp_path / "r.png").size == item.source().size
    for words in (
        (tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "a.png"),
        (tmp_path / "a.png", tmp_path / "x.png", "--out", tmp_path / "d.png"),
    ):
        failed = run(*words)
        assert failed.exit_code == 2 and len(failed.output.strip().split("\n")) == 1
    assert not (tmp_path / "d.png").exists()


def inverted(picture):
    return Image.fromarray(255 - np.asarray(picture))


BAD = {  # what is done to the files a.png, b.png, m.png; further options; what the one line says
    "no source": (lambda p, a: (p / "a.png").unlink(), (), "no such file"),
    "no output": (lambda p, a: (p / "b.png").unlink(), (), "no such file"),
    "a broken output": (lambda p, a: (p / "b.png").write_bytes(b"x"), (), "cannot be read"),
    "an empty output": (lambda p, a: (p / "b.png").write_bytes(b""), (), "cannot be read"),
    "a text": (lambda p, a: (p / "b.png").write_text("dog"), (), "cannot be read"),
    "other proportions": (
        lambda p, a: a.resize((64, 96)).save(p / "b.png"), (), "to the other's proportions"
    ),
    "the whole picture": (
        lambda p, a: inverted(a).save(p / "b.png"), (), "looks like an edit of the whole picture"
    ),
    "no mask": (lambda p, a: None, ("--mask", "n.png"), "no such file"),
    "a mask of another size": (
        lambda p, a: Image.new("L", (9, 9), 255).save(p / "m.png"), ("--mask", "m.png"), "9x9"
    ),
    "a black mask": (
        lambda p, a: Image.new("L", (64, 64)).save(p / "m.png"), ("--mask", "m.png"), "white"
    ),
    "a dark mask": (
        lambda p, a: Image.new("L", (64, 64), 1).save(p / "m.png"), ("--mask", "m.png"),
        "brightest value",
    ),
    "a see-through mask": (
        lambda p, a: Image.new("LA", (64, 64)).save(p / "m.png"), ("--mask", "m.png"),
        "transparent",
    ),
    "the output's own file": (lambda p, a: None, ("--out", "b.png"), "would be lost"),
    "the mask's own file": (
        lambda p, a: Image.new("L", (64, 64), 255).save(p / "m.png"),
        ("--mask", "m.png", "--out", "m.png"), "would be lost",
    ),
    "a folder": (lambda p, a: (p / "c").mkdir(), ("--out", "c"), "is a folder"),
    "no such folder": (lambda p, a: None, ("--out", "no/c.png"), "there is no folder"),
    "an unknown kind of file": (lambda p, a: None, ("--out", "c.dog"), "no picture format"),
    "a region over the source": (
        lambda p, a: None, ("--region", "a.png"), "would be lost"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, kind):
    source, target = LOCAL[0].source(), LOCAL[0].target()
    monkeypatch.chdir(tmp_path)
    source.save("a.png")
    target.save("b.png")
    spoil, options, says = BAD[kind]
    spoil(tmp_path, source)
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = options if "--out" in options else ("--out", "c.png", *options)
    made = CliRunner().invoke(app, ["keep", "a.png", "b.png", *words])
    assert made.exit_code == 2 and says in made.stderr, made.stderr
    assert made.stderr.startswith("cirp: ") and made.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == left
