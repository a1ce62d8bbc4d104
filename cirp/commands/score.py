"""`cirp score`: one edited picture, or folders of any editors' outputs."""

from pathlib import Path

from diffusers import AutoencoderKL
from PIL import Image

from cirp.api import score, score_folder
from cirp.data.images import check_destination


def autoencoder(folder: str | None) -> AutoencoderKL | None:
    """Load the autoencoder of a folder, if one is named. Raises `ValueError`."""
    if folder is None:
        return None
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder} holds no config.json; give the folder of an autoencoder (vae/)")
    return AutoencoderKL.from_pretrained(folder)


def score_file(
    source: Path, edited: Path, mask: Path | None, *, caption: str | None, features: str | None,
    vae: str | None, change: Path | None,
) -> None:  # fmt: skip
    """Print the scores, a line each, and save the map of change."""
    if change is not None:
        check_destination(change, source, edited, mask)
    known = autoencoder(vae)
    found = score(source, edited, mask, caption=caption, features=features, vae=known)
    for name, value in found.items():
        print(f"{name:<20} {value:.5f}")
    if change is not None:
        Image.fromarray((255 * found.change_map).round().astype("uint8")).save(change)


def score_outputs(
    edits: Path, outputs: dict[str, Path], out: Path, *, align: bool, features: str | None,
    vae: str | None,
) -> None:  # fmt: skip
    """Score folders, and say what is missing and where the page is."""
    table = score_folder(
        edits, outputs, out, align=align, features=features, vae=autoencoder(vae), progress=True
    )
    for name in outputs or ["edited"]:
        mine = table[table["editor"] == name]
        scored = mine[mine["l1"].notna()]
        moved = int(scored["moved"].fillna(False).sum())
        outside = scored["l1_outside"].mean()
        print(
            f"{name}: {len(scored)} of {len(mine)} outputs, {moved} moved as a whole, "
            f"change outside {outside:.4f}"
        )
        for row in mine[mine["l1"].isna()].itertuples():
            print(f"    {row.id}: {row.why}")
    print(f"page: {out / 'index.html'}")
