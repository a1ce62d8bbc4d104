"""Many ways to say one instruction: wordings, the place of a thing, one thing or both of two.

The last two wordings of each kind are held out: training never shows them. It does show `FURTHER`
ones, which no evaluation uses: they teach what is alike in all of them, and share words with those
held out, never a sentence.
"""

import random
from string import Formatter

from cirp.miniature.grammar import a, phrase
from cirp.miniature.kinds import KINDS
from cirp.miniature.scene import Scene, Thing

HELD_OUT = 2  # of each kind, at the end of its list
WORDINGS = {
    "swap object": (
        "change {old} into {new}",
        "change {the_old} into {a_new}",
        "turn {the_old} into {a_new}",
        "replace {the_old} with {a_new}",
        "swap {the_old} for {a_new}",
        "exchange {the_old} for {a_new}",
        "make {the_old} {a_new}",
        "instead of {the_old} show {a_new}",
        "put {a_new} where {the_old} is",
    ),
    "change part": (
        "change the {only_part} to {state}",
        "change {noun} {part} to {state}",
        "change {before} {only_part} to {state}",
        "make the {part} of {the_noun} {state}",
        "change the {part} of {the_noun} to {state}",
        "replace the {before} {only_part} with {state} {part}",
        "give {the_noun} {state} {part}",
        "let {the_noun} have {state} {part}",
    ),
    "change colour": (
        "make {the_noun} {state}",
        "turn {the_noun} {state}",
        "paint {the_noun} {state}",
        "change the colour of {the_noun} to {state}",
        "change {the_before_noun} to {state}",
        "colour {the_noun} {state}",
        "change {the_noun} from {before} to {state}",
        "dye {the_noun} {state}",
    ),
    "change expression": (
        "make {the_noun} {state}",
        "make {the_noun} look {state}",
        "make {the_before_noun} {state}",
        "change {the_noun} from {before} to {state}",
        "turn {the_before_noun} into {a_new}",
        "change the expression of {the_noun} to {state}",
        "let {the_noun} look {state}",
        "show {the_noun} with a {state} face",
    ),
    "change setting": (
        "put it {place}",
        "move it {place}",
        "change the background to {setting}",
        "replace the background with {setting}",
        "make it {place}",
        "put them {place}",
        "move them {place}",
        "set the scene {place}",
        "use {setting} as the background",
    ),
    "add": (
        "add {a_new}",
        "put {a_new} into the picture",
        "place {a_new} in the scene",
        "add {a_new} {where}",
        "put {a_new} {where}",
        "insert {a_new}",
        "draw {a_new} {where}",
        "include {a_new} in the picture",
    ),
    "remove": (
        "remove {the_old}",
        "take away {the_old}",
        "delete {the_old}",
        "erase {the_old}",
        "get rid of {the_old}",
        "take {the_old} out",
        "make {the_old} disappear",
        "show it without {the_old}",
    ),
    "restyle": (
        "make it a {style}",
        "turn it into a {style}",
        "change the style to {style}",
        "redraw it as a {style}",
        "show it as a {style}",
        "make the picture a {style}",
        "render it as a {style}",
        "convert the picture to a {style}",
    ),
}
FURTHER = {
    "swap object": (
        "substitute {a_new} for {the_old}",
        "{the_old} should become {a_new}",
        "transform {the_old} into {a_new}",
        "convert {the_old} to {a_new}",
        "replace {the_old} by {a_new}",
        "show {a_new} in place of {the_old}",
        "{a_new} instead of {the_old}",
        "i want {a_new} instead of {the_old}",
        "let {the_old} be {a_new}",
        "put {a_new} in the place of {the_old}",
        "where {the_old} is there should be {a_new}",
    ),
    "change part": (
        "{the_noun} should have {state} {part}",
        "set the {part} of {the_noun} to {state}",
        "show {the_noun} with {state} {part}",
        "turn the {part} of {the_noun} {state}",
        "use {state} as the {part} of {the_noun}",
        "let the {part} of {the_noun} be {state}",
        "swap the {before} {only_part} for {state} {part}",
        "the {only_part} should be {state}",
    ),
    "change colour": (
        "{the_noun} should be {state}",
        "let {the_noun} be {state}",
        "recolour {the_noun} to {state}",
        "tint {the_noun} {state}",
        "show {the_noun} in {state}",
        "set the colour of {the_noun} to {state}",
        "change {the_noun} to {state}",
        "turn {the_before_noun} {state}",
        "give {the_noun} the colour {state} instead of {before}",
        "i want {the_noun} to be {state}",
    ),
    "change expression": (
        "{the_noun} should look {state}",
        "{the_noun} should be {state}",
        "let {the_noun} be {state}",
        "give {the_noun} a {state} face",
        "set the expression of {the_noun} to {state}",
        "make the face of {the_noun} {state}",
        "show {the_noun} {state} instead of {before}",
        "draw {the_noun} with a {state} expression",
        "change {the_noun} to look {state}",
        "i want {the_noun} to look {state}",
    ),
    "change setting": (
        "change the scene to {setting}",
        "the background should be {setting}",
        "the scene should be {place}",
        "turn the background into {setting}",
        "show it {place}",
        "show them {place}",
        "let it be {place}",
        "let them be {place}",
        "place the scene {place}",
        "draw it {place}",
        "have {setting} as the backdrop",
        "take {setting} as a new background",
        "swap the background for {setting}",
    ),
    "add": (
        "add {a_new} to the picture",
        "add {a_new} to the scene",
        "paint {a_new} into the picture",
        "paint {a_new} {where}",
        "place {a_new} {where}",
        "show {a_new} {where}",
        "there should be {a_new} {where}",
        "there should be {a_new}, too",
        "let there be {a_new}",
        "bring {a_new} into the scene",
        "also show {a_new}",
        "have {a_new} {where}",
    ),
    "remove": (
        "leave out {the_old}",
        "cut out {the_old}",
        "let {the_old} vanish",
        "{the_old} should disappear",
        "{the_old} should be gone",
        "the same picture without {the_old}",
        "draw it without {the_old}",
        "remove {the_old} from the picture",
        "clear away {the_old}",
        "make {the_old} go away",
        "hide {the_old}",
    ),
    "restyle": (
        "let it be a {style}",
        "it should be a {style}",
        "draw it as a {style}",
        "show the scene as a {style}",
        "render the picture as a {style}",
        "convert it into a {style}",
        "transform it into a {style}",
        "turn the picture into a {style}",
        "change it to a {style}",
        "the same picture as a {style}",
        "use the style {style}",
    ),
}
_IRREGULAR = {
    "yellow mouse": "yellow mice", "snowman": "snowmen", "bag of fries": "bags of fries",
    "cactus": "cacti", "strawberry": "strawberries", "teddy bear": "teddy bears",
}  # fmt: skip


def plural(noun: str) -> str:
    """More than one of a kind of this world."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def side(scene: Scene, thing: Thing) -> str:
    """ "left", "right" or "middle" among the things that stand in the scene; "" if it is alone."""
    row = sorted(scene.things, key=lambda t: t.x)
    if len(row) < 2 or not any(t is thing for t in row):
        return ""
    place = next(i for i, t in enumerate(row) if t is thing)
    return "left" if place == 0 else "right" if place == len(row) - 1 else "middle"


def on_the(where: str) -> str:
    """ "left" -> "on the left"."""
    return "in the middle" if where == "middle" else f"on the {where}"


def several(things: tuple[Thing, ...]) -> str:
    """Things of one kind as a noun phrase without article: "red cars"."""
    noun = plural(things[0].kind)
    shared = set(things[0].states).intersection(*(t.states for t in things))
    words = noun
    for attribute in KINDS[things[0].kind].attributes:
        for name, state in shared:
            if name == attribute.name:
                words = attribute.phrase.format(noun=words, state=state)
    return words


def names(scene: Scene, group: tuple[Thing, ...], rng: random.Random) -> dict[str, str] | None:
    """How to call these things of one kind: {the_noun}, and {noun} where nothing else is needed.

    None if no words tell them from another thing of their kind.
    """
    kind = group[0].kind
    alike = [t for t in scene.everything() if t.kind == kind]
    if len(group) > 1:
        noun = plural(kind)
        return {"the_noun": rng.choice((f"the {noun}", f"both {noun}", f"the two {noun}"))}
    (thing,) = group
    where = side(scene, thing)
    if len(alike) > 1 or (where and rng.random() < 0.25):
        if not where:
            return None
        if where == "middle":
            return {"the_noun": f"the {kind} in the middle"}
        return {"the_noun": rng.choice((f"the {where} {kind}", f"the {kind} on the {where}"))}
    return {"the_noun": f"the {kind}", "noun": kind}


def said(kind: str, facts: dict[str, str], *, held_out: bool) -> list[str]:
    """Every wording of this kind of edit, of those seen in training or of those held out.

    A wording that speaks of what `facts` do not name is left out.
    """
    known = WORDINGS[kind]
    return _filled(known[-HELD_OUT:] if held_out else known[:-HELD_OUT], facts)


def said_in_training_alone(kind: str, facts: dict[str, str]) -> list[str]:
    """Every further wording of this kind of edit, likewise."""
    return _filled(FURTHER[kind], facts)


def _filled(chosen: tuple[str, ...], facts: dict[str, str]) -> list[str]:
    return [
        wording.format(**facts)
        for wording in chosen
        if {field for _, field, _, _ in Formatter().parse(wording) if field} <= facts.keys()
    ]


def a_new(things: tuple[Thing, ...]) -> str:
    """Return the new thing with its article, or both of them."""
    if len(things) > 1:
        return f"two {several(things)}"
    return a(phrase(things[0]))
