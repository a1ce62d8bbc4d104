"""The newcomer is new, always the same, and its likeness is measured against its own drawing."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cirp.experiments import subject
from cirp.experiments.needs import LeftOut
from cirp.metrics.features import load_features
from cirp.miniature.pairs import KNOWN
from cirp.miniature.scene import Scene, render


@pytest.fixture(scope="module")
def features():
    return load_features("miniature")


def drawn(one, seed: int) -> list[Image.Image]:
    scenes = [subject.scene(one, place, seed) for place in subject.TEST_SETTINGS]
    return [Image.fromarray(render(scene)) for scene in scenes]


def test_no_model_was_trained_on_the_newcomer_but_on_its_class():
    assert subject.KIND not in KNOWN and subject.NOUN in KNOWN


def test_the_portraits_show_one_and_the_same_standing_on_the_ground_of_five_places():
    pictures = [np.asarray(picture) for picture in subject.portraits()]
    assert len(pictures) == len(set(subject.SEEN)) == 5
    empty = [render(Scene(place, n, ())) for n, place in enumerate(subject.SEEN)]
    tops, feet, tan = [], [], []
    for picture, behind in zip(pictures, empty, strict=True):
        differs = (np.abs(picture.astype(int) - behind) > 40).any(axis=-1)
        rows, columns = np.nonzero(differs)
        assert 0.1 < differs.mean() < 0.6  # something is there, and the place is still seen
        assert 24 < columns.mean() < 44  # about the middle of 64
        tops.append(rows.min())
        feet.append(rows.max())
        tan.append(picture[differs].mean(axis=0))
    assert min(feet) > 48 and max(tops) < 32
    assert np.ptp(tan, axis=0).max() < 30  # of 255: one fur in every light
    assert len({picture.tobytes() for picture in pictures}) == 5


def test_its_own_drawing_is_most_like_it_and_a_bears_most_like_a_bear(features):
    mine = subject.likeness(drawn(subject.character(), 7), features, seed=7)
    theirs = subject.likeness(drawn(subject.native(7), 7), features, seed=7)
    for metric in ("clip_i", "dinov2"):
        np.testing.assert_allclose(mine[f"{metric}_subject"], 1.0, atol=1e-4)
        np.testing.assert_allclose(theirs[f"{metric}_class"], 1.0, atol=1e-4)
        assert (mine[f"{metric}_class"] < 0.999).all()
    assert mine["id"].tolist() == list(subject.TEST_SETTINGS)


def test_what_is_asked_for_names_the_place():
    assert subject.prompts("zyz bear")[0] == "a zyz bear on the beach"
    assert len(subject.prompts("bear")) == len(subject.TEST_SETTINGS)


def test_other_models_are_not_taught_a_drawing_and_hear_what_tuning_them_takes(models):
    real = replace(models, name="real")
    weights = sum(weight.numel() for weight in models.text.unet.parameters())
    with pytest.raises(LeftOut) as caught:
        subject.variants(real, steps=1, seed=0)
    assert "tune teaches real a subject" in str(caught.value)
    assert f"{weights / 1e6:.0f} million" in str(caught.value)
    assert f"{16 * weights / 2**30:.1f} GiB" in str(caught.value)
