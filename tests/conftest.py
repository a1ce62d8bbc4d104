"""What several test files share."""

import pytest
from PIL import Image

from cirp.diffusion.pipelines import Models
from tests.tiny import tiny_ip2p, tiny_sd


def painted(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
    """A smooth colourful picture."""
    image = Image.linear_gradient("L").resize((width, height))
    turned = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).rotate(37 * (seed + 1))
    return Image.merge("RGB", (image, turned, image.rotate(90).resize((width, height))))


@pytest.fixture(scope="session")
def models() -> Models:
    """Tiny random pipelines of the real classes."""
    return Models("tiny", tiny_ip2p(), tiny_sd(), "tiny-fingerprint")
