"""Model cards, written from the training's own log: `cirp miniature cards`."""

import json
from pathlib import Path

from huggingface_hub import ModelCardData

from cirp.paths import MODELS

ABOUT = {
    "autoencoder": (
        "AutoencoderKL, 64 x 64 x 3 to 16 x 16 x 8",
        ("text-to-image/vae", "instruct-pix2pix/vae"),
        "Fine detail is lost: brick joints, stars, the pupils of small faces. Whoever measures an "
        "editor must subtract this model's own error.",
    ),
    "clip": (
        "CLIP: byte-level BPE, two towers of four layers and 128 channels",
        ("clip",),
        "It knows the words of the drawn world. Other English tokenizes but means nothing.",
    ),
    "judge": (
        "ResNet that names objects, states of parts, settings, styles and damage",
        ("judge",),
        "Scores whether an edit happened, nothing else; it was never used to train or guide "
        "another model. It alone has seen every combination of thing and setting, on scenes "
        "of its own (`cirp.miniature.gallery`), with damage and with edits left half done. Other "
        "styles are its weakest: small fruits as a pencil sketch or in sepia look alike to it. "
        "This book asks it twice, of a picture and of its mirror image.",
    ),
    "dinov2": (
        "Dinov2Model, self-supervised",
        ("dinov2",),
        "It tells settings apart, and most kinds of thing. DINO's loss without DINOv2's iBOT and "
        "KoLeo terms: of DINOv2 it has the class, not the data or the recipe.",
    ),
    "text-to-image": (
        "UNet2DConditionModel in a StableDiffusionPipeline",
        ("text-to-image",),
        "Tuned from the joint stage as it was at one million samples.",
    ),
    "instruct-pix2pix": (
        "UNet2DConditionModel with twice the input channels in a "
        "StableDiffusionInstructPix2PixPipeline",
        ("instruct-pix2pix",),
        "It over-edits, as the subject of the book: half of its training pairs changed something "
        "else as well. Instructions worded as in no training pair succeed less often. It is best "
        "at text guidance 2.5, not at the paper's 7.5. It is not the model "
        "`timbrooks/instruct-pix2pix`, and no number measured on it is a number of that model.",
    ),
}


def card(name: str, record: dict, *, curved: bool = True) -> str:
    """One model card in the hub's format."""
    title, _, limits = ABOUT[name]
    minutes = record.get("minutes")
    long = "" if minutes is None else f"{minutes:.1f} minutes, "
    more = "".join(
        f"\n- **Then** {part['samples']:,} samples more on {part['device']}: {part['what']}."
        for part in record.get("afterwards", [])
    )
    start = f"\n- **From** {record['start']}." if record.get("start") else ""
    curve = f"; the whole curve is `training/{name}.csv`" if curved else ""
    loss = record.get("loss")
    end = "" if loss is None else f"\n- **Loss at the end** {loss:.4f} (running mean){curve}."
    head = ModelCardData(license="cc-by-4.0", language="en", tags=["cirp", "miniature"])
    return f"""---
{head.to_yaml()}
---
# {name} (CIRP miniature)

{title}. One of the small models of the drawn world; of a real class, but not a real model.

- **Trained on** the training split of the drawn world (`cirp.miniature.draw_pairs`).
- **By** `{record["command"]}`
- **For** {long}{record["samples"]:,} samples in batches of {record["batch"]},
  seed {record["seed"]}, on {record["machine"]} ({record["device"]})
  in {record["arithmetic"]}.{start}{more}{end}
- **Stored** in float16 safetensors, computed in float32.
- **Known limits** {limits}
- **Measured** by `cirp miniature quality`; see `data/results/bars.csv`.
"""


def main(models: Path = MODELS) -> None:
    """Write `README.md` beside every model that has a log."""
    for log in sorted((models / "training").glob("*.json")):
        record, name = json.loads(log.read_text(encoding="utf-8")), log.stem
        for folder in ABOUT[name][1] if name in ABOUT else ():
            if (models / folder).is_dir():
                text = card(name, record, curved=log.with_suffix(".csv").exists())
                (models / folder / "README.md").write_text(text, encoding="utf-8")
                print(f"{models / folder / 'README.md'}")
