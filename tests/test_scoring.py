"""`score_folder`: pairing, alignment, controls, a page; each kind of bad input has its line."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import cirp
from cirp.cli import app
from cirp.data.edits import load_edits
from cirp.metrics.registration import move
from cirp.metrics.tolerance import colour_distance, four_colours, iou_within
from cirp.scoring import page
from cirp.scoring.cases import cases
from cirp.scoring.outputs import score_outputs, summary

EDITS = [item for item in load_edits("data/edits", 8) if not item.record.is_global][:4]


@pytest.fixture
def place(tmp_path):
    """Four edits, and the outputs of two editors: one exact, one shifted and larger."""
    (tmp_path / "edits").mkdir()
    (tmp_path / "exact").mkdir()
    (tmp_path / "shifted").mkdir()
    rows = []
    for item in EDITS:
        item.source().save(tmp_path / "edits" / f"{item.id}.png")
        Image.fromarray(item.mask()).save(tmp_path / "edits" / f"{item.id}-mask.png")
        item.target().save(tmp_path / "edits" / f"{item.id}-answer.png")
        rows.append({
            "id": item.id, "source_file_name": f"{item.id}.png", "instruction": "edit it",
            "mask_file_name": f"{item.id}-mask.png", "target_file_name": f"{item.id}-answer.png",
        })  # fmt: skip
        item.target().save(tmp_path / "exact" / f"{item.id}.png")
        larger = move(item.target(), dx=5.0).resize((128, 128))
        larger.save(tmp_path / "shifted" / f"{item.id}.PNG")
    write(tmp_path / "edits", rows)
    return tmp_path


def write(folder, rows):
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "metadata.jsonl").write_text(lines + "\n", encoding="utf-8")


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def test_an_exact_output_scores_best_and_a_shift_is_no_over_editing(place):
    folders = {name: place / name for name in ("exact", "shifted")}
    table = cirp.score_folder(place / "edits", folders, place / "out")
    exact, shifted, half, nothing = (
        table[table["editor"] == name].set_index("id")
        for name in ("exact", "shifted", "half of exact", "no edit")
    )
    assert (exact["l1_outside"] == 0).all() and not exact["moved"].any()
    assert shifted["moved"].all() and (shifted["dx"] - 5).abs().max() < 0.3
    assert (shifted["l1_outside"] < 0.5 * shifted["l1_outside_unaligned"]).all()
    assert (half["l1_inside"] < 0.6 * exact["l1_inside"]).all()
    assert (nothing["l1"] == 0).all() and (nothing["iou_within"] < 0.15).all()
    assert (exact["iou_within"] == 1).all() and (exact["region_iou"] > 0.5).all()
    for item in EDITS:  # the same as of one picture
        one = cirp.score(item.source(), item.target(), item.mask())
        row = exact.loc[item.id]
        assert all(row[name] == pytest.approx(one[name]) for name in ("l1", "l1_inside", "ssim"))
    read = pd.read_csv(place / "out" / "scores.csv")
    assert list(read["editor"]) == list(table["editor"])
    found = json.loads((place / "out" / "summary.json").read_text())
    assert found["editors"]["shifted"]["moved"] == 4
    (outside,) = [row for row in found["differences"] if row["measure"] == "l1_outside"]
    assert outside["of"] == "shifted" and outside["mean"] > 0


def test_the_page_names_every_output_and_again_has_the_same_bytes(place):
    folders = {"exact": place / "exact", "<b>": place / "shifted"}
    before = None
    for _ in range(2):  # what was made here is made anew
        cirp.score_folder(place / "edits", folders, place / "out")
        files = {
            path.name: path.read_bytes()
            for path in sorted((place / "out").rglob("*")) if path.is_file()
        }  # fmt: skip
        assert before is None or files == before
        before = files
    html = before["index.html"].decode()
    assert "<b>" not in html and "&lt;b&gt;" in html and "http" not in html
    assert html.count("<figure>") == 8 and "4 outputs were moved as a whole" in html
    for name in ("source", "output", "map"):
        assert sum(f"-{name}.webp" in one for one in before) == 8


def test_without_masks_the_region_is_found(place):
    rows = [{k: v for k, v in row.items() if "mask" not in k} for row in rows_of(place / "edits")]
    write(place / "edits", rows)
    asked = cases(place / "edits")
    table = score_outputs(asked, {"exact": place / "exact"})
    own = table[table["editor"] == "exact"]
    assert set(own["region"]) == {"found"} and own["region_iou"].isna().all()
    assert (own["l1_outside"] < own["l1_inside"]).all()


def test_what_cannot_be_scored_says_why_and_the_rest_is_scored(place):
    first, second, third, _ = (item.id for item in EDITS)
    (place / "exact" / f"{first}.png").unlink()
    (place / "exact" / f"{second}.png").write_bytes(b"no picture")
    wide = Image.new("RGB", (128, 64), "white")
    wide.save(place / "exact" / f"{third}.png")
    table = cirp.score_folder(place / "edits", {"exact": place / "exact"})
    own = table[table["editor"] == "exact"].set_index("id")
    assert own.loc[first, "why"] == f"no output {first}.png"
    assert "cannot be read as an image" in own.loc[second, "why"]
    assert "cropped from 128x64" in own.loc[third, "why"]
    assert own["l1"].isna().tolist() == [True, True, False, False]
    assert (table.loc[table["l1"].isna(), "why"] != "").all()
    found = summary(table)["editors"]
    assert found["exact"]["missing"] == 2
    assert "psnr_outside" not in found["no edit"]  # infinite where nothing changed: no mean
    with pytest.raises(ValueError, match=f"would be {first}.png; there is nothing"):
        (place / "none").mkdir()
        cirp.score_folder(place / "edits", {"none": place / "none"})


def test_a_column_names_the_outputs(place):
    rows = rows_of(place / "edits")
    for row in rows:
        row["edited_file_name"] = f"made-{row['id']}.png"
        shutil.copy(place / "exact" / f"{row['id']}.png", place / "edits" / row["edited_file_name"])
    write(place / "edits", rows)
    table = cirp.score_folder(place / "edits")
    assert table.loc[table["editor"] == "edited", "l1"].notna().all()


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


BAD = {  # what is done to the place -> what the one line says
    "no edits": (lambda p: shutil.rmtree(p / "edits"), "no such folder"),
    "no metadata": (lambda p: (p / "edits" / "metadata.jsonl").unlink(), "is no benchmark"),
    "empty metadata": (lambda p: (p / "edits" / "metadata.jsonl").write_text(""), "has no rows"),
    "broken metadata": (lambda p: (p / "edits" / "metadata.jsonl").write_text("{"), "metadata"),
    "null row": (lambda p: (p / "edits" / "metadata.jsonl").write_text("null\n"), "not an object"),
    "no instruction": (
        lambda p: write(p / "edits", [{"source_file_name": f"{EDITS[0].id}.png"}]),
        "instruction",
    ),
    "unknown column": (
        lambda p: write(p / "edits", [rows_of(p / "edits")[0] | {"x": 1}]),
        "unknown column 'x'",
    ),
    "leaves the folder": (
        lambda p: write(p / "edits", [rows_of(p / "edits")[0] | {"edited_file_name": "../a.png"}]),
        "leaves the folder",
    ),
    "two rows of one id": (
        lambda p: write(p / "edits", rows_of(p / "edits")[:1] * 2),
        "is taken by",
    ),
    "no source": (lambda p: (p / "edits" / f"{EDITS[0].id}.png").unlink(), "no such file"),
    "broken source": (
        lambda p: (p / "edits" / f"{EDITS[0].id}.png").write_bytes(b"x"),
        "cannot be read",
    ),
    "mask of another size": (
        lambda p: Image.new("L", (9, 9), 255).save(p / "edits" / f"{EDITS[0].id}-mask.png"),
        "resize it to match",
    ),
    "black mask": (
        lambda p: Image.new("L", (64, 64)).save(p / "edits" / f"{EDITS[0].id}-mask.png"),
        "all black",
    ),
    "dark mask": (
        lambda p: Image.new("L", (64, 64), 1).save(p / "edits" / f"{EDITS[0].id}-mask.png"),
        "brightest value",
    ),
    "answer of another size": (
        lambda p: Image.new("RGB", (9, 9)).save(p / "edits" / f"{EDITS[0].id}-answer.png"),
        "resize it to match",
    ),
    "no outputs": (lambda p: shutil.rmtree(p / "exact"), "the outputs of exact"),
    "nothing pairs": (
        lambda p: [one.rename(one.with_stem(f"x{one.stem}")) for one in (p / "exact").glob("*")],
        "holds no output for any of 4 edits",
    ),
    "two outputs for one": (
        lambda p: Image.new("RGB", (64, 64)).save(p / "exact" / f"{EDITS[0].id}.jpg"),
        "two outputs for",
    ),
    "other files": (
        lambda p: (p / "out").mkdir() or (p / "out" / "thesis.tex").write_text("x"),
        "could be lost",
    ),
    "a file": (lambda p: (p / "out").write_text("x"), "is a file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(place, kind):
    spoil, says = BAD[kind]
    spoil(place)
    left = sorted(place.rglob("*"))
    made = run("score", "--edits", place / "edits", "--outputs", f"exact={place / 'exact'}",
               "--out", place / "out")  # fmt: skip
    assert made.exit_code == 2 and says in made.stderr, made.stderr
    assert made.stderr.startswith("cirp: ") and made.stderr.count("\n") == 1
    assert sorted(place.rglob("*")) == left


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give two pictures, or --edits"),
        (("a.png",), "give two pictures, or --edits"),
        (("a.png", "b.png", "--out", "x"), "belong to --edits"),
        (("a.png", "b.png", "--outputs", "x=y"), "belong to --edits"),
        (("a.png", "--edits", "e", "--out", "x"), "pictures and --edits do not go together"),
        (("--mask", "m.png", "--edits", "e", "--out", "x"), "--mask and --edits"),
        (("--edits", "e", "--outputs", "a=b"), "needs --out"),
        (("--edits", "e", "--outputs", "ab", "--out", "x"), "give NAME=VALUE"),
        (("--edits", "e", "--outputs", "a=b", "--outputs", "a=c", "--out", "x"), "have one name"),
        (("--edits", "e", "--outputs", "no edit=b", "--out", "x"), "cannot be an editor's name"),
        (("--edits", "e", "--outputs", "half of a=b", "--out", "x"), "cannot be an editor's name"),
        (("--edits", ".", "--outputs", "a=.", "--out", "."), "would be lost"),
        (("--edits", ".", "--outputs", "a=.", "--out", "x", "--vae", "y"), "no config.json"),
        (("--edits", "tests", "--outputs", "a=tests", "--out", "x"), "is no benchmark"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(words, says):
    made = run("score", *words)
    assert made.exit_code == 2 and says in made.stderr, made.stderr
    assert made.stderr.count("\n") == 1


def test_an_output_beside_its_source_is_not_taken_for_the_place(place):
    made = run("score", "--edits", place / "edits", "--outputs", f"exact={place / 'exact'}",
               "--out", place)  # fmt: skip
    assert made.exit_code == 2 and "would be lost" in made.stderr


# The layouts in which results are published


def picture(path, item, which="source"):
    path.parent.mkdir(parents=True, exist_ok=True)
    getattr(item, which)().save(path)


def layout(root, name):
    """One edit in a benchmark's layout: its folder, and that of an editor's outputs."""
    item, made = EDITS[0], root / "made"
    base = root / name
    if name == "pie-bench":
        flat = np.asarray(Image.fromarray(item.mask()).resize((512, 512), 0)).ravel()
        edges = np.flatnonzero(np.diff(np.r_[0, flat.astype(int), 0]))
        runs = [int(n) for a, b in zip(edges[::2], edges[1::2], strict=True) for n in (a, b - a)]
        picture(base / "annotation_images" / "0_random" / "1.jpg", item)
        row = dict(image_path="0_random/1.jpg", original_prompt="a [cat]", editing_prompt="a [dog]",
                   editing_instruction="cat to dog", editing_type_id="0", mask=runs)  # fmt: skip
        (base / "mapping_file.json").write_text(json.dumps({"000000000001": row}))
        picture(made / "annotation_images" / "0_random" / "1.jpg", item, "target")
    elif name == "magicbrush":
        picture(base / "images" / "7" / "7-input.png", item)
        picture(base / "images" / "7" / "7-output1.png", item, "target")
        see_through = np.dstack([np.asarray(item.source()), np.where(item.mask(), 0, 255)])
        mask = Image.fromarray(see_through.astype(np.uint8))
        mask.save(base / "images" / "7" / "7-mask1.png")
        row = dict(input="7-input.png", mask="7-mask1.png", output="7-output1.png",
                   instruction="cat to dog")  # fmt: skip
        (base / "edit_sessions.json").write_text(json.dumps({"7": [row]}))
        picture(made / "7" / "7_1.png", item, "target")
    elif name == "imgedit":
        picture(base / "animal" / "000342021.jpg", item)
        row = dict(id="animal/000342021.jpg", prompt="cat to dog", edit_type="replace")
        (base / "basic_edit.json").write_text(json.dumps({"1082": row}))
        picture(made / "1082.png", item, "target")
    elif name == "gedit":
        made = base
        picture(base / "fullset" / "color_alter" / "en" / "k1_SRCIMG.png", item)
        picture(base / "fullset" / "color_alter" / "en" / "k1.png", item, "target")
    else:
        picture(base / "recolor" / "003_input.png", item)
        picture(base / "recolor" / "003_answer.png", item, "target")
        (base / "recolor" / "003.json").write_text(json.dumps({"instruction": "cat to dog"}))
        picture(made / "recolor" / "0003_output.png", item, "target")
    return base, made


@pytest.mark.parametrize(
    ("name", "id", "region", "answered"),
    [
        ("pie-bench", "000000000001", "given", False), ("magicbrush", "7-1", "given", True),
        ("imgedit", "1082", "found", False), ("gedit", "k1-en", "found", False),
        ("paintbench", "recolor-003", "found", True),
    ],
)  # fmt: skip
def test_published_layouts_are_read(tmp_path, name, id, region, answered):
    base, made = layout(tmp_path, name)
    table = cirp.score_folder(base, {"mine": made})
    (row,) = table[table["editor"] == "mine"].to_dict("records")
    assert row["id"] == id and row["region"] == region
    assert row["l1_inside"] > 5 * row["l1_outside"]
    assert (row["iou_within"] == 1.0) if answered else np.isnan(row["iou_within"])
    if region == "given":
        assert row["region_iou"] > 0.6
    if name != "gedit":
        assert row["instruction"] == "cat to dog"


def test_a_layout_that_is_not_as_published_is_one_line(tmp_path):
    (tmp_path / "basic_edit.json").write_text('{"1": {"id": "a.png"}}')
    with pytest.raises(ValueError, match=r"basic_edit\.json is not as published"):
        cases(tmp_path)
    (tmp_path / "basic_edit.json").write_text("{}")
    with pytest.raises(ValueError, match="names no edit"):
        cases(tmp_path)


# PaintBench's score


def test_paintbench_scores_are_those_of_its_own_code():
    """Of pictures drawn by a seed; the values were printed by its src/eval.py at e91d8ef."""
    rng = np.random.default_rng(0)
    theirs = (0.44346307002406377, 0.44593443808537414, 0.4421995607421959, 0.44463303338033994,
              0.4466479644136895, 0.44027150426361406)  # fmt: skip
    for value in theirs:
        source = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        answer = source.copy()
        answer[8:40, 10:50] = rng.integers(0, 256, (32, 40, 3))
        noise = rng.integers(-6, 7, answer.shape)
        edited = np.clip(answer.astype(int) + noise, 0, 255).astype(np.uint8)
        edited[30:] = source[30:]
        assert iou_within(source, answer, edited) == pytest.approx(value, abs=1e-6)


def test_known_scores_by_hand():
    before = np.zeros((10, 10, 3), np.uint8)
    answer, half, all_over = before.copy(), before.copy(), np.full_like(before, 255)
    answer[:, :4] = 255
    half[:, :2] = 255
    assert iou_within(before, answer, half) == 0.5  # half of what had to change
    assert iou_within(before, answer, all_over) == 0.4  # 40 right, 60 wrong beside them
    assert iou_within(before, before, before) == 1.0
    assert colour_distance(before, all_over).max() == pytest.approx(100, abs=1e-3)
    drawn = np.asarray(four_colours(before, answer, all_over))
    assert drawn[0, 0].tolist() == [0, 128, 0] and drawn[0, 9].tolist() == [255, 165, 0]
    drawn = np.asarray(four_colours(before, answer, half))
    assert drawn[0, 3].tolist() == [255, 0, 0] and drawn[0, 9].tolist() == [0, 0, 255]


def test_the_page_says_in_words_what_the_interval_says(place):
    folders = {name: place / name for name in ("exact", "shifted")}
    table = cirp.score_folder(place / "edits", folders)
    found = summary(table)
    html = page.html(found, table, [])
    assert (
        "exact changes pixels by" in html and "on average, significantly less than shifted" in html
    )
