"""Which of many candidates are taken: no picture twice, and of every sort about as many."""

import random
from collections import defaultdict
from collections.abc import Sequence

import imagehash

from cirp.curation.candidate import Candidate

ALIKE = 6  # bits of 64 in which the perceptual hashes of one picture may differ


def unlike(found: Sequence[Candidate], *, alike: int = ALIKE) -> list[Candidate]:
    """Without candidates whose picture and instruction another one before has already.

    One photograph may be edited twice, if it is asked for different things.
    """
    kept: list[tuple[imagehash.ImageHash, Candidate]] = []
    for one in found:
        mine = imagehash.phash(one.image)
        said = " ".join(one.instruction.lower().split())
        if not any(
            mine - other <= alike and said == " ".join(c.instruction.lower().split())
            for other, c in kept
        ):
            kept.append((mine, one))
    return [one for _, one in kept]


def balanced(found: Sequence[Candidate], count: int, seed: int) -> list[Candidate]:
    """`count` candidates, in turn from every source, kind of edit and extent of the region.

    The same candidates and seed give the same draw, whatever their order.

    Raises `ValueError` if there are fewer than `count`.
    """
    if not 1 <= count <= len(found):
        raise ValueError(f"count={count} of {len(found)} candidates; ask for 1 to {len(found)}")
    rng = random.Random(seed)
    groups: dict[str, dict[tuple[str, str], list[Candidate]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for one in sorted(found, key=lambda c: (c.source, c.source_id, c.instruction)):
        groups[one.source][one.kind, one.extent].append(one)
    queues = {}
    for source, sorts in groups.items():
        for some in sorts.values():
            rng.shuffle(some)
        order = sorted(sorts)
        rng.shuffle(order)
        queues[source] = _in_turn([sorts[sort] for sort in order])
    order = sorted(queues)
    rng.shuffle(order)
    return _in_turn([queues[source] for source in order])[:count]


def _in_turn(queues: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Return the first of each, the second of each, ..."""
    longest = max(map(len, queues))
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]
