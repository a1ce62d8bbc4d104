"""`python -m cirp.miniature.evaluate`: the bars of the miniature, on held-out test edits.

Every number is a mean over the edits with its 95 % bootstrap interval (BCa), unit: the edit.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import typer
from diffusers import AutoencoderKL

from cirp import metrics, regions
from cirp.data import EditItem, load_edits
from cirp.features import Features, load_features
from cirp.methods.controls import round_trip
from cirp.miniature import export
from cirp.miniature.grammar import EDIT_KINDS
from cirp.models import Models, load
from cirp.runs import edits
from cirp.sampling import captions_to_images
from cirp.scores import score_all
from cirp.statistics import mean_interval

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "data" / "results"
CANDIDATES = 64  # captions a picture has to choose its own from
SAMPLER = {"steps": 30}
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


def held_out(count: int, folder: Path) -> list[EditItem]:
    """The first `count` edits of the test split, drawn once."""
    folder = folder / f"test-{count}"
    if not (folder / "metadata.jsonl").exists():
        export.split("test", count, folder)
    return load_edits(folder)


def autoencoder(items: list[EditItem], trips: list) -> list[float]:
    """PSNR of each source after the autoencoder's round trip."""
    pairs = ((metrics.to_array(t), metrics.to_array(i.source())) for i, t in zip(items, trips, strict=True))
    return [metrics.psnr(float(((a - b) ** 2).mean())) for a, b in pairs]


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
        done, _ = metrics.judged(b, item.record.gained, item.record.lost)
        idle, _ = metrics.judged(a, item.record.gained, item.record.lost)
        found.append(float(done == 1 and idle == 0))
    return found


def neighbours(items: list[EditItem], features: Features) -> list[float]:
    """DINOv2 without labels: is the nearest other source's setting the same?"""
    found = features.dinov2([item.source() for item in items])
    near = found @ found.T
    np.fill_diagonal(near, -np.inf)
    places = [next(p for p in item.record.source_caption.split(" ")[-1:]) for item in items]
    return [float(places[i] == places[j]) for i, j in enumerate(near.argmax(axis=1))]


def objects_found(items: list[EditItem], images: list, features: Features) -> list[float]:
    """The share of a caption's objects that the judge sees in the generated picture."""
    seen = features.judge(images)
    kinds = [label for label in seen.columns if ":" not in label]
    truth = features.judge([item.target() for item in items])[kinds] >= metrics.THRESHOLD
    hits = seen[kinds] >= metrics.THRESHOLD
    return [
        float(hits.loc[i, named].mean())
        for i, item in enumerate(items)
        if (named := [k for k in kinds if f" {k}" in f" {item.record.target_caption}" and truth.loc[i, k]])
    ]


def instruct(
    items: list[EditItem], models: Models, features: Features, trips: list, *, seed: int = 0
) -> pd.DataFrame:
    """Scores of the baseline at 7.5 / 1.5, one row an edit."""
    made = edits(models, items, "ip2p", seeds=[seed], settings=SAMPLER)
    return score_all(items, [edit.image for edit in made], features, round_trips=trips)


def leak_of(name: str, models: Path) -> float | None:
    """The share of leaking pairs that these weights were trained on, from their own log."""
    log = models / "training" / f"{name}.json"
    if not log.exists():
        return None
    words = log.read_text().split("--leak ")
    return float(words[1].split()[0]) if len(words) > 1 else None
