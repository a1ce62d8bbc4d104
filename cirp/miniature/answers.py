"""Many right answers to one instruction: the target, redrawn in whatever was not asked for.

"Add a car" does not say which car. The new thing may look otherwise, stand a little elsewhere and
be a little larger; a new setting may be drawn from another seed. What the instruction or the source
decides stays: a mug that is to be blue is the same mug, and what is taken away leaves one picture.
"""

import random
from dataclasses import replace

from cirp.miniature.pairs import Pair
from cirp.miniature.scene import Scene, Thing

MOVED = {"add": 8.0, "swap object": 3.0}  # units of the box that a new thing may stand elsewhere
SCALED = 0.12  # share by which it may be larger or smaller


def answers(pair: Pair, count: int) -> list[Scene]:
    """`count` right answers, the exact target first; fewer, if nothing is left to choose.

    The same pair gives the same answers, always; a larger count begins with those of a smaller.
    """
    if count < 1:
        raise ValueError(f"count={count}; ask for at least 1 answer")
    rng = random.Random(f"answers-{pair.seed}-{pair.kind}")
    free = pair.kind in (*MOVED, "change setting")
    return [pair.target, *(_redrawn(pair, rng) for _ in range(count - 1 if free else 0))]


def _redrawn(pair: Pair, rng: random.Random) -> Scene:
    if pair.kind == "change setting":
        return replace(pair.target, seed=rng.getrandbits(31))
    things = tuple(
        t if any(t is s for s in pair.source.things) else _other(pair, t, rng)
        for t in pair.target.things
    )
    return replace(pair.target, things=tuple(sorted(things, key=lambda t: t.y)))


def _other(pair: Pair, t: Thing, rng: random.Random) -> Thing:
    """Another of the same kind and states; of a thing that holds a new one, the held alone."""
    if t.held and any(replace(t, held=s.held) == s for s in pair.source.things):
        return replace(t, held=replace(t.held, seed=rng.getrandbits(31)))
    moved = MOVED[pair.kind]
    x = min(max(t.x + rng.uniform(-moved, moved), t.size / 2), 100 - t.size / 2)
    size = t.size * rng.uniform(1 - SCALED, 1 + SCALED)
    return replace(t, x=x, size=size, flip=rng.random() < 0.5, seed=rng.getrandbits(31))
