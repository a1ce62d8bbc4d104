"""Photographs of one's own, and a review of a draw: nothing lost, nothing written half."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cirp.cli import app
from cirp.curation import review as reviews
from cirp.curation.own import own
from cirp.curation.review import DROP, KEEP, open_review
from cirp.data.edits import DRAFT, METADATA, load_edits
from cirp.data.images import DataError
from cirp.explorer.reviewing import Reviewer
from tests.test_curation import picture


def photographs(folder, count=4, said=True):
    """A camera's folder: turned, wide, tall; with texts beside the pictures or without."""
    folder.mkdir()
    for i in range(count):
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 1 else 1
        picture(i, (60 + 8 * i, 40)).save(folder / f"img {i}#.jpg", exif=exif, quality=95)
        if said:
            (folder / f"img {i}#.txt").write_text(f"make thing {i}\n red\n")
    return folder


def drawn(tmp_path, **how):
    """The same as a folder of ours, by the command."""
    photos, out = photographs(tmp_path / "photos", **how), tmp_path / "edits"
    done = CliRunner().invoke(app, ["curate", "--photos", str(photos), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out, done.output


def test_photographs_with_texts_become_edits(tmp_path):
    out, said = drawn(tmp_path)
    items = load_edits(out)
    assert len(items) == 4 and "4 pictures" in said
    by_origin = {item.record.source_dataset: item for item in items}
    turned = by_origin["folder img 1#.jpg"]
    assert turned.record.instruction == "make thing 1 red"
    assert turned.source().size == (40, 68)  # upright
    assert "no author given" in (out / "ATTRIBUTIONS.md").read_text()


def test_a_table_beside_photographs_is_read_as_imagefolder_reads_it(tmp_path):
    folder = photographs(tmp_path / "photos", said=False)
    (folder / "metadata.csv").write_text(
        "file_name,text,words,license,author\n"
        '"img 0#.jpg","make it red, please",red,CC0,"Ada, L."\n"img 2#.jpg",add a hat,,,\n'
    )
    first, second = own(folder)
    assert (first.instruction, first.licence, first.author) == (
        "make it red, please", "CC0", "Ada, L.",
    )  # fmt: skip
    assert first.further == {"words": ["red"]} and second.instruction == "add a hat"
    assert not second.licence


@pytest.mark.parametrize(
    "files, message",
    {
        "empty": ({}, "no pictures"),
        "two tables": ({"metadata.csv": b"a", "metadata.jsonl": b"{}"}, "keep one of them"),
        "no rows": ({"metadata.csv": b"file_name,text\n"}, "has no rows"),
        "more cells": ({"metadata.csv": b"file_name,text\na.png,x,y\n"}, "more cells than columns"),
        "unknown column": ({"metadata.csv": b"file_name,text,mood\na.png,x,y\n"}, "'mood'"),
        "no instruction": ({"metadata.csv": b"file_name,text\na.png,\n"}, "no instruction"),
        "no file": ({"metadata.csv": b"file_name,text\nb.png,x\n"}, "no such file"),
        "taken": ({"metadata.csv": b"file_name,text\na.png,x\na.png,y\n"}, "is taken by line 2"),
        "outside": ({"metadata.csv": b"file_name,text\n../a.png,x\n"}, "leaves the folder"),
        "not text": ({"metadata.csv": b"file_name,text\na.png,\xff\xfe\n"}, "not UTF-8"),
        "words": ({"metadata.csv": b"file_name,text,words\na.png,x,y\n"}, "not in instruction"),
        "both names": (
            {"metadata.csv": b"file_name,source_file_name,text\na.png,a.png,x\n"}, "drop one",
        ),
        "two of one name": ({"b.png": None, "b.jpg": None}, "rename one"),
        "broken": ({"b.png": b"\x89PNG\r\n\x1a\nrest"}, "cannot be read"),
        "empty file": ({"b.png": b""}, "cannot be read"),
        "text in bytes": ({"b.png": None, "b.txt": b"\xff\xfe\xfd"}, "not UTF-8"),
        "float": ({"b.tif": "F"}, "what is white"),
    }.values(),
)  # fmt: skip
def test_a_folder_that_is_wrong_is_told_in_one_line(files, message, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    if any(name.startswith("metadata") for name in files):
        picture(0).save(folder / "a.png")
    for name, content in files.items():
        if content is None or content == "F":
            image = picture(1) if content is None else picture(1).convert("F")
            image.save(folder / name)
        else:
            (folder / name).write_bytes(content)
    out = tmp_path / "edits"
    done = CliRunner().invoke(app, ["curate", "--photos", str(folder), "--out", str(out)])
    assert done.exit_code == 2
    assert message in done.output and len(done.output.strip().splitlines()) == 1
    assert not out.exists() and [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_bare_photographs_wait_for_their_instructions(tmp_path):
    out, said = drawn(tmp_path, said=False)
    assert "4 have no instruction yet" in said and not (out / METADATA).exists()
    with pytest.raises(DataError, match="cirp review"):
        load_edits(out)
    review = open_review(out)
    first, *others = review.left
    with pytest.raises(DataError, match="no instruction"):
        review.decide(first, KEEP)
    review.decide(first, KEEP, instruction="  make it\n red ")
    for name in others:
        review.decide(name, DROP)
    (item,) = load_edits(review.finish(tmp_path / "kept"))
    assert item.record.instruction == "make it red"
    assert "written in the review" in item.record.notes


def test_a_review_is_saved_undone_killed_and_gone_on_with(tmp_path):
    out, _ = drawn(tmp_path)
    review = open_review(out)
    a, b, c, d = review.left
    height, width = review.picture(a).size[::-1]
    region = np.zeros((height, width), bool)
    region[5:20, 7:30] = True
    review.decide(a, KEEP, instruction="make it blue", mask=region)
    review.decide(a, KEEP, mask=np.zeros_like(region))
    assert review.mask(a) is None
    assert review.undo().mask is None
    assert (review.mask(a) == region).all()
    review.decide(b, DROP)
    with (out / reviews.LOG).open("a") as file:
        file.write('{"id": "' + c)  # killed while it wrote
    again = open_review(out)
    assert again.left == [c, d] and again.row(a)["instruction"] == "make it blue"
    assert (again.mask(a) == region).all()
    again.decide(c, KEEP)
    once_more = open_review(out)
    assert once_more.left == [d]
    with pytest.raises(DataError, match=f"1 edits have no decision yet, first '{d}'"):
        once_more.finish(tmp_path / "kept")
    once_more.decide(d, KEEP)
    kept = load_edits(once_more.finish(tmp_path / "kept"))
    assert [item.id for item in kept] == [a, c, d]
    assert (kept[0].mask() == region).all() and "region painted" in kept[0].record.notes
    assert "instruction was 'make thing" in kept[0].record.notes
    references = (tmp_path / "kept" / "references.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in references] == [a, c, d]
    with pytest.raises(DataError, match="is there already"):
        once_more.finish(tmp_path / "kept")
    assert load_edits(out)[0].record.instruction != "make it blue"  # the draw is as it was


REVIEW_REFUSED = {
    "unknown edit": (lambda r: r.decide("none", KEEP), "no edit 'none'"),
    "verdict": (lambda r: r.decide(r.left[0], "maybe"), "unknown verdict 'maybe'"),
    "long": (lambda r: r.decide(r.left[0], KEEP, instruction="x" * 1001), "at most 1000"),
    "empty": (lambda r: r.decide(r.left[0], KEEP, instruction=" \n"), "no instruction"),
}


@pytest.mark.parametrize("act, message", REVIEW_REFUSED.values(), ids=REVIEW_REFUSED)
def test_a_decision_that_cannot_be_is_refused_and_not_saved(act, message, tmp_path):
    out, _ = drawn(tmp_path)
    with pytest.raises(DataError, match=message):
        act(open_review(out))
    assert not (out / reviews.LOG).exists()


def test_a_folder_that_is_no_draw_is_refused(tmp_path):
    with pytest.raises(DataError, match="cirp curate"):
        open_review(tmp_path)
    (tmp_path / DRAFT).write_text('{"source_file_name": "a.png"}\n')
    with pytest.raises(DataError, match="no such file"):
        open_review(tmp_path)
    (tmp_path / DRAFT).write_text("[]\n")
    with pytest.raises(DataError, match="is not an object"):
        open_review(tmp_path)


def test_a_log_of_another_folder_is_refused(tmp_path):
    out, _ = drawn(tmp_path)
    (out / reviews.LOG).write_text('{"id": "stranger", "verdict": "keep"}\n')
    with pytest.raises(DataError, match="'stranger' is no edit here"):
        open_review(out)


def test_the_command_line_keeps_drops_corrects_and_undoes(tmp_path):
    out, _ = drawn(tmp_path)
    said = "k\nd\nu\nc\nmake it green\nq\n"
    done = CliRunner().invoke(app, ["review", str(out)], input=said)
    assert done.exit_code == 0 and "2 of 4 left" in done.output, done.output
    kept = tmp_path / "kept"
    done = CliRunner().invoke(app, ["review", str(out), "--out", str(kept)], input="d\nd\n")
    assert done.exit_code == 0 and "2 edits in" in done.output, done.output
    assert load_edits(kept)[1].record.instruction == "make it green"
    for arguments, message in (
        ([tmp_path / "gone"], "cirp curate"),
        ([out, "--out", out], "there"),
    ):
        done = CliRunner().invoke(app, ["review", *map(str, arguments)])
        assert done.exit_code == 2 and message in done.stderr


def test_the_widget_answers_each_message_in_one_line(tmp_path):
    out, _ = drawn(tmp_path)
    widget = Reviewer(open_review(out))
    first = widget.state["id"]
    width, height = widget.state["size"]
    for message, buffers, expected in (
        ({"kind": "keep", "id": "x"}, [], "no edit 'x'"),
        ({"kind": "<script>", "id": first}, [], "unknown request"),
        ({"kind": "keep", "id": first, "painted": True}, [b"\x01"], "a region of 1 pixels"),
        ({"kind": "finish", "id": first, "out": " "}, [], "no folder"),
        ({"kind": "finish", "id": first, "out": str(tmp_path / "k")}, [], "no decision yet"),
    ):
        widget._told(None, message, buffers)
        assert widget.state["wrong"] and expected in widget.state["said"]
        assert widget.state["id"] == first
    widget._told(None, "nonsense", [])
    painted = np.zeros((height, width), np.uint8)
    painted[3:9, 4:11] = 1
    message = {"kind": "keep", "id": first, "painted": True, "instruction": "make it <b>red</b>"}
    widget._told(None, message, [painted.tobytes()])
    assert widget.state["id"] != first and not widget.state.get("wrong")
    assert open_review(out).mask(first).sum() == painted.sum()
    widget._told(None, {"kind": "undo", "id": widget.state["id"]}, [])
    assert widget.state["id"] == first and widget.state["instruction"] != "make it <b>red</b>"


def curated(photos, out):
    return CliRunner().invoke(app, ["curate", "--photos", str(photos), "--out", str(out)])


def test_photographs_keep_their_names_and_their_noise(tmp_path):
    folder = photographs(tmp_path / "photos", count=3)
    assert curated(folder, tmp_path / "one").exit_code == 0
    before = [item.id for item in load_edits(tmp_path / "one")]
    assert before == ["img-0", "img-1", "img-2"]  # "img 0#.jpg"
    picture(9).save(folder / "a first one.png")
    (folder / "a first one.TXT").write_text("make it snow")
    assert curated(folder, tmp_path / "two").exit_code == 0
    items = load_edits(tmp_path / "two")
    assert [item.id for item in items] == ["a-first-one", *before]
    assert items[0].record.instruction == "make it snow"


def test_photographs_that_look_alike_are_all_kept(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):  # a burst
        picture(1).save(folder / f"burst{i}.png")
        (folder / f"burst{i}.txt").write_text("make it red")
    (folder / "list.pdf").write_bytes(b"%PDF")
    done = curated(folder, tmp_path / "edits")
    assert [i.id for i in load_edits(tmp_path / "edits")] == ["burst0", "burst1", "burst2"]
    assert "left alone: list.pdf" in done.output


def test_a_picture_that_cannot_be_read_is_named_and_not_left_out(tmp_path):
    folder = photographs(tmp_path / "photos", count=1)
    (folder / "IMG_7.HEIC").write_bytes(b"ftypheic")
    done = curated(folder, tmp_path / "edits")
    assert done.exit_code == 2 and "IMG_7.HEIC" in done.output and "JPEG or PNG" in done.output


def test_all_columns_of_rows_of_ones_own_are_kept(tmp_path):
    folder = tmp_path / "photos"
    for name in ("dog", "cat"):
        (folder / name).mkdir(parents=True)
        picture(1, (48, 32)).save(folder / name / "source.png")
        Image.new("L", (48, 32), 255).save(folder / name / "white.png")
    row = {"object_names": ["dog", "dog"], "gained": ["hat"], "lost": ["cap"], "kept": ["dog"]}
    masks = {"mask_file_name": "dog/white.png", "object_mask_file_names": ["dog/white.png"] * 2}
    rows = [
        {"source_file_name": "dog/source.png", "instruction": "add a hat", **row, **masks},
        {"source_file_name": "cat/source.png", "instruction": "add a hat", "id": "mine"},
    ]
    (folder / METADATA).write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert [item.id for item in load_edits(folder)] == ["dog-source", "mine"]
    assert curated(folder, tmp_path / "edits").exit_code == 0
    one, two = load_edits(tmp_path / "edits")
    assert (one.id, two.id) == ("dog-source", "mine")
    assert {name: getattr(one.record, name) for name in row} == row
    assert len(one.object_masks()) == 2 and one.mask().all()


@pytest.mark.parametrize(
    "table, message",
    [
        ("file_name;text\na.png;x\n", "parted by semicolons"),
        ("file_name\ttext\na.png\tx\n", "parted by tabs"),
        ("file_name, text\na.png,x\n", "blanks around the column name ' text'"),
        ("file_name,text,text\na.png,x,y\n", "two columns are called 'text'"),
        ("file_name,text,\na.png,x,\n", "a column without a name"),
        ("file_name,text,mask_file_name\na.png,x,small.png\n", "resize it to match"),
        ("file_name,text,target_file_name\na.png,x,small.png\n", "resize it to match"),
    ],
)
def test_a_table_that_is_not_as_it_should_be_names_the_cause(table, message, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    picture(0).save(folder / "a.png")
    Image.new("RGB", (8, 8), "white").save(folder / "small.png")
    (folder / "metadata.csv").write_text(table)
    done = curated(folder, tmp_path / "edits")
    assert done.exit_code == 2 and message in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_decision_with_any_line_separator_is_there_when_it_is_opened_again(tmp_path):
    out, _ = drawn(tmp_path)
    review = open_review(out)
    said = [f"make{sign}it red" for sign in ("\u2028", "\u2029", "\x85", "\ufeff")]
    for name, text in zip(list(review.left), said, strict=True):
        review.decide(name, KEEP, instruction=text)
    again = open_review(out)
    assert [one.instruction for one in again.log] == [one.instruction for one in review.log]
    lines = (out / reviews.LOG).read_bytes()
    (out / reviews.LOG).write_bytes(b"{torn\n" + lines)
    with pytest.raises(DataError, match="line 1: not JSON"):
        open_review(out)
    (out / reviews.LOG).write_bytes(lines.rstrip(b"\n"))  # killed before the line feed
    whole = open_review(out)
    whole.undo()
    assert len(open_review(out).log) == 3
