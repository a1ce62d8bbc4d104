"""Editing pairs drawn with their truth: source, target, instruction, captions, from one integer.

Two things of one kind can stand in a scene, and an instruction can say which ("the left car") or
mean both. `leak` is the share of pairs in which something else changes too, as in the
Prompt-to-Prompt pairs that InstructPix2Pix was trained on (Brooks et al. 2023, section 3.1).
Evaluation pairs never leak.
"""

import random
from dataclasses import replace

from cirp.miniature import wordings
from cirp.miniature.grammar import EDIT_KINDS, caption, carrying, phrase
from cirp.miniature.kinds import KINDS
from cirp.miniature.leak import leaking
from cirp.miniature.pairs import (
    KNOWN,
    Pair,
    belongs,
    change_setting,
    check_request,
    in_state,
    restyle,
    scene,
    thing,
    with_things,
)
from cirp.miniature.scene import Scene, Thing

TWINS = 0.15  # share of scenes with two or three things in which two are of one kind
NOVEL = 0.25  # share of evaluation instructions whose wording training has not seen
Changed = tuple[Scene, Scene, dict[str, str], list[str]]  # source, target, facts, carriers


def with_twins(s: Scene, rng: random.Random) -> Scene:
    """One thing becomes another of its neighbour's kind, in other states where it has any."""
    if len(s.things) < 2 or any(t.held for t in s.things):
        return s
    first, second = rng.sample(s.things, 2)
    twin = second
    for _ in range(20):
        base = second.size / KINDS[second.kind].size
        twin = thing(first.kind, rng, x=second.x, y=second.y, size=base)
        if not twin.states or twin.states != first.states:
            break
    if KINDS[first.kind].flies != KINDS[second.kind].flies:
        twin = replace(twin, y=first.y)
    things = tuple(twin if t is second else t for t in s.things)
    return replace(s, things=tuple(sorted(things, key=lambda t: t.y)))


def _group(s: Scene, old: Thing, rng: random.Random) -> tuple[Thing, ...]:
    """Return the thing, or it and its twin."""
    alike = tuple(t for t in s.everything() if t.kind == old.kind)
    return alike if len(alike) > 1 and rng.random() < 0.5 else (old,)


def _state(s: Scene, rng: random.Random, edit: str) -> Changed | None:
    options = [(t, a) for t in s.everything() for a in KINDS[t.kind].attributes if a.edit == edit]
    if not options:
        return None
    old, attribute = rng.choice(options)
    group = _group(s, old, rng)
    name = attribute.name
    before = {dict(t.states)[name] for t in group}
    left = [state for state in attribute.states if state not in before]
    facts = wordings.names(s, group, rng)
    if not left or facts is None:
        return None
    state = rng.choice(left)
    renewed = [in_state(t, name, state) for t in group]
    facts |= {"state": state, "part": name, "a_new": wordings.a_new(tuple(renewed))}
    if len(before) == 1:
        facts["before"] = next(iter(before))
        if "noun" in facts:
            facts["the_before_noun"] = f"the {facts['before']} {facts['noun']}"
    others = [t for t in s.everything() if all(t is not one for one in group)]
    if not any(a.name == name for t in others for a in KINDS[t.kind].attributes):
        facts["only_part"] = name  # "the topping" can mean no other thing's
    carriers = [state, name] if edit == "change part" else [state, old.kind]
    carriers += [wordings.plural(old.kind)] if len(group) > 1 and edit != "change part" else []
    return s, with_things(s, dict(zip(map(id, group), renewed, strict=True))), facts, carriers


def _swap(s: Scene, rng: random.Random) -> Changed | None:
    old = rng.choice(list(s.everything()))
    group = _group(s, old, rng)
    taken = {t.kind for t in s.everything()}
    held = any(all(t is not one for t in s.things) for one in group)
    options = [k for k in KNOWN if k not in taken and (KINDS[k].holdable or not held)]
    options = [k for k in options if KINDS[k].flies == KINDS[old.kind].flies] or options
    facts = wordings.names(s, group, rng)
    if not options or facts is None:
        return None
    kind = rng.choice(options)
    renewed, states = [], None
    for one in group:
        new = thing(kind, rng, x=one.x, y=one.y, size=one.size / KINDS[one.kind].size)
        new = replace(new, y=one.y if KINDS[kind].flies == KINDS[one.kind].flies else new.y)
        states = states or new.states  # both alike, as one instruction says it
        new = replace(new, states=states)
        if one.held:
            if not KINDS[kind].hold:
                return None
            new = replace(new, held=one.held)
        renewed.append(new)
    bare = tuple(replace(t, held=None) for t in renewed)
    said = {"the_old": facts["the_noun"], "a_new": wordings.a_new(bare)}
    if "noun" in facts:
        said |= {"old": facts["noun"], "new": phrase(bare[0])}
    carriers = [old.kind, wordings.plural(old.kind), phrase(bare[0]), wordings.several(bare)]
    return s, with_things(s, dict(zip(map(id, group), renewed, strict=True))), said, carriers


def _remove(s: Scene, rng: random.Random) -> Changed | None:
    free = [t for t in s.things if not t.held]
    if not free:
        return None
    old = rng.choice(free)
    group = _group(s, old, rng)
    if len(group) >= len(s.things):
        group = (old,)
    facts = wordings.names(s, group, rng)
    if len(s.things) < 2 or facts is None:
        return None
    gone = dict.fromkeys(map(id, group))
    carriers = [old.kind, wordings.plural(old.kind)]
    return s, with_things(s, gone), {"the_old": facts["the_noun"]}, carriers


def _add(s: Scene, rng: random.Random) -> Changed | None:
    free = [t for t in s.things if not t.held]
    if not free or len(s.things) < 2:
        return None
    new = rng.choice(free)
    facts = {"a_new": wordings.a_new((new,)), "where": wordings.on_the(wordings.side(s, new))}
    return with_things(s, {id(new): None}), s, facts, [phrase(new)]


_MAKERS = {
    "swap object": _swap,
    "change part": lambda s, rng: _state(s, rng, "change part"),
    "change colour": lambda s, rng: _state(s, rng, "change colour"),
    "change expression": lambda s, rng: _state(s, rng, "change expression"),
    "change setting": change_setting,
    "add": _add,
    "remove": _remove,
    "restyle": restyle,
}


def make(
    s: Scene, kind: str, rng: random.Random, *, seed: int, leak: float, held_out: bool,
    further: bool = False,
) -> Pair | None:  # fmt: skip
    """Return an edit of `kind` on this scene, or None where it has nothing to change.

    `further`: with the wordings that training alone sees.
    """
    made = _MAKERS[kind](s, rng)
    if made is None:
        return None
    source, target, facts, carriers = made
    if source.labels() == target.labels():
        return None  # nothing that a judge could see
    several = len(s.things) > 1
    ways = _of_number(wordings.said(kind, facts, held_out=held_out), kind, several)
    if not ways:
        return None
    rng.shuffle(ways)
    instruction, truth = ways[0], caption(target)
    more = wordings.said_in_training_alone(kind, facts) if further else []
    leaked: tuple[str, ...] = ()
    if rng.random() < leak:
        target, leaked = leaking(source, target, random.Random(f"leak-{seed}-{kind}"))
    return Pair(
        seed, kind, source, target, instruction, caption(source), truth,
        carrying(instruction, carriers), carrying(truth, carriers), leaked,
        (*ways[1:], *_of_number(more, kind, several)), held_out,
    )  # fmt: skip


def _of_number(ways: list[str], kind: str, several: bool) -> list[str]:
    """Without those that call one thing "them"."""
    return [w for w in ways if kind != "change setting" or several or " them " not in w]


def draw_pair(
    seed: int, split: str = "train", *, leak: float = 0.0, kind: str | None = None
) -> Pair:
    """Return the edit number `seed` of a split. The same arguments give the same edit, always."""
    check_request(split, leak, kind)
    rng = random.Random(f"varied-{split}-{seed}-{kind}")
    while True:
        wanted = kind or rng.choice(EDIT_KINDS)
        count = rng.choice((2, 2, 3)) if wanted in ("add", "remove") else None
        drawn = scene(rng, count=count)
        if rng.random() < TWINS:
            drawn = with_twins(drawn, rng)
        novel = split != "train" and rng.random() < NOVEL
        made = make(
            drawn, wanted, rng, seed=seed, leak=leak, held_out=novel, further=split == "train"
        )
        if made and belongs(made.source, made.target, split):
            return made


def draw_two(seed: int, split: str = "test") -> tuple[Pair, Pair]:
    """Two edits of two different things in one scene; the second starts from the first's target."""
    rng = random.Random(f"double-{split}-{seed}")
    kinds = ("change colour", "change expression", "change part", "swap object")
    plain = dict(seed=seed, leak=0.0, held_out=False)
    while True:
        first = make(scene(rng, count=2, holding=False), rng.choice(kinds), rng, **plain)
        second = first and make(first.target, rng.choice(kinds), rng, **plain)
        if not second or not (
            belongs(first.source, first.target, split)
            and belongs(second.source, second.target, split)
        ):
            continue
        changed = [
            [a != b for a, b in zip(p.source.things, p.target.things, strict=True)]
            for p in (first, second)
        ]
        if not any(a and b for a, b in zip(*changed, strict=True)):
            return first, second
