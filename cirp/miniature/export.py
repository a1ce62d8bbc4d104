"""Pairs as files: images, masks and `metadata.jsonl`, as `cirp.data.edits` reads them.

`cirp miniature edits` writes the book's 50 edits; experiments draw theirs the same way, elsewhere.
"""

import os
import random
import shutil
import uuid
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from cirp import paths
from cirp.data.edits import METADATA, EditRecord
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.grammar import EDIT_KINDS, caption, carrying, phrase
from cirp.miniature.kinds import SETTINGS
from cirp.miniature.pairs import Pair, thing
from cirp.miniature.scene import Scene, Thing, mask, region, render

EACH = 5  # edits of each kind beside the examples
LICENSE = "CC-BY-4.0"
WORK = paths.cache() / "miniature"  # what can be drawn again


EXAMPLES = "examples"  # the split, as it were, of the report's own edits
BOOK = 10_000  # number of the first of the book's test edits, far from those of the experiments


def record(p: Pair, name: str, *, split: str, example: bool = False, notes: str = "") -> EditRecord:
    """Return the row of a pair whose files are named after `name`."""
    objects = [t.kind for t in p.source.everything()]
    return EditRecord(
        id=name,
        source_file_name=f"{name}/source.png",
        target_file_name=f"{name}/target.png",
        mask_file_name=f"{name}/mask.png",
        object_names=objects,
        object_mask_file_names=[f"{name}/object_{i}.png" for i in range(len(objects))],
        instruction=p.instruction,
        source_caption=p.source_caption,
        target_caption=p.target_caption,
        words=list(p.words),
        target_words=list(p.target_words),
        edit_type=p.kind,
        is_global=p.kind == "restyle",
        example=example,
        seed=p.seed,
        gained=list(p.gained),
        lost=list(p.lost),
        kept=list(p.kept),
        split=split,
        novel_wording=p.held_out_wording,
        source_dataset="CIRP miniature world",
        license=LICENSE,
        notes=notes,
    )


def write(pairs: Iterable[tuple[Pair, EditRecord]], folder: Path) -> Path:
    """Write images, masks and manifest; the manifest last, so that it never points to nothing."""
    folder = Path(folder)
    rows = []
    for p, row in pairs:
        (folder / row.id).mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(p.source)).save(folder / row.source_file_name)
        Image.fromarray(render(p.target)).save(folder / row.target_file_name)
        _mask(region(p.source, p.target)).save(folder / row.mask_file_name)
        for name, t in zip(row.object_mask_file_names, p.source.everything(), strict=True):
            _mask(mask(p.source, t)).save(folder / name)
        rows.append(row.model_dump_json())
    with paths.replacing(folder / METADATA) as half:
        half.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def _mask(inside: np.ndarray) -> Image.Image:
    return Image.fromarray(inside.astype(np.uint8) * 255)


def write_split(name: str, first: int, count: int, folder: Path) -> Path:
    """Edits `first` to `first + count` of a split, equally many of each kind."""
    pairs = [
        draw_pair(i, name, kind=EDIT_KINDS[i % len(EDIT_KINDS)])
        for i in range(first, first + count)
    ]
    return write(
        ((p, record(p, f"{name}-{first + i:04d}", split=name)) for i, p in enumerate(pairs)), folder
    )


def drawn_pair(row: EditRecord) -> Pair:
    """Return the pair that a row was drawn from."""
    return (
        examples()[row.seed] if row.split == EXAMPLES else _pair(row.seed, row.split, row.edit_type)
    )


@lru_cache(maxsize=4096)
def _pair(seed: int, split: str, kind: str) -> Pair:
    return draw_pair(seed, split, kind=kind)


def drawn(name: str, count: int, *, first: int = 0, work: Path = WORK) -> Path:
    """Return the folder of these edits, which are drawn if they are not yet."""
    folder = Path(work) / f"{name}-{first}-{count}"
    return _once(folder, lambda half: write_split(name, first, count, half))


def _once(folder: Path, make: Callable[[Path], Path]) -> Path:
    if (folder / METADATA).exists():
        return folder
    half = make(folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp"))
    try:
        os.replace(half, folder)
    except OSError:
        if (folder / METADATA).exists():  # another process has just drawn the same
            shutil.rmtree(half)
        else:  # left unfinished
            shutil.rmtree(folder)
            os.replace(half, folder)
    return folder


def _stand(kind: str, rng: random.Random, place: str, size: float, **states) -> Thing:
    ground = rng.uniform(*SETTINGS[place].ground)
    return thing(kind, rng, x=50 + rng.uniform(-6, 6), y=ground, size=size, **states)


def _example(
    number: int, place: str, seed: int, old: Thing, new: Thing, kind: str, instruction: str,
    words: str,
) -> Pair:  # fmt: skip
    """Return a pair with the report's own wording."""
    source = Scene(place, seed, (old,))
    target = Scene(place, seed, (new,))
    truth = caption(target)
    carriers = [phrase(new), *(state for _, state in new.states)]
    return Pair(
        number, kind, source, target, instruction, caption(source), truth,
        tuple(words.split()), carrying(truth, carriers),
    )  # fmt: skip


@cache
def examples() -> list[Pair]:
    """Return the five edits of the report, each twice; a pair's seed is its place among them."""
    found = []
    for seed in (1, 2):
        rng = random.Random(f"example-{seed}")
        from_to = [
            ("axolotl", "yellow mouse", "trampoline", {}, {}, "swap object",
             "change axolotl into yellow mouse", "axolotl yellow mouse"),
            ("donut", "donut", "wooden table", {"topping": "strawberry"}, {"topping": "chocolate"},
             "change part", "change donut topping to chocolate", "topping chocolate"),
            ("burger", "burger", "kitchen", {"dip": "mayonnaise"}, {"dip": "ketchup"},
             "change part", "change mayonnaise dip to ketchup", "dip ketchup"),
            ("dog", "dog", "grass", {"expression": "sad"}, {"expression": "happy"},
             "change expression", "make the sad dog happy", "dog happy"),
        ]  # fmt: skip
        for old, new, place, before, after, kind, instruction, words in from_to:
            first = _stand(old, rng, place, 60, **before)
            second = thing(new, random.Random(first.seed), x=first.x, y=first.y, size=60, **after)
            second = Thing(
                new, second.states, first.x, first.y, second.size, first.flip, first.seed
            )
            found.append(_example(len(found), place, seed, first, second, kind, instruction, words))
        holder = _stand("axolotl", rng, "beach", 62)
        held = [thing(kind, rng, x=0, y=0, size=0) for kind in ("peach", "strawberry")]
        holding = [
            Thing(holder.kind, (), holder.x, holder.y, holder.size, holder.flip, holder.seed, h)
            for h in held
        ]
        found.append(
            _example(len(found), "beach", seed, *holding, "swap object",
                     "change peach into strawberry", "peach strawberry")
        )  # fmt: skip
    return found


def book_edits() -> list[tuple[Pair, EditRecord]]:
    """Return the 50: ten examples, and five of each of the eight kinds from the test split."""
    rows = []
    for i, p in enumerate(examples()):
        name = f"example-{i:02d}"
        notes = "one of the report's own edits"
        rows.append((p, record(p, name, split=EXAMPLES, example=True, notes=notes)))
    for kind in EDIT_KINDS:
        for i in range(EACH):
            p = draw_pair(BOOK + i, "test", kind=kind)
            rows.append((p, record(p, f"{kind.replace(' ', '-')}-{i}", split="test")))
    return rows


def main(folder: Path = paths.EDITS) -> None:
    """Write the book's 50 edits."""
    rows = book_edits()
    write(rows, folder)
    print(f"{len(rows)} edits in {folder}")
