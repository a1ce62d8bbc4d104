"""What several test files share."""

import os

# idle threads sleep; spinning, they make a busy machine thirty times as slow
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from cirp.data.edits import EditItem, EditRecord
from cirp.diffusion.pipelines import Models, load
from tests.tiny import tiny_ip2p, tiny_sd

settings.register_profile("cirp", deadline=None)  # a busy machine is slow
settings.load_profile("cirp")


def painted(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
    """A smooth colourful picture."""
    image = Image.linear_gradient("L").resize((width, height))
    turned = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).rotate(37 * (seed + 1))
    return Image.merge("RGB", (image, turned, image.rotate(90).resize((width, height))))


@pytest.fixture(scope="session")
def models() -> Models:
    """Tiny random pipelines of the real classes."""
    return Models("tiny", tiny_ip2p(), tiny_sd(), "tiny-fingerprint")


@pytest.fixture(scope="session")
def miniature() -> Models:
    """The shipped models, loaded once a worker."""
    return load("miniature")


@pytest.fixture
def items(tmp_path) -> list[EditItem]:
    """Three painted pictures with an instruction."""
    folder = tmp_path / "edits"
    folder.mkdir()
    found = []
    for i in range(3):
        painted(seed=i).save(folder / f"{i}.png")
        record = EditRecord(
            source_file_name=f"{i}.png", instruction="make it red", target_caption="a red dog"
        )
        found.append(EditItem(record, folder))
    return found


class Blank:
    """Encoders without models: every picture is like every other, and nobody judges."""

    has_judge, fingerprint, state, view = False, "", "", ""

    def clip_image(self, images):
        return np.ones((len(images), 4), np.float32) / 2

    clip_text = dinov2 = clip_image

    def dinov2_patches(self, images):
        return np.ones((len(images), 4, 4), np.float32) / 2, (2, 2)

    def patch_cover(self, mask):
        return np.full(4, float(mask.mean()), np.float32)

    def judge(self, images):
        raise AssertionError("there is no judge")
