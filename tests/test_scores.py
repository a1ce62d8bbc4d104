import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cirp.data.edits import load_edits
from cirp.metrics import scores, similarity
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, compare_metrics

SIDE = 32


class Colours:
    """An extractor whose answers can be worked out: mean colours, on a 4 x 4 grid of patches."""

    has_judge = True

    def clip_image(self, images):
        return np.array([np.asarray(image).mean(axis=(0, 1)) + 1 for image in images])

    dinov2 = clip_image

    def clip_text(self, texts):
        names = {"a red square": (255, 0, 0), "a blue square": (0, 0, 255)}
        return np.array([names[text] for text in texts], dtype=float)

    def dinov2_patches(self, images):
        arrays = np.stack([np.asarray(image).astype(float) + 1 for image in images])
        blocks = arrays.reshape(len(images), 4, SIDE // 4, 4, SIDE // 4, 3).mean(axis=(2, 4))
        return blocks.reshape(len(images), 16, 3), (4, 4)

    def patch_cover(self, mask):
        return mask.reshape(4, SIDE // 4, 4, SIDE // 4).mean(axis=(1, 3)).ravel()

    def judge(self, images):
        blue = self.clip_image(images)[:, 2] / 256
        return pd.DataFrame({"blue": blue, "red": 1 - blue}).astype(np.float32)


def square(inside, outside):
    image = Image.new("RGB", (SIDE, SIDE), outside)
    image.paste(inside, (0, 0, 16, 32))
    return image


@pytest.fixture
def items(tmp_path):
    """Left half red -> blue, right half grey: with all known, as a global edit, bare."""
    square("red", "grey").save(tmp_path / "source.png")
    square("blue", "grey").save(tmp_path / "target.png")
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[:, :16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    known = {
        "source_file_name": "source.png",
        "target_file_name": "target.png",
        "mask_file_name": "mask.png",
        "instruction": "make it blue",
        "source_caption": "a red square",
        "target_caption": "a blue square",
        "gained": ["blue"],
        "lost": ["red"],
        "edit_type": "colour",
    }
    rows = [
        {"id": "known", **known},
        {"id": "global", **known, "is_global": True},
        {"id": "bare", "source_file_name": "source.png", "instruction": "make it blue"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return load_edits(tmp_path)


@pytest.fixture
def trip():
    """An autoencoder that makes everything darker by 2 of 255."""
    source = np.asarray(square("red", "grey")).astype(int)
    return Image.fromarray(np.clip(source - 2, 0, 255).astype(np.uint8))


def test_every_row_has_every_column(items, trip):
    table = scores.score_all(items, [square("blue", "grey")] * 3, Colours(), round_trips=[trip] * 3)
    named = ["id", "edit_type", "is_global", "example"]
    assert list(table.columns) == [*named, *scores.METRICS]
    assert {PRIMARY, SUCCESS} <= set(scores.METRICS)
    assert table["id"].tolist() == ["known", "global", "bare"]


def test_the_exact_edit(items, trip):
    row = scores.score(items[0], square("blue", "grey"), Colours(), round_trip=trip)
    assert row["l1_source_outside"] == row["feature_distance_dinov2_source_outside"] == 0
    assert row["l1_source_outside_excess"] == pytest.approx(-2 / 255)  # better than the autoencoder
    assert row["l1_source_inside"] == pytest.approx(2 / 3)  # red -> blue changes two of three
    assert row["l1_target"] == row["l1_target_inside"] == 0
    assert row["clip_i_target"] == row["dinov2_target"] == pytest.approx(1)
    assert row["clip_i_source"] < 0.9
    assert row["leakage_auc"] == 1 and row["leakage_share"] == 0
    assert row["clip_direction"] == pytest.approx(1, abs=0.02)
    assert row["inside_area"] == 0.5 and row["outside_area"] == 15 / 32  # one column of guard


def test_over_editing_is_seen_outside(items, trip):
    grey, darker = np.array([128] * 3), (118, 118, 118)
    row = scores.score(items[0], square("blue", darker), Colours(), round_trip=trip)
    assert row["l1_source_outside"] == pytest.approx((grey[0] - 118) / 255)
    assert row["l1_source_outside_excess"] == pytest.approx(8 / 255)
    assert row["mse_source_outside_excess"] == pytest.approx((100 - 4) / 255**2)
    assert row["psnr_source_outside_excess"] == pytest.approx(20 * math.log10(2 / 10))
    assert row["ssim_source_outside"] < 1
    assert row["selectivity"] == pytest.approx(math.log((2 / 3 + 1 / 255) / (11 / 255)))


def test_doing_nothing_is_neither_a_success_nor_a_failure_to_preserve(items, trip):
    row = scores.score(items[0], square("red", "grey"), Colours(), round_trip=trip)
    assert row["clip_i_source"] == pytest.approx(1) and row["psnr_source"] == math.inf
    assert row["success"] == 0 and row["selectivity"] == 0
    for undefined in ("clip_direction", "leakage_auc", "leakage_share", f"{PRIMARY}_if_success"):
        assert math.isnan(row[undefined])


def test_preservation_is_gated_by_success(items, trip):
    blue = square("blue", "blue")
    row = scores.score(items[0], blue, Colours(), round_trip=trip)
    assert row["success"] == 1 and row["success_soft"] > 0.9
    assert row[f"{PRIMARY}_if_success"] == row[PRIMARY] > 0


def test_a_global_edit_has_no_outside(items, trip):
    row = scores.score(items[1], square("blue", "blue"), Colours(), round_trip=trip)
    outside = [name for name in scores.METRICS if "_outside" in name]
    assert all(math.isnan(row[name]) for name in outside)
    assert math.isnan(row["leakage_auc"]) and math.isnan(row["selectivity"])
    assert row["outside_area"] == 0


def test_what_is_not_known_is_nan(items):
    row = scores.score(items[2], square("blue", "grey"), Colours())
    known = {name for name in scores.METRICS if not math.isnan(row[name])}
    assert known == {
        *("clip_i_source", "dinov2_source", "inside_area", "outside_area"),
        *(f"{name}_source" for name in scores.DISTANCES),
    }


def test_rows_do_not_depend_on_their_neighbours(items, trip, monkeypatch):
    edited = [square("blue", "grey"), square("blue", "blue"), square("red", "blue")]
    monkeypatch.setattr(scores, "AT_ONCE", 2)
    table = scores.score_all(items, edited, Colours(), round_trips=[trip] * 3)
    for i, (item, image) in enumerate(zip(items, edited, strict=True)):
        alone = scores.score(item, image, Colours(), round_trip=trip)
        pd.testing.assert_series_equal(table.iloc[i], pd.Series(alone), check_names=False)


def test_the_table_can_be_compared(items, trip):
    parts = []
    for method, outside in (("gentle", "grey"), ("rough", "white")):
        part = scores.score_all(items[:1], [square("blue", outside)], Colours(), round_trips=[trip])
        parts.append(part.assign(method=method, seed=0))
    found = compare_metrics(pd.concat(parts), "gentle", "rough", scores.METRICS)
    assert found.loc[0, "metric"] == PRIMARY and found.loc[0, "difference"].mean < 0


def test_another_size_is_refused_with_the_remedy(items):
    with pytest.raises(ValueError, match=r"known: an image of 64x64 .* item.at\(\(64, 64\)\)"):
        scores.score(items[0], square("blue", "grey").resize((64, 64)), Colours())
    with pytest.raises(ValueError, match="3 items, 1 edited images"):
        scores.score_all(items, [square("blue", "grey")], Colours())


def test_a_label_unknown_to_the_judge_names_the_item(items):
    item = items[0]
    record = item.record.model_copy(update={"gained": ["mauve"]})
    wrong = type(item)(record, item.folder)
    with pytest.raises(ValueError, match="known: the judge does not know 'mauve'"):
        scores.score(wrong, square("blue", "grey"), Colours())


def test_every_metric_says_which_way_is_better_or_none():
    neutral = {name for name in scores.METRICS if similarity.better(name) is None}
    assert neutral == {
        *(f"{name}_source_inside" for name in scores.DISTANCES),
        *("inside_area", "outside_area"),
    }
