"""`cirp score`: one edited picture."""

from pathlib import Path

from diffusers import AutoencoderKL
from PIL import Image

from cirp.api import score
from cirp.data.images import check_destination


def score_file(
    source: Path, edited: Path, mask: Path | None, *, caption: str | None, features: str | None,
    vae: str | None, change: Path | None,
) -> None:  # fmt: skip
    """Print the scores, a line each, and save the map of change."""
    if change is not None:
        check_destination(change, source, edited, mask)
    if vae is not None and not (Path(vae) / "config.json").is_file():
        raise ValueError(f"{vae} holds no config.json; give the folder of an autoencoder (vae/)")
    known = AutoencoderKL.from_pretrained(vae) if vae else None
    found = score(source, edited, mask, caption=caption, features=features, vae=known)
    for name, value in found.items():
        print(f"{name:<20} {value:.5f}")
    if change is not None:
        Image.fromarray((255 * found.change_map).round().astype("uint8")).save(change)
