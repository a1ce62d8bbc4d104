import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cirp.data.edits import (
    DataError,
    EditRecord,
    fingerprint,
    fit,
    fit_mask,
    fit_size,
    load_edits,
    open_image,
    open_mask,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = np.array([[RED, GREEN, WHITE], [BLUE, WHITE, WHITE]], dtype=np.uint8)  # 3 wide, 2 high


def png(path: Path, rows: list[bytes], width: int, *, depth: int, colour: int, chunks=()) -> Path:
    """A PNG written by hand, so that no imaging library vouches for itself."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = chunk(b"IHDR", header) + b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", pixels)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    return path


def pixels(path: Path) -> list[list[tuple[int, ...]]]:
    image = open_image(path)
    assert image.mode == "RGB"
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


# One image, many formats


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    values = (0, 257 * 100, 257 * 200, 65535)
    path = png(tmp_path / "x.png", [struct.pack(">4H", *values)], 4, depth=16, colour=0)
    assert pixels(path) == [[(v,) * 3 for v in (0, 100, 200, 255)]]


def test_16_bit_colour_is_scaled(tmp_path):
    values = (65535, 257 * 100, 0, 257 * 7, 0, 65535)
    path = png(tmp_path / "x.png", [struct.pack(">6H", *values)], 2, depth=16, colour=2)
    assert pixels(path) == [[(255, 100, 0), (7, 0, 255)]]


def test_8_bit_grey_becomes_equal_channels(tmp_path):
    path = png(tmp_path / "x.png", [bytes([0, 77, 255])], 3, depth=8, colour=0)
    assert pixels(path) == [[(0,) * 3, (77,) * 3, (255,) * 3]]


def test_transparency_shows_white(tmp_path):
    row = bytes([*RED, 255, *RED, 0, *RED, 51])  # opaque, invisible, one fifth
    path = png(tmp_path / "x.png", [row], 3, depth=8, colour=6)
    assert pixels(path) == [[RED, WHITE, (255, 204, 204)]]


def test_a_palette_with_a_transparent_entry_shows_white_there(tmp_path):
    chunks = [(b"PLTE", bytes([*GREEN, *BLUE])), (b"tRNS", bytes([255, 0]))]
    path = png(tmp_path / "x.png", [bytes([0, 1])], 2, depth=8, colour=3, chunks=chunks)
    assert pixels(path) == [[GREEN, WHITE]]


def test_one_bit_images_are_black_and_white(tmp_path):
    path = png(tmp_path / "x.png", [bytes([0b01000000])], 2, depth=1, colour=0)
    assert pixels(path) == [[(0, 0, 0), WHITE]]


# The EXIF standard says where the stored row 0 and column 0 belong in the upright picture.
STORED = {
    1: lambda x: x,  # top, left
    2: lambda x: x[:, ::-1],  # top, right
    3: lambda x: x[::-1, ::-1],  # bottom, right
    4: lambda x: x[::-1],  # bottom, left
    5: lambda x: x.transpose(1, 0, 2),  # left, top
    6: lambda x: x.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda x: x[::-1].transpose(1, 0, 2),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_turns_the_picture_upright(tmp_path, orientation):
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    stored = np.ascontiguousarray(STORED[orientation](CORNERS))
    path = png(
        tmp_path / "x.png",
        [row.tobytes() for row in stored],
        stored.shape[1],
        depth=8,
        colour=2,
        chunks=[(b"eXIf", tiff)],
    )
    assert np.array_equal(np.asarray(open_image(path)), CORNERS)


def test_a_mask_is_true_where_it_is_white(tmp_path):
    path = png(tmp_path / "x.png", [bytes([0, 127, 128, 255])], 4, depth=8, colour=0)
    assert open_mask(path).tolist() == [[False, False, True, True]]


def test_a_mask_of_zeros_and_ones_is_refused(tmp_path):
    path = png(tmp_path / "x.png", [bytes([0, 1])], 2, depth=8, colour=0)
    with pytest.raises(DataError, match=r"brightest value of this mask is 1 of 255.*save it as 0"):
        open_mask(path)


def test_a_transparent_mask_is_refused(tmp_path):
    path = png(tmp_path / "x.png", [bytes([*WHITE, 255, *WHITE, 0])], 2, depth=8, colour=6)
    with pytest.raises(DataError, match=r"transparent pixels \(alpha 0\); save it without alpha"):
        open_mask(path)


def test_floating_point_pixels_are_refused(tmp_path):
    path = tmp_path / "x.tiff"
    Image.fromarray(np.full((2, 2), 0.5, dtype=np.float32)).save(path)
    with pytest.raises(DataError, match=r"mode 'F'; save the image as 8- or 16-bit PNG"):
        open_image(path)


# Sizes


@pytest.mark.parametrize(
    ("size", "multiple", "longest", "expected"),
    [
        ((64, 64), 32, None, (64, 64)),
        ((500, 333), 64, None, (512, 320)),
        ((2000, 1000), 64, 512, (512, 256)),
        ((10, 300), 64, None, (64, 320)),
    ],
)
def test_fit_size(size, multiple, longest, expected):
    assert fit_size(size, multiple=multiple, longest=longest) == expected


def test_fit_crops_the_longer_side_and_keeps_the_centre():
    image = Image.new("RGB", (30, 10), "white")
    image.paste("red", (10, 0, 20, 10))
    assert set(fit(image, size=(10, 10)).get_flattened_data()) == {RED}
    mask = np.zeros((10, 30), dtype=bool)
    mask[:, 10:15] = True
    expected = np.zeros((10, 10), dtype=bool)
    expected[:, :5] = True
    assert np.array_equal(fit_mask(mask, size=(10, 10)), expected)


def test_fit_leaves_an_image_of_the_right_size_alone():
    image = Image.new("RGB", (64, 32))
    assert fit(image, multiple=32) is image
    assert fit(image, multiple=64).size == (64, 64)


def test_fingerprints_depend_on_pixels_and_shape_alone():
    flat = Image.new("RGB", (4, 2), "red")
    assert fingerprint(flat) == fingerprint(flat.copy())
    assert fingerprint(flat) != fingerprint(Image.new("RGB", (2, 4), "red"))
    assert fingerprint(flat) != fingerprint(Image.new("RGB", (4, 2), (254, 0, 0)))


# Folders


@pytest.fixture
def folder(tmp_path):
    """Two edits of 8 x 6 pixels: one with everything, one with the least."""
    for name, colour in (("a", "red"), ("a_target", "blue"), ("b", "green")):
        Image.new("RGB", (8, 6), colour).save(tmp_path / f"{name}.png")
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[1:3, 2:5] = 255
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    rows = [
        {
            "id": "first",
            "source_file_name": "a.png",
            "target_file_name": "a_target.png",
            "mask_file_name": "a_mask.png",
            "object_names": ["donut", "donut"],
            "object_mask_file_names": ["a_mask.png", "a_mask.png"],
            "instruction": "make it blue",
            "target_caption": "a blue square",
            "words": ["blue"],
            "target_words": ["blue"],
            "gained": ["donut:colour=blue"],
        },
        {"source_file_name": "b.png", "instruction": "turn it upside down"},
    ]
    write(tmp_path, rows)
    return tmp_path


def write(folder: Path, rows: list) -> None:
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")


def rows_of(folder: Path) -> list[dict]:
    return [
        json.loads(line) for line in (folder / "metadata.jsonl").read_text().split("\n") if line
    ]


def error_of(folder: Path, **options) -> str:
    with pytest.raises(DataError) as raised:
        load_edits(folder, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_folder_loads(folder):
    first, second = load_edits(folder)
    assert first.source().getpixel((0, 0)) == RED
    assert first.target().getpixel((0, 0)) == BLUE
    assert first.mask().sum() == 6 and first.mask()[1, 2] and first.mask().shape == (6, 8)
    assert list(first.object_masks()) == ["donut", "donut 2"]
    assert first.record.gained == ["donut:colour=blue"]
    assert second.id == "b"
    assert second.mask() is None and second.target() is None and second.object_masks() == {}


def test_an_item_at_another_size_keeps_image_and_mask_in_register(folder):
    item = load_edits(folder, limit=1)[0].at((16, 12))
    assert item.size == item.source().size == (16, 12)
    expected = np.zeros((12, 16), dtype=bool)
    expected[2:6, 4:10] = True
    assert np.array_equal(item.mask(), expected)


def test_limit_takes_the_first_rows_and_looks_at_no_others(folder):
    (folder / "b.png").unlink()
    assert [item.id for item in load_edits(folder, limit=1)] == ["first"]
    assert "limit=0" in error_of(folder, limit=0)


def test_records_cannot_be_changed(folder):
    record = load_edits(folder)[0].record
    with pytest.raises(ValueError, match="frozen"):
        record.instruction = "something else"


def test_records_survive_a_round_trip_through_json(folder):
    for item in load_edits(folder):
        assert EditRecord.model_validate_json(item.record.model_dump_json()) == item.record


def test_a_missing_folder(tmp_path):
    assert "nowhere: no such folder; give one that holds metadata.jsonl" in error_of(
        tmp_path / "nowhere"
    )


def test_a_folder_without_metadata(tmp_path):
    assert "has no metadata.jsonl; write one line per edit" in error_of(tmp_path)


def test_an_empty_metadata_file(folder):
    write(folder, [])
    assert "has no rows" in error_of(folder)


def test_a_missing_image(folder):
    (folder / "b.png").unlink()
    expected = f"line 2: {folder}/b.png: no such file; add it or correct its name"
    assert error_of(folder).endswith(expected)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "empty"])
def test_a_broken_png(folder, damage):
    path = folder / "a.png"
    Image.effect_noise((8, 6), 50).convert("RGB").save(path)
    good = path.read_bytes()
    middle = good.index(b"IDAT") + 30
    bad = {
        "truncated": good[:middle],
        "flipped": good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
        "text": b"this is not a picture",
        "empty": b"",
    }
    path.write_bytes(bad[damage])
    message = error_of(folder)
    assert f"line 1: {path}: cannot be read as an image" in message
    assert message.endswith("replace the file, PNG is safest")


def test_altered_pixels_are_found_by_the_files_checksum(folder):
    path = folder / "a.png"
    Image.new("RGB", (8, 6), "red").save(path, compress_level=0)  # pixels stand in the file as such
    assert load_edits(folder)
    path.write_bytes(path.read_bytes().replace(b"\xff\x00\x00", b"\xfe\x00\x00", 1))
    assert f"{path}: cannot be read as an image" in error_of(folder)


@pytest.mark.parametrize("instruction", [None, "", "   "])
def test_a_row_without_instruction(folder, instruction):
    rows = rows_of(folder)
    rows[1]["instruction"] = instruction
    if instruction is None:
        del rows[1]["instruction"]
    write(folder, rows)
    message = error_of(folder)
    assert "metadata.jsonl line 2" in message and "instruction" in message
    assert ("add the column" if instruction is None else "write a text") in message


def test_a_mask_of_another_size(folder):
    Image.new("L", (5, 4), "white").save(folder / "a_mask.png")
    assert "a_mask.png is 5x4 pixels but a.png is 8x6; resize it to match" in error_of(folder)


def test_a_target_of_another_size(folder):
    Image.new("RGB", (8, 7)).save(folder / "a_target.png")
    assert "a_target.png is 8x7 pixels but a.png is 8x6" in error_of(folder)


def test_an_all_black_mask(folder):
    Image.new("L", (8, 6)).save(folder / "a_mask.png")
    rows = rows_of(folder)
    assert "a_mask.png is all black" in error_of(folder)
    del rows[0]["mask_file_name"]
    write(folder, rows)  # an object may be hidden altogether
    assert not load_edits(folder)[0].object_masks()["donut"].any()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"colour": "red"}, "id 'first': unknown column 'colour'; remove or rename it"),
        ({"words": ["green"]}, "words has 'green', which is not in instruction 'make it blue'"),
        ({"target_words": ["red"]}, "'red', which is not in target_caption 'a blue square'"),
        ({"object_names": ["donut"]}, "2 object_mask_file_names for 1 object_names"),
        ({"source_file_name": "../a.png"}, "'../a.png' leaves the folder"),
        ({"is_global": "perhaps"}, "is_global is 'perhaps'; input should be a valid boolean"),
    ],
)
def test_a_row_that_contradicts_itself(folder, change, expected):
    rows = rows_of(folder)
    rows[0].update(change)
    write(folder, rows)
    assert expected in error_of(folder)


def test_two_rows_of_one_id(folder):
    rows = rows_of(folder)
    rows[1]["id"] = "first"
    write(folder, rows)
    assert "line 2: id 'first' is taken by" in error_of(folder)


def test_a_row_that_is_not_json(folder):
    (folder / "metadata.jsonl").write_text("{'id': 1}\n")
    assert "line 1: not JSON" in error_of(folder)
    (folder / "metadata.jsonl").write_text("[1]\n")
    assert "line 1: [1] is not an object" in error_of(folder)


def test_hugging_face_datasets_reads_the_folder(folder, tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    complete = [item.record.model_dump() for item in load_edits(folder)]
    write(folder, complete)  # it wants [] where a list of files is empty, not a missing column
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), cache_dir=str(tmp_path_factory.mktemp("cache"))
    )["train"]
    assert rows[0]["instruction"] == "make it blue"
    assert rows[0]["source"].getpixel((0, 0)) == RED
    assert rows[0]["mask"].size == (8, 6)
    assert [mask.size for mask in rows[0]["object_mask"]] == [(8, 6), (8, 6)]
    assert rows[1]["mask"] is None and rows[1]["object_mask"] == []


@pytest.mark.parametrize("place", [(700, 900), (0, 0), (1499, 1999)])
def test_a_mask_too_small_for_the_working_size_keeps_what_it_touches(place):
    mask = np.zeros((1500, 2000), dtype=bool)
    row, column = place
    mask[row, column] = True
    with pytest.warns(UserWarning, match="a mask of 1 of 3000000 pixels vanishes at 64x48"):
        small = fit_mask(mask, size=(64, 48))
    assert small.sum() == 1
    assert small[int(row * 48 / 1500), int(column * 64 / 2000)]


def test_the_names_of_an_imagefolder_are_understood(tmp_path):
    write_row(tmp_path, {"file_name": "a.png", "text": "make it red"})
    (item,) = load_edits(tmp_path)
    assert item.record.instruction == "make it red" and item.id == "a"
    write_row(tmp_path, {"file_name": "a.png", "source_file_name": "a.png", "text": "make it red"})
    with pytest.raises(DataError, match="both file_name and source_file_name"):
        load_edits(tmp_path)


def write_row(folder, row):
    Image.new("RGB", (32, 32), "red").save(folder / "a.png")
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")
