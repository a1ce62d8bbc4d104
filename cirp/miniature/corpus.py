"""The training pairs, drawn once: pictures in memory-mapped arrays, words in JSON lines.

For every seed the target is drawn twice, without and with a leak, so that the share of leaking
pairs is chosen when training, not when drawing.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.scene import SIZE, all_labels, render

CHUNK = 500


@dataclass(frozen=True)
class Corpus:
    """Drawn pairs of one split. Arrays are (pair, row, column, channel) uint8, read lazily."""

    folder: Path
    first: int | None = None  # only so many pairs

    def _array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")[: self.first]

    @cached_property
    def source(self) -> np.ndarray:
        return self._array("source")

    @cached_property
    def target(self) -> np.ndarray:
        return self._array("target")

    @cached_property
    def leaked(self) -> np.ndarray:
        return self._array("leaked")

    @cached_property
    def rows(self) -> list[dict]:
        lines = (self.folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()[: self.first]
        return [json.loads(line) for line in lines]

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """What is in each source and each target, as two (pair, label) boolean arrays."""
        names = {name: i for i, name in enumerate(all_labels())}
        found = []
        for side in ("source_labels", "target_labels"):
            table = np.zeros((len(self.rows), len(names)), dtype=bool)
            for i, row in enumerate(self.rows):
                table[i, [names[label] for label in row[side]]] = True
            found.append(table)
        return tuple(found)


def _chunk(folder: Path, split: str, start: int, stop: int) -> None:
    """Draw pairs start..stop into their own files, unless they are there."""
    done = folder / f"{start:08d}.npz"
    if done.exists():
        return
    pictures: dict[str, list] = {"source": [], "target": [], "leaked": []}
    rows = []
    for seed in range(start, stop):
        clean = draw_pair(seed, split)
        loud = draw_pair(seed, split, leak=1.0) if split == "train" else clean
        pictures["source"].append(render(clean.source))
        pictures["target"].append(render(clean.target))
        pictures["leaked"].append(render(loud.target))
        rows.append(
            {
                "seed": seed,
                "kind": clean.kind,
                "instruction": clean.instruction,
                "wordings": clean.wordings,
                "source_caption": clean.source_caption,
                "target_caption": clean.target_caption,
                "leaked": loud.leaked,
                "source_labels": sorted(clean.source.labels()),
                "target_labels": sorted(clean.target.labels()),
            }
        )
    half = done.with_suffix(".tmp.npz")
    np.savez(half, rows=json.dumps(rows), **{name: np.stack(p) for name, p in pictures.items()})
    os.replace(half, done)


def draw(folder: Path, *, count: int, split: str = "train", workers: int | None = None) -> Corpus:
    """Draw `count` pairs of a split into `folder`, resuming where it stopped."""
    folder = Path(folder)
    if (folder / "rows.jsonl").exists() and len(Corpus(folder)) == count:
        return Corpus(folder)
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    starts = range(0, count, CHUNK)
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        jobs = [pool.submit(_chunk, parts, split, s, min(s + CHUNK, count)) for s in starts]
        for job in tqdm(jobs, desc=f"drawing {count} pairs", unit="chunk"):
            job.result()
    arrays = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE, 3)
        )
        for name in ("source", "target", "leaked")
    }
    rows = []
    for s in starts:
        with np.load(parts / f"{s:08d}.npz") as part:
            for name, array in arrays.items():
                array[s : s + len(part[name])] = part[name]
            rows += json.loads(str(part["rows"]))
    for array in arrays.values():
        array.flush()
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    for s in starts:
        (parts / f"{s:08d}.npz").unlink()
    return Corpus(folder)
