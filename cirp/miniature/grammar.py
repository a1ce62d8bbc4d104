"""Words from scenes: captions, and several wordings of every instruction.

Text and picture come from the same values, so they cannot disagree.
"""

import random

from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.scene import Scene, Thing
from cirp.miniature.styles import STYLES


def a(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def phrase(thing: Thing) -> str:
    """What it is and how it is, without article: "donut with mint topping"."""
    words, states = thing.kind, dict(thing.states)
    for attribute in KINDS[thing.kind].attributes:
        words = attribute.phrase.format(noun=words, state=states[attribute.name])
    if thing.held:
        words += f" holding {a(phrase(thing.held))}"
    return words


def caption(scene: Scene) -> str:
    """ "an axolotl holding a peach and a red car on the beach"."""
    things = [a(phrase(thing)) for thing in sorted(scene.things, key=lambda thing: thing.x)]
    listed = things[-1] if len(things) == 1 else ", ".join(things[:-1]) + " and " + things[-1]
    words = f"{listed} {SETTINGS[scene.setting].phrase}"
    return f"{words}, {STYLES[scene.style].phrase}" if scene.style else words


INSTRUCTIONS = {
    "swap object": (
        "change {old} into {new}",
        "change the {old} into {a_new}",
        "turn the {old} into {a_new}",
        "replace the {old} with {a_new}",
        "swap the {old} for {a_new}",
    ),
    "change part": (
        "change the {part} to {state}",
        "change {noun} {part} to {state}",
        "change {before} {part} to {state}",
        "make the {part} of the {noun} {state}",
        "replace the {before} {part} with {state} {part}",
    ),
    "change colour": (
        "make the {noun} {state}",
        "turn the {noun} {state}",
        "paint the {noun} {state}",
        "change the colour of the {noun} to {state}",
        "change the {before} {noun} to {state}",
    ),
    "change expression": (
        "make the {noun} {state}",
        "make the {noun} look {state}",
        "make the {before} {noun} {state}",
        "change the {noun} from {before} to {state}",
        "turn the {before} {noun} into a {state} {noun}",
    ),
    "change setting": (
        "put it {place}",
        "move it {place}",
        "change the background to {setting}",
        "replace the background with {setting}",
        "make it {place}",
    ),
    "add": ("add {a_new}", "put {a_new} into the picture", "place {a_new} in the scene"),
    "remove": ("remove the {old}", "take away the {old}", "delete the {old}", "erase the {old}"),
    "restyle": (
        "make it a {style}",
        "turn it into a {style}",
        "change the style to {style}",
        "redraw it as a {style}",
    ),
}
EDIT_KINDS = tuple(INSTRUCTIONS)


def instruct(kind: str, rng: random.Random, **facts: str) -> str:
    """One wording of an instruction; `facts` are the values it may mention."""
    if "new" in facts:
        facts["a_new"] = a(facts["new"])
    return rng.choice(INSTRUCTIONS[kind]).format(**facts)


def carrying(text: str, facts: list[str]) -> tuple[str, ...]:
    """The words of `text` that occur in `facts`, in the order of the text, each once."""
    wanted = {word for fact in facts for word in fact.split()} - {
        "of",
        "with",
        "a",
        "the",
        "on",
        "in",
    }
    found = [word.strip(",.'") for word in text.split()]
    return tuple(dict.fromkeys(word for word in found if word in wanted))
