"""Several edits of one scene in a row: each pair's source is the target before."""

import random

from cirp.miniature.draw_pairs import make
from cirp.miniature.pairs import Pair, check_request, combinations, home, scene

KINDS = ("swap object", "change part", "change colour", "change expression", "remove")
TRIES = 60  # of one turn, before another scene is drawn


def chain(seed: int, split: str = "test", *, turns: int = 5) -> list[Pair]:
    """`turns` local edits of a scene of three things. The same arguments give the same, always.

    No turn changes anything back: a label that is lost stays lost.
    """
    check_request(split, 0.0, None)
    if turns < 1:
        raise ValueError(f"turns={turns}; ask for at least 1")
    rng = random.Random(f"chain-{split}-{seed}")
    while True:
        found = _chain(scene(rng, count=3, holding=False), rng, seed, turns)
        homes = [
            {home(*names) for names in combinations(pair.source, pair.target)} for pair in found
        ]
        if len(found) == turns and all(h <= {"train", split} for h in homes):
            if split == "train" or any(split in h for h in homes):
                return found


def _chain(start, rng: random.Random, seed: int, turns: int) -> list[Pair]:
    found: list[Pair] = []
    lost: set[str] = set()
    for _ in range(TRIES):
        now = found[-1].target if found else start
        made = make(now, rng.choice(KINDS), rng, seed=seed, leak=0.0, held_out=False)
        if made is None or lost & set(made.gained):
            continue
        if made.kind == "remove" and len(now.things) < 3:
            continue
        found.append(made)
        lost |= set(made.lost)
        if len(found) == turns:
            break
    return found
