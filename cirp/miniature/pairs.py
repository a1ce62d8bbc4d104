"""What an editing pair is, which split may show it, and the scenes that pairs are drawn from."""

import hashlib
import random
from dataclasses import dataclass, replace

from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.scene import Scene, Thing
from cirp.miniature.styles import STYLES

SPLITS = ("train", "validation", "test")
# What a model of this size learns in an hour on two cores. The other drawings of the world wait
# for a longer training: name them here and draw the corpus again.
KNOWN = (
    "apple", "axolotl", "bag of fries", "ball", "balloon", "banana", "bear", "bird", "boat", "boy",
    "burger", "cactus", "cake", "car", "cat", "cupcake", "dog", "donut", "fox", "frog", "gift box",
    "girl", "hot air balloon", "ice cream", "mug", "mushroom", "owl", "peach", "penguin",
    "pineapple", "pizza slice", "pumpkin", "rabbit", "robot", "rocket", "rubber duck", "snowman",
    "strawberry", "sunflower", "tree", "tulip", "umbrella", "watermelon slice", "yellow mouse",
)  # fmt: skip
SIZES = {1: (54, 66), 2: (42, 48), 3: (32, 36)}  # of a thing among so many
_ALWAYS_TEST = {  # the report's own edits are never trained on
    ("axolotl", "trampoline"),
    ("yellow mouse", "trampoline"),
    ("peach", "strawberry"),
    ("axolotl", "yellow mouse"),
}


@dataclass(frozen=True)
class Pair:
    """An edit with its truth."""

    seed: int
    kind: str
    source: Scene
    target: Scene
    instruction: str
    source_caption: str
    target_caption: str
    words: tuple[str, ...]  # of the instruction, that carry the edit
    target_words: tuple[str, ...]  # of the target caption
    leaked: tuple[str, ...] = ()  # what else changed
    wordings: tuple[str, ...] = ()  # other instructions for the same edit
    held_out_wording: bool = False  # the instruction is worded as in no training pair

    @property
    def gained(self) -> tuple[str, ...]:
        return tuple(sorted(self.target.labels() - self.source.labels()))

    @property
    def kept(self) -> tuple[str, ...]:
        """What must still be seen; of a picture in another style not the states of its things,
        since a pencil sketch shows no colour."""
        both = self.source.labels() & self.target.labels()
        return tuple(sorted(x for x in both if self.kind != "restyle" or "=" not in x))

    @property
    def lost(self) -> tuple[str, ...]:
        return tuple(sorted(self.source.labels() - self.target.labels()))


def home(*names: str) -> str:
    """Return the only split in which this combination of names may be seen: 86 : 4 : 10."""
    if names in _ALWAYS_TEST:
        return "test"
    share = int.from_bytes(hashlib.sha256("|".join(names).encode()).digest()[:4], "big") / 2**32
    return "train" if share < 0.86 else "validation" if share < 0.90 else "test"


def combinations(source: Scene, target: Scene) -> set[tuple[str, str]]:
    """Return what a pair combines: each kind with its setting, and what turns into what."""
    found = {(t.kind, s.setting) for s in (source, target) for t in s.everything()}
    for old, new in zip(source.everything(), target.everything(), strict=False):
        if old.kind != new.kind and len(source.things) == len(target.things):
            found.add((old.kind, new.kind))
    return found


def belongs(source: Scene, target: Scene, split: str) -> bool:
    """Training sees no held-out combination; an evaluation split shows at least one of its own."""
    homes = {home(*names) for names in combinations(source, target)}
    return homes == {"train"} if split == "train" else split in homes and homes <= {"train", split}


def thing(kind: str, rng: random.Random, *, x: float, y: float, size: float, **states) -> Thing:
    """Return a thing of this kind; states that are not given are drawn."""
    known = KINDS[kind]
    chosen = tuple((a.name, states.get(a.name) or rng.choice(a.states)) for a in known.attributes)
    if known.flies:
        y = rng.uniform(size * known.size + 6, 66)
    return Thing(kind, chosen, x, y, size * known.size, rng.random() < 0.5, rng.getrandbits(31))


def _room(slot: int, count: int, place: str, rng: random.Random) -> dict[str, float]:
    """Where one of `count` things stands in a setting, and how large."""
    x = 100 * (slot + 0.5) / count if count > 1 else 50
    x += rng.uniform(-9, 9) if count == 1 else rng.uniform(-3, 3)
    size = rng.uniform(*SIZES[count])
    return dict(x=x, y=rng.uniform(*SETTINGS[place].ground), size=size)


def elsewhere(s: Scene, rng: random.Random) -> Scene:
    """The same things in the same states, in another setting and at other places, drawn anew."""
    place = rng.choice([name for name in sorted(SETTINGS) if name != s.setting])
    things, count = rng.sample(s.things, len(s.things)), len(s.things)
    moved = []
    for slot, old in enumerate(things):
        new = thing(old.kind, rng, **_room(slot, count, place, rng), **dict(old.states))
        held = old.held and replace(old.held, seed=rng.getrandbits(31))
        moved.append(replace(new, held=held))
    return Scene(place, rng.getrandbits(31), tuple(sorted(moved, key=lambda t: t.y)), style=s.style)


def scene(rng: random.Random, *, count: int | None = None, holding: bool | None = None) -> Scene:
    """Return a scene of one to three different things."""
    count = count or rng.choices((1, 2, 3), (0.46, 0.38, 0.16))[0]
    place = rng.choice(sorted(SETTINGS))
    kinds = rng.sample(KNOWN, count)
    if holding is None:
        holding = rng.random() < 0.06
    if holding and count < 3:
        kinds[0] = rng.choice([k for k in KNOWN if KINDS[k].hold])
        if len(set(kinds)) < count:
            kinds = kinds[:1] + [k for k in rng.sample(KNOWN, 3) if k != kinds[0]][: count - 1]
    things = [thing(kind, rng, **_room(slot, count, place, rng)) for slot, kind in enumerate(kinds)]
    if holding and count < 3:
        small = rng.choice([k for k in KNOWN if KINDS[k].holdable and k not in kinds])
        things[0] = replace(things[0], held=thing(small, rng, x=0, y=0, size=0))
    rng.shuffle(things)
    return Scene(place, rng.getrandbits(31), tuple(sorted(things, key=lambda t: t.y)))


def with_things(s: Scene, renewed: dict[int, Thing | None]) -> Scene:
    """Return the scene with things replaced (None: taken away), wherever they stand or are held.

    `renewed` is by `id` of the old thing: two equal things of one scene are still two.
    """
    things = []
    for t in s.things:
        held = t.held and id(t.held) in renewed
        new = renewed.get(id(t), replace(t, held=renewed[id(t.held)]) if held else t)
        things += [new] if new else []
    return replace(s, things=tuple(things))


def change_setting(s: Scene, rng: random.Random):
    place = rng.choice([name for name in sorted(SETTINGS) if name != s.setting])
    facts = dict(place=SETTINGS[place].phrase, setting=a_setting(place))
    return s, replace(s, setting=place), facts, [SETTINGS[place].phrase, place]


def in_state(t: Thing, name: str, state: str) -> Thing:
    """Return the same thing with its attribute `name` in another state."""
    return replace(t, states=tuple((n, state if n == name else v) for n, v in t.states))


def a_setting(place: str) -> str:
    """How a setting is called when it is named alone."""
    return {
        "wooden table": "a wooden table",
        "brick wall": "a brick wall",
        "kitchen": "a kitchen",
    }.get(
        place,
        f"a {place}"
        if place in ("trampoline", "desert", "city street", "beach")
        else f"the {place}",
    )


def restyle(s: Scene, rng: random.Random):
    style = rng.choice(sorted(STYLES))
    return s, replace(s, style=style), dict(style=style), [style]


def check_request(split: str, leak: float, kind: str | None) -> None:
    """Refuse a split or kind of edit that there is not, and leaks where pairs never leak."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if leak and split != "train":
        raise ValueError(f"leak={leak} on the {split} split: evaluation pairs never leak")
    if kind is not None and kind not in EDIT_KINDS:
        raise ValueError(f"unknown kind of edit {kind!r}; there are {', '.join(EDIT_KINDS)}")
