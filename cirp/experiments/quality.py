"""`python -m cirp.experiments.quality`: the bars of the miniature, on held-out test edits.

Every number is a mean over the edits with its 95 % bootstrap interval (BCa), unit: the edit.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from cirp.data.edits import EditItem, load_edits
from cirp.diffusion.pipelines import Models, has_bfloat16_units, load
from cirp.diffusion.sampling import captions_to_images
from cirp.experiments import records
from cirp.experiments.cache import edits, fitted, task
from cirp.methods.references import round_trip
from cirp.metrics import similarity
from cirp.metrics.features import Features, load_features
from cirp.metrics.scores import score_all
from cirp.miniature import export
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.kinds import SETTINGS
from cirp.miniature.pairs import KNOWN
from cirp.paths import MODELS, RESULTS
from cirp.statistics.bootstrap import mean_interval

CODE = "bars 1"  # raise it when a measure changes
CANDIDATES = 64  # captions a picture has to choose its own from
SAMPLER = {"steps": 20}
BARS = {
    "autoencoder PSNR (dB)": 28.0,
    "CLIP caption retrieval@1 of 64": 0.95,
    "judge sees the true target, not the source": 0.98,
    "text-to-image: captioned objects found": 0.85,
    "InstructPix2Pix 7.5 / 1.5: edit success": 0.75,
}


def row(name: str, values, note: str = "") -> dict:
    """One line of the table: mean, interval, number of edits, the bar."""
    found = mean_interval(np.asarray(values, dtype=float))
    return {
        "bar": name, "mean": found.mean, "low": found.low, "high": found.high, "n": found.n,
        "wanted": BARS.get(name, float("nan")), "note": note,
    }  # fmt: skip


def autoencoder(items: list[EditItem], trips: list) -> list[float]:
    """PSNR of each source after the autoencoder's round trip."""
    pairs = (
        (similarity.to_array(t), similarity.to_array(i.source()))
        for i, t in zip(items, trips, strict=True)
    )
    return [similarity.psnr(float(((a - b) ** 2).mean())) for a, b in pairs]


def retrieval(items: list[EditItem], features: Features, *, seed: int = 0) -> list[float]:
    """Is a target's own caption nearer to it than 63 others'?"""
    captions = [item.record.target_caption for item in items]
    images = features.clip_image([item.target() for item in items])
    texts = features.clip_text(captions)
    rng, found = np.random.default_rng(seed), []
    for i, caption in enumerate(captions):
        others = [j for j in range(len(items)) if captions[j] != caption]
        chosen = rng.choice(others, min(CANDIDATES - 1, len(others)), replace=False)
        found.append(float(images[i] @ texts[i] > (texts[chosen] @ images[i]).max()))
    return found


def judge(items: list[EditItem], features: Features) -> list[float]:
    """1 if the judge says "edited" of the true target and "not edited" of the source."""
    before = features.judge([item.source() for item in items]).to_dict("records")
    after = features.judge([item.target() for item in items]).to_dict("records")
    found = []
    for item, a, b in zip(items, before, after, strict=True):
        done, _ = similarity.judged(b, item.record.gained, item.record.lost)
        idle, _ = similarity.judged(a, item.record.gained, item.record.lost)
        found.append(float(done == 1 and idle == 0))
    return found


def neighbours(items: list[EditItem], features: Features) -> list[float]:
    """DINOv2 without labels: does the nearest other source share the setting?"""
    found = features.dinov2([item.source() for item in items])
    near = found @ found.T
    np.fill_diagonal(near, -np.inf)
    places = [
        next(s.name for s in SETTINGS.values() if s.phrase in item.record.source_caption)
        for item in items
    ]
    return [float(places[i] == places[j]) for i, j in enumerate(near.argmax(axis=1))]


def objects_found(items: list[EditItem], images: list, features: Features) -> list[float]:
    """The share of a caption's objects that the judge sees in the generated picture."""
    seen = features.judge(images)
    found = []
    for i, item in enumerate(items):
        named = [kind for kind in KNOWN if re.search(rf"\b{kind}\b", item.record.target_caption)]
        found.append(float((seen.loc[i, named] >= similarity.THRESHOLD).mean()))
    return found


def instruct(
    items: list[EditItem], models: Models, features: Features, trips: list, *, seed: int = 0
) -> pd.DataFrame:
    """Scores of the baseline at 7.5 / 1.5, one row an edit."""
    made = edits(models, items, "ip2p", seeds=[seed], settings=SAMPLER)
    return score_all(items, [edit.image for edit in made], features, round_trips=trips)


def leak_of(name: str, models: Path) -> str:
    """The share of leaking pairs that weights were fine-tuned on, from their own log."""
    command = json.loads((models / "training" / f"{name}.json").read_text())["command"]
    return re.search(r"--leak (\S+)", command)[1]


def main(
    count: int = typer.Option(500, help="Held-out test edits."),
    variants: int = typer.Option(120, help="Of these, for weights trained on other leaks."),
    models: Path = typer.Option(MODELS, help="The weights."),
    work: Path = typer.Option(export.WORK, help="Where the edits are drawn."),
    out: Path = typer.Option(RESULTS / "bars.csv", help="Where the table goes."),
) -> None:
    """Measure and print every bar."""
    features = load_features("miniature")
    fast = has_bfloat16_units()
    name = "miniature" if models == RESULTS.parent / "models" else str(models)
    loaded = load(name, bfloat16=fast)
    items = fitted(load_edits(export.drawn("test", count, work)), loaded)
    tasks = [task(item, 0) for item in items]
    trips = [edit.image for edit in round_trip(loaded, tasks, progress=True)]
    bars = list(BARS)
    rows = [
        row(bars[0], autoencoder(items, trips)),
        row(bars[1], retrieval(items, features)),
        row(bars[2], judge(items, features)),
        row("DINOv2: nearest neighbour has the same setting", neighbours(items, features)),
    ]
    captions = [item.record.target_caption for item in items]
    drawn = captions_to_images(loaded, captions, seed=0, steps=SAMPLER["steps"])
    rows.append(row(bars[3], objects_found(items, drawn, features)))
    scores = instruct(items, loaded, features, trips)
    rows.append(row(bars[4], scores["success"]))
    for kind in EDIT_KINDS:
        rows.append(row(f"edit success: {kind}", scores[scores["edit_type"] == kind]["success"]))
    names = ["instruct-pix2pix", *sorted(p.name for p in models.glob("instruct-pix2pix-*"))]
    for name in names:
        one, some = loaded, items[:variants]
        if name != names[0]:
            one = load(f"{models / name},{models / 'text-to-image'}", bfloat16=fast)
        part = instruct(some, one, features, trips[:variants])
        note = f"leak {leak_of(name, models)}" + ("" if name == names[0] else ", fine-tuned on")
        rows.append(row("excess outside change (L1)", part["l1_source_outside_excess"], note))
        rows.append(row("edit success", part["success"], note))
    table = pd.DataFrame(rows)
    tied = records.provenance(loaded, settings=SAMPLER, seed=0, code=CODE)
    tied["item"] = records.short_hash([records.item_hash(item) for item in items])
    table = records.write(out, table.assign(**tied), digits=5)
    shown = table.drop(columns=list(records.PROVENANCE))
    typer.echo(shown.round(4).to_string(index=False))


if __name__ == "__main__":
    typer.run(main)
