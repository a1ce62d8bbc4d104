"""Single scenes for the judge, every combination of kind and setting among them.

The pairs hold combinations out, so that an editor is tested on what it has not seen. A measuring
instrument trained on them would learn which things are never found where, and miss them in just
the pictures it has to judge. Its scenes share no seed with any pair.
"""

import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from tqdm import tqdm

from cirp.miniature.pairs import scene
from cirp.miniature.scene import SIZE, Scene, all_labels, render
from cirp.miniature.styles import STYLES

CHUNK = 500
STYLED = 0.2  # share of scenes in a style


@dataclass(frozen=True)
class Gallery:
    """Pictures and what is in them."""

    pictures: UInt8[np.ndarray, "scene row column 3"]
    labels: Bool[np.ndarray, "scene label"]


def gallery_scene(seed: int) -> Scene:
    """Scene number `seed`. The same number gives the same scene, always."""
    rng = random.Random(f"gallery-{seed}")
    style = rng.choice(sorted(STYLES)) if rng.random() < STYLED else ""
    return replace(scene(rng), style=style)


def _chunk(seeds: Sequence[int]) -> Gallery:
    names = {name: i for i, name in enumerate(all_labels())}
    pictures = np.zeros((len(seeds), SIZE, SIZE, 3), np.uint8)
    labels = np.zeros((len(seeds), len(names)), bool)
    for row, seed in enumerate(seeds):
        drawn = gallery_scene(seed)
        pictures[row] = render(drawn)
        labels[row, [names[label] for label in drawn.labels()]] = True
    return Gallery(pictures, labels)


def draw_gallery(path: Path, *, count: int, workers: int | None = None) -> Gallery:
    """Draw `count` scenes, or load them if `path` (an .npz file) already holds as many."""
    path = Path(path)
    if path.exists():
        with np.load(path) as kept:
            if len(kept["pictures"]) == count:
                return Gallery(kept["pictures"], kept["labels"])
    chunks = [range(s, min(s + CHUNK, count)) for s in range(0, count, CHUNK)]
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        bar = tqdm(total=len(chunks), desc=f"drawing {count} scenes", unit="chunk")
        parts = []
        for part in pool.map(_chunk, chunks):
            parts.append(part)
            bar.update()
        bar.close()
    found = Gallery(
        np.concatenate([part.pictures for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".tmp.npz")
    np.savez(half, pictures=found.pictures, labels=found.labels)
    os.replace(half, path)
    return found
