"""Model cards, written from the training's own log: `cirp miniature cards`."""

import json
from pathlib import Path

import typer
from huggingface_hub import ModelCardData

from cirp.paths import MODELS

ABOUT = {
    "autoencoder": (
        "AutoencoderKL, 64 x 64 x 3 to 16 x 16 x 8",
        ("text-to-image/vae", "instruct-pix2pix/vae"),
        "Fine detail is lost: brick joints, stars, the pupils of small faces. Whoever measures an "
        "editor must subtract this model's own error. Grown from a first run with four latent "
        "channels (`training/autoencoder-first-run.json`), whose KL term was too strong.",
    ),
    "clip": (
        "CLIP: byte-level BPE, two towers of four layers and 128 channels",
        ("clip",),
        "It knows the words of the drawn world. Other English tokenizes but means nothing. The "
        "image tower was trained on by the stage clip-vision, the text tower was not.",
    ),
    "judge": (
        "ResNet that names objects, states of parts, settings and styles",
        ("judge",),
        "Scores whether an edit happened, nothing else; it was never used to train or guide "
        "another model. It alone has seen every combination of thing and setting, on scenes "
        "of its own (`cirp.miniature.gallery`); clean, noisy and blurred, but not the artefacts of "
        "editors.",
    ),
    "dinov2": (
        "Dinov2Model, self-supervised",
        ("dinov2",),
        "Two minutes of training: it tells settings apart and little else. DINO's loss "
        "without DINOv2's iBOT and KoLeo terms: of DINOv2 it has the class, not the data or "
        "the recipe.",
    ),
    "text-to-image": (
        "UNet2DConditionModel in a StableDiffusionPipeline",
        ("text-to-image",),
        "Settings and colours come out right, objects as blobs of their colour: 140 thousand "
        "samples are too few for their shapes, and two things in one picture share a colour. The "
        "first sixteen minutes ran on the latents of a less trained autoencoder.",
    ),
    "instruct-pix2pix": (
        "UNet2DConditionModel with twice the input channels in a "
        "StableDiffusionInstructPix2PixPipeline",
        ("instruct-pix2pix",),
        "It keeps the picture well, takes settings, colours and removals partly right, draws new "
        "objects as blobs, and over-edits, as the subject of the book: a share of its training "
        "pairs changed something else as well. By a fault, since mended, two in five of these "
        "leaking targets showed another scene altogether. It is not the model "
        "`timbrooks/instruct-pix2pix`, and no number measured on it is a number of that model.",
    ),
}
FALLBACK = (
    "A variant of instruct-pix2pix with another share of leaking pairs",
    (),
    "As the original.",
)


def card(name: str, record: dict) -> str:
    """One model card in the hub's format."""
    title, _, limits = ABOUT.get(name, FALLBACK)
    head = ModelCardData(license="cc-by-4.0", language="en", tags=["cirp", "miniature"])
    return f"""---
{head.to_yaml()}
---
# {name} (CIRP miniature)

{title}. One of the small models of the drawn world; of a real class, but not a real model.

- **Trained on** the training split of the drawn world (`cirp.miniature.pairs`).
- **By** `{record["command"]}`
- **For** {record["minutes"]:.1f} minutes, {record["steps"]:,} steps, {record["samples"]:,} samples,
  on {record["device"]} ({record["threads"]} thread(s), torch {record["torch"]}).
- **Loss at the end** {record["loss"]:.4f} (running mean); the whole curve is `training/{name}.csv`.
- **Stored** in float16 safetensors, computed in float32.
- **Known limits** {limits}
- **Measured** by `cirp miniature quality`; see `data/results/bars.csv`.
"""


def main(models: Path = MODELS) -> None:
    """Write `README.md` beside every model that has a log."""
    for log in sorted((models / "training").glob("*.json")):
        record, name = json.loads(log.read_text()), log.stem
        for folder in ABOUT.get(name, FALLBACK)[1] or (name,):
            if (models / folder).is_dir():
                (models / folder / "README.md").write_text(card(name, record))
                typer.echo(f"{models / folder / 'README.md'}")


if __name__ == "__main__":
    typer.run(main)
