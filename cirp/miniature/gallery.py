"""Single scenes for the judge, every combination of kind and setting among them.

The pairs hold combinations out, so that an editor is tested on what it has not seen. A measuring
instrument trained on them would learn which things are never found where, and miss them in just
the pictures it has to judge. Its scenes share no seed with any pair. Some of them are edits that
were left half done: one side of what changes is still as it was.
"""

import json
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from tqdm import tqdm

from cirp.miniature.draw_pairs import TWINS, make, with_twins
from cirp.miniature.kinds import KINDS
from cirp.miniature.pairs import Pair, in_state, scene, with_things
from cirp.miniature.scene import SIZE, Scene, all_labels, mask, region, render
from cirp.miniature.styles import STYLES
from cirp.paths import replacing

CHUNK = 250
STYLED = 0.42  # share of scenes in a style
SPOTTED = 0.6  # share of scenes whose things' masks are kept
HALVED = 0.36  # share of scenes that are half of an edit
HALVES = {  # of which kind, how often: the hardest to notice most
    "add": 0.26, "restyle": 0.18, "change setting": 0.16, "swap object": 0.12,
    "change part": 0.1, "remove": 0.08, "change colour": 0.05, "change expression": 0.05,
}  # fmt: skip
EMPTIED = 0.25  # share of scenes of several things from which one has been taken away


ARRAYS = ("pictures", "labels", "open", "masks")


@dataclass(frozen=True)
class Spot:
    """A thing, or a part of one, and what can no longer be known when it is spoilt."""

    row: int  # of `Gallery.masks`
    hidden: list[int]  # labels that are then not there
    open: list[int]  # labels that then may or may not be


@dataclass(frozen=True)
class Gallery:
    """Pictures, what is in them, and where."""

    pictures: UInt8[np.ndarray, "scene row column 3"]
    labels: Bool[np.ndarray, "scene label"]
    open: Bool[np.ndarray, "scene label"]  # what half an edit leaves undecided
    masks: UInt8[np.ndarray, "spot packed"]  # bits of 64 x 64 pixels
    spots: list[list[Spot]]

    @cached_property
    def halved(self) -> Bool[np.ndarray, " scene"]:
        """Which pictures are half of an edit."""
        return self.open.any(axis=1)

    def mask(self, spot: Spot) -> Bool[np.ndarray, "row column"]:
        """Where it is seen."""
        return np.unpackbits(self.masks[spot.row]).reshape(SIZE, SIZE).astype(bool)


def gallery_scene(seed: int) -> Scene:
    """Scene number `seed`. The same number gives the same scene, always."""
    rng = random.Random(f"gallery-{seed}")
    style = rng.choice(sorted(STYLES)) if rng.random() < STYLED else ""
    drawn = scene(rng)
    if rng.random() < TWINS:
        drawn = with_twins(drawn, rng)
    if len(drawn.things) > 1 and rng.random() < EMPTIED:  # an empty place is no damage
        drawn = with_things(drawn, {id(rng.choice(drawn.things)): None})
    return replace(drawn, style=style)


def halved(seed: int) -> tuple[np.ndarray, Pair] | None:
    """Half of an edit of the scene `seed`, and which; None if the scene has no such edit.

    What changes is cut in its middle, upright or across: one side is the target's, the other
    still the source's.
    """
    rng = random.Random(f"halved-{seed}")
    (kind,) = rng.choices(list(HALVES), list(HALVES.values()))
    made = make(gallery_scene(seed), kind, rng, seed=seed, leak=0.0, held_out=False)
    if made is None:
        return None
    source, target = render(made.source), render(made.target)
    side = half(region(made.source, made.target), rng.random() < 0.5, rng.random() < 0.5)
    return np.where(side[..., None], target, source), made


def half(inside: Bool[np.ndarray, "r c"], across: bool, first: bool) -> Bool[np.ndarray, "r c"]:
    """Return the upper (`across`) or left half of a region, or the other one."""
    where = np.nonzero(inside)[0 if across else 1]
    if not len(where):
        return inside
    along = np.arange(SIZE) < (where.min() + where.max() + 1) / 2
    along = along if first else ~along
    return inside & (along[:, None] if across else along[None])


def spots_of(drawn: Scene, number: dict[str, int]) -> list[tuple[Bool[np.ndarray, "r c"], Spot]]:
    """One thing of the scene, its part that has a state of its own, and what another would change.

    The last is where an edit of that state is filled by `experiments.controls`.
    """
    things, rng = list(drawn.everything()), random.Random(drawn.seed)
    chosen = rng.choice(things)
    stands = any(t is chosen for t in drawn.things)
    rest = replace(drawn, things=tuple(t for t in drawn.things if t is not chosen))
    own = {chosen.kind, *(f"{chosen.kind}:{name}={state}" for name, state in chosen.states)}
    found = []
    alone = sum(t.kind == chosen.kind for t in things) == 1
    if stands and not chosen.held:
        hidden = sorted(number[label] for label in own - rest.labels())
        # with the shadow, as where it was removed, or without, so that the shadow tells
        gone = region(drawn, rest) if rng.random() < 0.6 else mask(drawn, chosen)
        found.append((gone, Spot(0, hidden, [])))
    for attribute in KINDS[chosen.kind].attributes if alone and not chosen.held else ():
        name, now = attribute.name, dict(chosen.states)[attribute.name]
        spot = Spot(0, [number[f"{chosen.kind}:{name}={now}"]], [number[chosen.kind]])
        if attribute.part:
            found.append((mask(drawn, chosen, attribute.part), spot))
        other = rng.choice([state for state in attribute.states if state != now])
        changed = with_things(drawn, {id(chosen): in_state(chosen, name, other)})
        found.append((region(drawn, changed), spot))
    return found


def _chunk(seeds: Sequence[int]) -> Gallery:
    number = {name: i for i, name in enumerate(all_labels())}
    pictures = np.zeros((len(seeds), SIZE, SIZE, 3), np.uint8)
    labels = np.zeros((len(seeds), len(number)), bool)
    undecided = np.zeros_like(labels)
    masks, spots = [], []
    for row, seed in enumerate(seeds):
        cut = halved(seed) if random.Random(f"halved?-{seed}").random() < HALVED else None
        if cut:
            pictures[row], edit = cut
            labels[row, [number[label] for label in edit.source.labels()]] = True
            undecided[row, [number[label] for label in (*edit.gained, *edit.lost)]] = True
            spots.append([])
            continue
        drawn = gallery_scene(seed)
        pictures[row] = render(drawn)
        labels[row, [number[label] for label in drawn.labels()]] = True
        spots.append([])
        if random.Random(f"spots-{seed}").random() < SPOTTED:
            for inside, spot in spots_of(drawn, number):
                spots[-1].append(replace(spot, row=len(masks)))
                masks.append(np.packbits(inside))
    packed = np.stack(masks) if masks else np.zeros((0, SIZE * SIZE // 8), np.uint8)
    return Gallery(pictures, labels, undecided, packed, spots)


def load_gallery(folder: Path) -> Gallery:
    """Return a gallery that `draw_gallery` has written."""
    arrays = {n: np.load(folder / f"{n}.npy") for n in ARRAYS}
    spots = json.loads((folder / "spots.json").read_text(encoding="utf-8"))
    return Gallery(**arrays, spots=[[Spot(**spot) for spot in some] for some in spots])


def draw_gallery(folder: Path, *, count: int, workers: int | None = None) -> Gallery:
    """Draw `count` scenes, or load them if `folder` already holds as many."""
    folder = Path(folder)
    if (folder / "spots.json").exists():
        found = load_gallery(folder)
        if len(found.pictures) == count:
            return found
    chunks = [range(s, min(s + CHUNK, count)) for s in range(0, count, CHUNK)]
    parts, before = [], 0
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        for part in tqdm(pool.map(_chunk, chunks), total=len(chunks), desc="drawing scenes"):
            moved = [[replace(s, row=s.row + before) for s in some] for some in part.spots]
            parts.append(replace(part, spots=moved))
            before += len(part.masks)
    with replacing(folder) as half:
        half.mkdir()
        for name in ARRAYS:
            np.save(half / f"{name}.npy", np.concatenate([getattr(p, name) for p in parts]))
        spots = [[asdict(spot) for spot in some] for part in parts for some in part.spots]
        (half / "spots.json").write_text(json.dumps(spots), encoding="utf-8")
    return load_gallery(folder)
