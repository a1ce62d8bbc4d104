"""How good the miniature's CLIP, DINOv2, judge and latents are, each against the world's truth."""

import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.neighbors import KNeighborsClassifier

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import encode
from cirp.metrics import similarity
from cirp.metrics.features import FeatureExtractor
from cirp.miniature.export import drawn_pair
from cirp.miniature.gallery import gallery_scene
from cirp.miniature.pairs import KNOWN
from cirp.miniature.scene import Scene, all_labels, render

CANDIDATES = 64  # captions a picture has to choose its own from
NEIGHBOURS = 5
REFERENCES = 1500  # scenes of one thing that neighbours are looked for among
UNSEEN = 1_000_000  # number from which gallery scenes trained no judge
BINS = 10
Bar = Callable[..., dict]  # `quality.bar`


def eigenvalue_ratio(items: Sequence[EditItem], models: Models) -> float:
    """Of the covariance of the latents' channels: largest eigenvalue over smallest."""
    latents = encode([item.source() for item in items[:128]], models)
    flat = latents.movedim(1, -1).flatten(0, -2).double()
    values = np.linalg.eigvalsh(np.cov(flat.cpu().numpy().T))
    return float(values[-1] / values[0])


def clip_retrieval(items: Sequence[EditItem], features: FeatureExtractor, bar: Bar) -> list[dict]:
    """Is a target's own caption nearer to it than 63 others'?"""
    captions = [item.record.target_caption for item in items]
    images = features.clip_image([item.target() for item in items])
    texts = features.clip_text(captions)
    rng, found = np.random.default_rng(0), []
    for i, caption in enumerate(captions):
        others = [j for j in range(len(items)) if captions[j] != caption]
        chosen = rng.choice(others, min(CANDIDATES - 1, len(others)), replace=False)
        found.append(float(images[i] @ texts[i] > (texts[chosen] @ images[i]).max()))
    return [bar(f"CLIP: own caption among {CANDIDATES}", found, 0.97)]


Shown = tuple[Image.Image, str, str]  # a picture of one thing, its kind, the setting


def _alone(scene: Scene, picture: Image.Image | None = None) -> Shown | None:
    """Return the scene as such a picture; None if there are more things."""
    things = list(scene.everything())
    if len(things) > 1:
        return None
    return picture or Image.fromarray(render(scene)), things[0].kind, scene.setting


def _single(items: Sequence[EditItem]) -> list[Shown]:
    """Sources in which one thing stands."""
    found = (_alone(drawn_pair(item.record).source, item.source()) for item in items)
    return [one for one in found if one]


def _references(count: int) -> list[Shown]:
    """Return the first scenes of one thing, in no style, that trained no judge."""
    scenes = (gallery_scene(seed) for seed in itertools.count(UNSEEN))
    found = (_alone(scene) for scene in scenes if not scene.style)
    return list(itertools.islice((one for one in found if one), count))


def dinov2_neighbours(
    items: Sequence[EditItem], features: FeatureExtractor, bar: Bar
) -> list[dict]:
    """Do a picture's nearest pictures show the same kind of thing? The same setting?"""
    known, asked = _references(REFERENCES), _single(items)
    near = features.dinov2([picture for picture, *_ in known])
    far = features.dinov2([picture for picture, *_ in asked])
    rows = []
    for name, column, wanted in (("kind", 1, 0.80), ("setting", 2, None)):
        vote = KNeighborsClassifier(NEIGHBOURS, weights="distance")
        vote.fit(near, [one[column] for one in known])
        right = vote.predict(far) == np.array([one[column] for one in asked])
        rows.append(bar(f"DINOv2: {NEIGHBOURS} neighbours name the {name}", right, wanted))
    return rows


def judge_calibration(
    items: Sequence[EditItem], features: FeatureExtractor, bar: Bar
) -> list[dict]:
    """Of labels given a probability near p, what share is there? One line a bin, and the gap.

    Over all labels of all sources and targets, in a line the mean over the edits that have any in
    its bin; the gap is the mean over labels of the distance between the two (expected calibration
    error).
    """
    pictures = [getattr(item, side)() for item in items for side in ("source", "target")]
    truth = np.concatenate([_labels(item) for item in items])
    labels = all_labels()
    said = features.judge(pictures)[labels].to_numpy(dtype=float).ravel()
    there = truth.ravel()
    edit = np.arange(len(there)) // (2 * len(labels))
    edges = np.linspace(0, 1, BINS + 1)
    place = np.searchsorted(edges[1:-1], said)
    share, mean = calibration_curve(there, said, n_bins=BINS)
    counts = np.bincount(place, minlength=BINS)
    gap = float((np.abs(share - mean) * counts[counts > 0]).sum() / counts.sum())
    rows = [bar("judge: expected calibration error", [gap])]
    for number in np.flatnonzero(counts):
        inside = place == number
        part = f"probability {edges[number]:.1f} to {edges[number + 1]:.1f}"
        by_edit = pd.Series(there[inside]).groupby(edit[inside]).mean()
        rows.append(bar("judge: share of labels that are there", by_edit, part=part))
    return rows


def _labels(item: EditItem) -> np.ndarray:
    """(source and target, label): what is there."""
    pair = drawn_pair(item.record)
    sides = [scene.labels() for scene in (pair.source, pair.target)]
    return np.array([[name in side for name in all_labels()] for side in sides])


def named_things_seen(items: Sequence[EditItem], seen: pd.DataFrame) -> list[float]:
    """Return the share of each target caption's things that the judge sees."""
    found = []
    for i, item in enumerate(items):
        named = [kind for kind in KNOWN if re.search(rf"\b{kind}\b", item.record.target_caption)]
        found.append(float((seen.loc[i, named] >= similarity.THRESHOLD).mean()))
    return found
