"""Tiny random checkpoints, saved and loaded as the real ones are."""

import math
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetForImageClassification,
)

from cirp.metrics import features
from cirp.metrics.features import Features, load_features, to_pil
from cirp.paths import MODELS

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.5]
PLAIN = {"image_mean": MEAN, "image_std": STD}
LABELS = {0: "donut", 1: "car:colour=red", 2: "style:sepia photo"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    tower = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    clip = CLIPModel(
        CLIPConfig(
            vision_config=dict(**tower, image_size=16, patch_size=8),
            text_config=dict(
                **tower,
                vocab_size=len(words),
                max_position_embeddings=12,
                bos_token_id=vocabulary["<|startoftext|>"],
                eos_token_id=vocabulary["<|endoftext|>"],
                pad_token_id=vocabulary["<|endoftext|>"],
            ),
            projection_dim=8,
        )
    )
    clip.save_pretrained(folder / "clip")
    CLIPTokenizer(vocabulary, [], model_max_length=12).save_pretrained(folder / "clip")
    CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, **PLAIN
    ).save_pretrained(folder / "clip")

    Dinov2Model(
        Dinov2Config(**{k: v for k, v in tower.items() if k != "intermediate_size"},
                     image_size=24, patch_size=8)
    ).save_pretrained(folder / "dinov2")  # fmt: skip
    BitImageProcessorPil(
        size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}, **PLAIN
    ).save_pretrained(folder / "dinov2")

    judge = ResNetForImageClassification(
        ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 8],
            depths=[1, 1],
            layer_type="basic",
            id2label=LABELS,
            label2id={label: number for number, label in LABELS.items()},
            problem_type="multi_label_classification",
        )
    )
    with torch.no_grad():  # the answer does not depend on the picture
        judge.classifier[-1].weight.zero_()
        judge.classifier[-1].bias.copy_(torch.tensor([0.0, math.log(3), -math.log(3)]))
    judge.save_pretrained(folder / "judge")
    BitImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, **PLAIN
    ).save_pretrained(folder / "judge")
    return folder


@pytest.fixture
def tiny(folder):
    return load_features(str(folder))


@pytest.fixture
def cropped(folder):
    """As the benchmarks do it."""
    return Features({part: str(folder / part) for part in ("clip", "dinov2")}, view="crop")


@pytest.fixture(scope="module")
def pictures():
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (24, 24, 3), dtype=np.uint8)) for _ in range(5)
    ]


def unit(vector):
    return vector / np.linalg.norm(vector)


@torch.inference_mode()
def clip_of(folder, pixels):
    """The embedding of an already normalised picture, by the model alone."""
    model = CLIPModel.from_pretrained(folder / "clip").eval()
    return unit(model.get_image_features(pixel_values=pixels).pooler_output[0].numpy())


def normalised(picture):
    pixels = torch.from_numpy(np.asarray(picture) / 255).permute(2, 0, 1).float()
    return ((pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])[None]


# Preprocessing


def test_mean_and_deviation_are_the_checkpoints_own(tiny, folder):
    red = torch.tensor([(1.0 - 0.4) / 0.2, -0.5 / 0.25, -0.6 / 0.5])
    expected = clip_of(folder, red[None, :, None, None].expand(1, 3, 16, 16))
    found = tiny.clip_image([Image.new("RGB", (40, 40), (255, 0, 0))])
    assert found[0] == pytest.approx(expected, abs=1e-5)


def test_a_wide_picture_is_resized_by_its_short_side_and_cropped_at_the_centre(cropped, folder):
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    small = picture.resize((21, 16), Image.Resampling.BICUBIC).crop((2, 0, 18, 16))
    expected = clip_of(folder, normalised(small))
    assert cropped.clip_image([picture])[0] == pytest.approx(expected, abs=1e-5)


def test_tensors_and_pictures_agree(tiny, pictures):
    tensor = torch.stack(
        [torch.from_numpy(np.asarray(p).copy()).permute(2, 0, 1) / 127.5 - 1 for p in pictures]
    )
    assert np.array_equal(tiny.dinov2(tensor), tiny.dinov2(pictures))


@pytest.mark.parametrize("value", [255.0, -1.5, math.nan])
def test_tensors_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\]"):
        to_pil(torch.full((1, 3, 2, 2), value))


def test_the_same_picture_in_any_batch(folder, pictures):
    together = Features({p: str(folder / p) for p in ("clip", "dinov2")}, batch_size=3)
    alone = Features({p: str(folder / p) for p in ("clip", "dinov2")}, batch_size=1)
    for method in ("clip_image", "dinov2"):
        assert getattr(together, method)(pictures) == pytest.approx(
            getattr(alone, method)(pictures), abs=1e-5
        )


# What comes back


def test_embeddings_have_unit_length_and_keep_order(tiny, pictures):
    for embeddings in (tiny.clip_image(pictures), tiny.dinov2(pictures)):
        assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
        assert len(np.unique(embeddings.round(4), axis=0)) == 5
    assert np.array_equal(tiny.clip_image(pictures[::-1]), tiny.clip_image(pictures)[::-1])


def test_dinov2_is_the_class_token_after_the_last_norm(tiny, folder, pictures):
    model = Dinov2Model.from_pretrained(folder / "dinov2").eval()
    with torch.inference_mode():
        tokens = model(normalised(pictures[0])).last_hidden_state[0].numpy()
    assert tiny.dinov2(pictures[:1])[0] == pytest.approx(unit(tokens[0]), abs=1e-5)
    patches, grid = tiny.dinov2_patches(pictures[:1])
    assert grid == (3, 3) and patches.shape == (1, 9, 16)
    assert patches[0, 5] == pytest.approx(unit(tokens[6]), abs=1e-5)


def test_patches_and_their_cover_are_in_the_same_order(tiny, pictures):
    changed = pictures[0].copy()
    changed.paste("white", (16, 8, 24, 16))  # the patch in row 1, column 2
    mask = np.zeros((24, 24), dtype=bool)
    mask[8:16, 16:24] = True
    cover = tiny.patch_cover(mask)
    assert cover.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    before, after = tiny.dinov2_patches([pictures[0], changed])[0]
    assert np.argmax(1 - (before * after).sum(axis=-1)) == 5


def test_the_cover_of_a_wide_mask_follows_the_crop(cropped):
    mask = np.zeros((24, 36), dtype=bool)
    mask[:, :6] = True  # exactly what the centre crop cuts off
    assert cropped.patch_cover(mask).tolist() == [0] * 9
    mask[:12, 6:10] = True
    expected = [0.5, 0, 0, 0.25, 0, 0, 0, 0, 0]
    assert cropped.patch_cover(mask) == pytest.approx(np.array(expected), abs=1e-6)


def test_the_cover_of_a_large_mask_is_scaled_down(tiny):
    mask = np.zeros((48, 48), dtype=bool)
    mask[:16, 32:] = True  # a third by a third: one patch, but for the smooth edge of resizing
    cover = tiny.patch_cover(mask)
    assert cover[2] > 0.9 and cover[[0, 3, 6, 7, 8]].max() == 0
    assert cover.sum() == pytest.approx(1, abs=0.05)


def test_texts_do_not_depend_on_their_neighbours(tiny):
    alone, longer = tiny.clip_text(["a cat"]), tiny.clip_text(["a cat", "dogs bark"])
    assert longer[0] == pytest.approx(alone[0], abs=1e-5)
    assert np.linalg.norm(longer, axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert np.abs(longer[0] - longer[1]).max() > 0.01


def test_a_text_over_the_limit_is_refused_not_cut(tiny):
    assert tiny.clip_text(["abcdefghij"]).shape == (1, 8)  # 10 letters, start and end: 12
    with pytest.raises(ValueError, match="13 tokens .* CLIP reads 12; shorten 'abcdefghijk'"):
        tiny.clip_text(["abc", "abcdefghijk"])


def test_the_judge_gives_independent_probabilities_by_label(tiny, pictures):
    found = tiny.judge(pictures[:2])
    assert list(found.columns) == list(LABELS.values())
    assert found.to_numpy() == pytest.approx(np.array([[0.5, 0.75, 0.25]] * 2), abs=1e-6)


# Remembering


@dataclass
class Counter:
    seen: int = 0

    def __call__(self, _, args, options):
        self.seen += len(options["pixel_values"])


def test_a_picture_is_encoded_once(tiny, pictures):
    counter = Counter()
    tiny._dinov2.register_forward_pre_hook(counter, with_kwargs=True)
    first = tiny.dinov2([pictures[0], pictures[1], pictures[0].copy()])
    assert counter.seen == 2 and np.array_equal(first[0], first[2])
    tiny.dinov2_patches(pictures[:2])
    assert np.array_equal(tiny.dinov2(pictures[:3])[:2], first[:2])
    assert counter.seen == 3


def test_memory_is_bounded_and_results_are_not(tiny, pictures, monkeypatch):
    expected = tiny.clip_image(pictures)
    monkeypatch.setattr(features, "REMEMBERED", 2)
    for _ in range(2):
        assert tiny.clip_image(pictures) == pytest.approx(expected, abs=1e-5)
        assert len(tiny._seen["clip"]) == 2


# Bad input


def test_no_images(tiny):
    with pytest.raises(ValueError, match="no images"):
        tiny.dinov2([])


def test_an_unknown_name_lists_the_presets():
    with pytest.raises(ValueError, match="no features 'huge'; give miniature, real or a folder"):
        load_features("huge")


def test_an_incomplete_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="clip holds no config.json; put the clip checkpoint"):
        load_features(str(tmp_path))


def test_a_picture_and_its_mirror_image_are_judged_alike(folder, pictures):
    seeing = Features({part: str(folder / part) for part in ("clip", "dinov2", "judge")})
    torch.manual_seed(0)
    with torch.no_grad():
        seeing._judge.classifier[-1].weight.normal_()
    left = pictures[0].copy()
    left.paste((255, 0, 0), (0, 0, left.width // 2, left.height))
    once = seeing.judge([left]).to_numpy()
    mirrored = seeing.judge([ImageOps.mirror(left)]).to_numpy()
    assert mirrored == pytest.approx(once, abs=1e-5)
    assert np.ptp(once) > 0.01  # it does say something


def test_without_a_judge(folder, pictures):
    without = Features({part: str(folder / part) for part in ("clip", "dinov2")})
    assert not without.has_judge
    with pytest.raises(ValueError, match="no judge was loaded"):
        without.judge(pictures)


def test_by_default_the_sides_of_a_wide_picture_are_seen(folder, cropped):
    wide = Image.new("RGB", (96, 32), "grey")
    marked = wide.copy()
    marked.paste("red", (0, 0, 12, 32))  # cut off by a crop of the centre
    places = {part: str(folder / part) for part in ("clip", "dinov2")}
    for name in ("clip_image", "dinov2"):
        a, b = getattr(cropped, name)([wide, marked])
        np.testing.assert_array_equal(a, b)
        a, b = getattr(Features(places), name)([wide, marked])
        assert np.abs(a - b).max() > 1e-3
    square = [marked.resize((32, 32))]
    np.testing.assert_array_equal(cropped.dinov2(square), Features(places).dinov2(square))


def test_instruments_are_known_by_their_tensors_not_by_their_names(tmp_path):
    """The same weights in another folder are the same instrument; another judge is another."""
    for part in ("clip", "dinov2"):
        shutil.copytree(MODELS / part, tmp_path / part)
    without = load_features(str(tmp_path)).fingerprint
    shutil.copytree(MODELS / "judge", tmp_path / "judge")
    shipped = load_features("miniature").fingerprint
    assert load_features(str(tmp_path)).fingerprint == shipped != without
    file = tmp_path / "judge" / "model.safetensors"
    weights = load_file(file)
    name = next(name for name, value in weights.items() if value.is_floating_point())
    save_file(weights | {name: weights[name] + 1}, file, {"format": "pt"})
    assert load_features(str(tmp_path)).fingerprint not in (shipped, without)
