"""A character that no model has seen, in several places, and edits that ask for it.

The drawing is one of those that no pair is made of; the seed of its variation is fixed, so it is
one and the same individual everywhere.
"""

import random
from dataclasses import replace

from cirp.miniature.grammar import a, carrying
from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.pairs import KNOWN, Pair, thing
from cirp.miniature.scene import Scene, Thing

KIND = "teddy bear"
NOUN = "bear"  # a class that the models know
IDENTIFIER = "zyz"
NAME = f"{IDENTIFIER} {NOUN}"
_SEED = 11  # of the individual
_HOMES = ("grass", "beach", "snow", "wooden table", "kitchen")


def _stand(rng: random.Random, place: str) -> Thing:
    """The character somewhere in this place, either way round."""
    x, y = 50 + rng.uniform(-8, 8), rng.uniform(*SETTINGS[place].ground)
    drawn = thing(KIND, random.Random(0), x=x, y=y, size=rng.uniform(56, 66))
    return replace(drawn, seed=_SEED, flip=rng.random() < 0.5)


def portraits() -> list[Scene]:
    """Five scenes with nothing but the character: what it is learnt from."""
    rng = random.Random("portraits")
    return [Scene(place, rng.getrandbits(31), (_stand(rng, place),)) for place in _HOMES]


def swap(seed: int) -> Pair:
    """An edit that puts the character in another thing's place, where it was never seen."""
    rng = random.Random(f"newcomer-{seed}")
    place = rng.choice([name for name in sorted(SETTINGS) if name not in _HOMES])
    grounded = [k for k in KNOWN if not KINDS[k].flies and k != NOUN]
    kind = rng.choice(grounded)
    old = thing(kind, rng, x=50, y=rng.uniform(*SETTINGS[place].ground), size=60)
    new = replace(_stand(rng, place), x=old.x, y=old.y)
    before = Scene(place, rng.getrandbits(31), (old,))
    after = replace(before, things=(new,))
    said = f"replace the {kind} with {a(NAME)}"
    captions = [f"{a(noun)} {SETTINGS[place].phrase}" for noun in (kind, NAME)]
    return Pair(
        seed, "swap object", before, after, said, *captions,
        carrying(said, [kind, NAME]), carrying(captions[1], [NAME]),
    )  # fmt: skip
