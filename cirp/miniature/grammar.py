"""Words from scenes: captions, and which words of a sentence carry an edit.

Text and picture come from the same values, so they cannot disagree.
"""

from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.scene import Scene, Thing
from cirp.miniature.styles import STYLES


def a(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def phrase(thing: Thing) -> str:
    """Return what it is and how it is, without article: "donut with mint topping"."""
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


EDIT_KINDS = (
    "swap object", "change part", "change colour", "change expression", "change setting", "add",
    "remove", "restyle",
)  # fmt: skip
WHOLE_PICTURE = ("change setting", "restyle")  # everything may change: never averaged with the rest


def carrying(text: str, facts: list[str]) -> tuple[str, ...]:
    """Return the words of `text` that occur in `facts`, in the order of the text, each once."""
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
