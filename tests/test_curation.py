"""Collections in their real layouts: read, refused in one line, drawn in balance, written whole."""

import json
import random
import re
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from cirp.cli import app
from cirp.curation import folder as folders
from cirp.curation.candidate import Candidate
from cirp.curation.drawing import balanced, unlike
from cirp.curation.loading import dreambooth, prompts, rows
from cirp.curation.sources import SOURCES, candidates, painted, run_lengths
from cirp.data.edits import load_edits
from cirp.data.images import DataError, fingerprint

PROMPT_FILE = """Classes

subject_name,class
backpack,backpack
bear_plushie,stuffed animal
cat2,cat

Prompts

Object Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a red {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} wearing a red hat'.format(unique_token, class_token),
'a {0} {1} in a chef outfit'.format(unique_token, class_token)
]
"""


def picture(seed, size=(48, 32), mode="RGB"):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC).convert(mode)


def mask_of(image, box=(4, 4, 20, 16)):
    """MagicBrush's: the picture with a white region."""
    found = image.convert("RGB").copy()
    found.paste((255, 255, 255), box)
    return found


def magicbrush(count=8):
    """One- and two-turn sessions; grey and CMYK pictures, and a missing mask."""
    found = []
    for i in range(count):
        image = picture(i, (48 + i, 32), ("RGB", "L", "CMYK", "RGB")[i % 4])
        found.append(
            {
                "img_id": str(1000 + i // 2), "turn_index": 1 + i % 2, "source_img": image,
                "mask_img": None if i == 5 else mask_of(image),
                "instruction": ("remove the dog", "add a hat", "make the car red")[i % 3],
                "target_img": picture(100 + i),
            }
        )  # fmt: skip
    return found


def instruct(count=8):
    return [
        {
            "original_prompt": f"a photo of dog {i}", "original_image": picture(200 + i),
            "edit_prompt": "turn the dog into a cat", "edited_prompt": f"a photo of cat {i}",
            "edited_image": picture(300 + i),
        }
        for i in range(count)
    ]  # fmt: skip


def pie(count=8):
    return [
        {
            "image": picture(400 + i, (512, 512)), "id": f"00{i}",
            "source_prompt": "a [round] cake", "target_prompt": "a [square] cake",
            "mask": "" if i == 3 else f"{512 * 10 + 5} 40 {512 * 11 + 5} 40",
        }
        for i in range(count)
    ]  # fmt: skip


def tedbench(count=8):
    return [
        {"original_image": picture(500 + i), "caption": f"A photo of a sitting dog {i}.",
         "edited_image": picture(600 + i)}
        for i in range(count)
    ]  # fmt: skip


ROWS = {
    "magicbrush": magicbrush, "instruct-pix2pix": instruct, "pie-bench": pie, "tedbench": tedbench,
}  # fmt: skip


def as_parquet(name, path):
    """The rows as the hub has them: pictures as bytes in parquet."""
    path.mkdir(parents=True)
    found = datasets.Dataset.from_list(ROWS[name]())
    found.to_parquet(path / "train-00000-of-00001.parquet")
    return path


def as_dreambooth(path):
    for subject in ("backpack", "bear_plushie", "cat2"):
        (path / subject).mkdir(parents=True)
        for number in (0, 1, 3):
            picture(hash_of(subject) + number, (64, 80)).save(path / subject / f"0{number}.jpg")
    (path / "prompts_and_classes.txt").write_text(PROMPT_FILE)
    return path


def hash_of(text):
    return sum(map(ord, text))


@pytest.mark.parametrize("name", ROWS)
def test_a_local_copy_is_read_as_the_collection_has_it(name, tmp_path):
    found, revision = rows(name, path=as_parquet(name, tmp_path / name))
    some = list(candidates(name, found))
    assert len(some) == 8 and revision.startswith("local copy")
    for one in some:
        assert one.source == name and one.image.mode == "RGB" and one.instruction
        assert one.mask is None or one.mask.shape == one.image.size[::-1]
    assert len({one.source_id for one in some}) == 8


def test_magicbrushs_white_region_is_the_mask(tmp_path):
    (one, *_) = candidates("magicbrush", magicbrush(1))
    assert one.mask[4:16, 4:20].all() and not one.mask[20:].any()
    assert one.source_id == "1000-1" and one.kind == "remove" and one.extent == "medium"
    assert one.target.size == (48, 32) and not one.notes
    later = list(candidates("magicbrush", magicbrush(2)))[1]
    assert "turn 2" in later.notes
    dark = Image.new("RGB", (8, 8))
    assert painted(dark, dark) is None
    clear = Image.new("RGBA", (8, 8), (9, 9, 9, 255))
    clear.paste((9, 9, 9, 0), (0, 0, 4, 8))
    assert painted(clear, dark).sum() == 32
    assert painted(clear, dark.resize((16, 16))).sum() == 128


def test_a_bright_background_is_no_part_of_magicbrushs_mask():
    source = Image.new("RGB", (40, 40), "white")
    source.paste((90, 60, 30), (10, 10, 20, 20))
    mask = source.copy()
    mask.paste((255, 255, 255), (10, 10, 15, 20))
    found = painted(mask, source)
    assert found.sum() == 50 and found[10:20, 10:15].all()


def test_a_row_that_names_a_file_in_place_of_pixels_gives_nobodys_picture(tmp_path):
    private = tmp_path / "private.png"
    picture(1).save(private)
    copy = tmp_path / "tedbench"
    copy.mkdir()
    kinds = {"original_image": datasets.Image(), "caption": datasets.Value("string")}
    features = datasets.Features(kinds)
    cell = {"bytes": None, "path": str(private)}
    table = pa.table({"original_image": [cell], "caption": ["a dog"]}, schema=features.arrow_schema)
    pq.write_table(table, copy / "x.parquet")
    decoded = datasets.load_dataset("parquet", data_files=str(copy / "x.parquet"), split="train")
    assert decoded[0]["original_image"].size == (48, 32)  # what decoding would have read
    found, _ = rows("tedbench", path=copy)
    with pytest.raises(DataError, match="in place of pixels"):
        list(candidates("tedbench", found))


def test_pie_benchs_runs_are_rows_of_the_mask():
    mask = run_lengths("5125 40 5637 40")
    assert mask[10, 5:45].all() and mask[11, 5:45].all() and mask.sum() == 80
    assert run_lengths("") is None
    with pytest.raises(DataError, match="3 numbers"):
        run_lengths("1 2 3")
    with pytest.raises(DataError, match="leaves 512 x 512"):
        run_lengths("262143 2")
    (one, *_) = candidates("pie-bench", pie(1))
    assert one.target_caption == "a square cake" and one.instruction == "make it a square cake"


def test_dreambooths_prompts_are_of_the_subjects_kind(tmp_path):
    classes, objects, living = prompts(PROMPT_FILE)
    assert classes == {"backpack": "backpack", "bear_plushie": "stuffed animal", "cat2": "cat"}
    assert objects == ["a {} in the jungle", "a red {}"] and len(living) == 2
    found = list(candidates("dreambooth", dreambooth(as_dreambooth(tmp_path / "dataset"))))
    assert len(found) == 9 and len({one.source_id for one in found}) == 9
    for one in found:
        known = living if one.source_caption == "a cat" else objects
        kind = one.source_caption.removeprefix("a ")
        assert one.target_caption in [p.replace("{}", kind) for p in known]


def test_turned_photographs_stand_upright_and_animations_stand_still(tmp_path):
    photograph = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture(1, (40, 20)).save(photograph, exif=exif)
    film = tmp_path / "film.gif"
    picture(2).save(film, save_all=True, append_images=[picture(3), picture(4)])
    for file, size in ((photograph, (20, 40)), (film, (48, 32))):
        with Image.open(file) as opened:
            (one, *_) = candidates("tedbench", [{"original_image": opened, "caption": "x"}])
        assert one.image.size == size and one.image.mode == "RGB"


BAD = {
    "no column": (["instruction"], "magicbrush row 0: no column 'instruction'"),
    "empty instruction": ({"instruction": "  "}, "instruction is '  '"),
    "no instruction": ({"instruction": None}, "instruction is None"),
    "number": ({"instruction": 7}, "instruction is 7"),
    "no picture": ({"source_img": None}, "source_img is NoneType"),
    "path": ({"source_img": "a.png"}, "source_img is str"),
    "no target": ({"target_img": None}, "target_img is NoneType"),
    "empty id": ({"img_id": ""}, "img_id is ''"),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD)
def test_a_row_that_is_not_as_it_should_be_is_named(change, message):
    (row,) = magicbrush(1)
    row = row | change if isinstance(change, dict) else {k: row[k] for k in row if k not in change}
    with pytest.raises(DataError, match=re.escape(message)):
        list(candidates("magicbrush", [row]))


def some(count, sources=("magicbrush", "pie-bench", "tedbench")):
    said = ("remove the dog", "add a hat", "make it a painting", "turn it into a cat")
    rng = random.Random(0)
    return [
        Candidate(sources[i % 3 if i % 7 else 0], f"{i}", picture(i), rng.choice(said))
        for i in range(count)
    ]


def test_the_draw_is_balanced_and_comes_again_from_its_seed():
    found = some(90)
    chosen = balanced(found, 30, seed=4)
    counts = [sum(c.source == name for c in chosen) for name in {c.source for c in found}]
    assert counts == [10, 10, 10]
    kinds = [sum(c.kind == kind for c in chosen) for kind in {c.kind for c in found}]
    assert max(kinds) - min(kinds) <= 4
    again = balanced(random.Random(1).sample(found, 90), 30, seed=4)
    assert [c.source_id for c in again] == [c.source_id for c in chosen]
    assert [c.source_id for c in balanced(found, 30, seed=5)] != [c.source_id for c in chosen]
    with pytest.raises(ValueError, match="count=91 of 90"):
        balanced(found, 91, seed=0)


def test_a_picture_that_was_saved_again_is_the_same_picture(tmp_path):
    first = picture(7, (96, 64))
    first.save(tmp_path / "again.jpg", quality=60)
    with Image.open(tmp_path / "again.jpg") as opened:
        again = opened.resize((60, 40))
    one, two = (Candidate("tedbench", str(i), p, "add a hat") for i, p in enumerate((first, again)))
    other = Candidate("tedbench", "2", first, "remove the hat")
    third = Candidate("tedbench", "3", picture(8, (96, 64)), "add a hat")
    assert unlike([one, two, other, third]) == [one, other, third]


def test_pictures_that_may_not_be_passed_on_are_references(tmp_path):
    found = [*candidates("magicbrush", magicbrush(3)), *candidates("tedbench", tedbench(2))]
    made = folders.write(found, tmp_path / "drawn", seed=1, revisions={"magicbrush": "1a2b3c"})
    items = load_edits(made)
    assert [item.id.rsplit("-", 1)[0] for item in items] == ["magicbrush"] * 3
    assert folders.names(found[1:])[:2] == [item.id for item in items[1:]]  # not of the place
    references = [json.loads(x) for x in (made / folders.REFERENCES).read_text().splitlines()]
    assert len(references) == 5
    assert all(r["sha256"] == fingerprint(c.image) for r, c in zip(references, found, strict=True))
    page = (made / folders.ATTRIBUTIONS).read_text()
    assert [r["revision"] for r in references] == ["1a2b3c"] * 3 + [""] * 2
    assert (
        "1a2b3c" in page
        and "CC-BY-4.0" in page
        and "may not be passed on" in page
        and "Kawar" in page
    )
    assert len(load_edits(folders.write(found, tmp_path / "home", seed=1, pixels=True))) == 5


def test_nothing_is_overwritten_and_nothing_is_left_half_written(tmp_path):
    found = list(candidates("tedbench", tedbench(2)))
    with pytest.raises(DataError, match="no licence in this draw"):
        folders.write(found, tmp_path / "none", seed=0)
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="is there already"):
        folders.write(found, tmp_path / "there", seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def run(*arguments):
    return CliRunner().invoke(app, ["curate", *map(str, arguments)])


def test_the_command_draws_from_local_copies(tmp_path):
    copies = [f"--from={name}={as_parquet(name, tmp_path / name)}" for name in ROWS]
    copies.append(f"--from=dreambooth={as_dreambooth(tmp_path / 'dataset')}")
    done = run("--out", tmp_path / "edits", "--count", 10, "--pixels", *copies)
    assert done.exit_code == 0, done.output
    items = load_edits(tmp_path / "edits")
    assert len(items) == 10 and "seed 0" in done.output
    assert {item.record.source_dataset.split()[0] for item in items} == set(SOURCES)


REFUSED = {
    "taken": (["--out", "."], "is there already"),
    "unknown source": (["--out", "x", "--source", "flickr"], "unknown source 'flickr'"),
    "copy of nothing": (["--out", "x", "--from", "magicbrush"], "give SOURCE=FOLDER"),
    "copy of what": (["--out", "x", "--from", "flickr=y"], "give SOURCE=FOLDER"),
    "no folder": (
        ["--out", "x", "--source", "magicbrush", "--from", "magicbrush=gone"], "no such folder",
    ),
    "no parquet": (
        ["--out", "x", "--source", "magicbrush", "--from", "magicbrush=."], "no parquet file",
    ),
    "no prompts": (
        ["--out", "x", "--source", "dreambooth", "--from", "dreambooth=."], "no prompts_and_cl",
    ),
    "no copy": (["--out", "x", "--source", "dreambooth"], "the hub's copy has no prompts"),
    "revisions": (["--out", "x", "--revision", "abc"], "--revision is of one collection"),
}  # fmt: skip


@pytest.mark.parametrize("arguments, message", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_line_and_writes_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output and len(done.output.strip().splitlines()) == 1
    assert not list(Path(tmp_path).iterdir())


def test_too_few_candidates_are_said_to_be_too_few(tmp_path):
    copy = as_parquet("tedbench", tmp_path / "tedbench")
    done = run("--out", tmp_path / "x", "--source", "tedbench", "--from", f"tedbench={copy}")
    assert done.exit_code == 2 and "count=50 of 8 candidates" in done.output
    assert not (tmp_path / "x").exists()


def test_a_hub_out_of_reach_says_what_to_fetch(monkeypatch):
    def gone(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("cirp.curation.loading.HfApi.dataset_info", gone)
    with pytest.raises(DataError, match="hf download --repo-type dataset osunlp/MagicBrush"):
        rows("magicbrush")
