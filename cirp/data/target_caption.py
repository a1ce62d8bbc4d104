"""From instruction and source caption to the target caption, by rules.

The report's "refined prompts" were written by hand. Where the metadata has none, these rules write
the plain cases; what they cannot say with certainty they refuse, and a person must.
"""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
COLOURS = frozenset(
    "red orange yellow green blue purple violet pink brown black white grey gray golden gold "
    "silver turquoise beige".split()
)
EXPRESSIONS = frozenset(
    "happy sad angry smiling laughing crying surprised scared sleepy calm bored".split()
)
_PLACES = r"in front of|on top of|next to|on|in|under|at|by|inside|near"
_STYLES = (
    r"photo(?:graph)?|painting|watercolou?r|sketch|drawing|cartoon|print|mosaic|poster|engraving|"
    r"pixel art|comic|illustration|etching|woodcut|fresco|embroidery|neon sign"
)
_UNCOUNTED = ("art", "embroidery")  # styles without an article
_STOP = rf"a|an|the|and|with|of|holding|wearing|{_PLACES}"
_END = rf"(?=$|,|\.| (?:{_STOP}|that|who|\w+ing)\b)"  # behind the last word of a noun phrase
_A = r"(?:an? |the )?"


def a(noun: str) -> str:
    """Return the noun with its indefinite article."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def _picked(matches: Sequence[T], side: str) -> T | None:
    """The one that is meant: the only one, or the one on that side (captions go left to right)."""
    if len(matches) == 1:
        return matches[0]
    if not matches or not side or (side == "middle" and len(matches) % 2 == 0):
        return None
    return matches[{"left": 0, "right": -1, "middle": len(matches) // 2}[side]]


def _found(caption: str, noun: str, side: str = "") -> re.Match | None:
    """The noun phrase that ends in `noun`, with article and adjectives; None if not just one.

    Groups: `det` (article), `before` (words between the article and the noun), `noun`.
    """
    phrase = (
        rf"\b(?:(?P<det>an?|the) (?P<before>(?:(?!(?:{_STOP})\b)[\w'-]+ )*?))?"
        rf"(?P<noun>\b{re.escape(noun)}){_END}"
    )
    return _picked(list(re.finditer(phrase, caption, re.IGNORECASE)), side)


def _part(caption: str, words: str, state: str, side: str = "") -> str | None:
    """ "donut topping", "mint topping" -> chocolate, if the caption has "with mint topping"."""
    *others, part = words.split()
    state = state.removesuffix(f" {part}")
    phrase = (
        rf"\bwith (?:an? )?(?P<was>(?:(?!(?:{_STOP})\b)[\w'-]+ )+)(?P<part>{re.escape(part)}){_END}"
    )
    matches = []
    for match in re.finditer(phrase, caption, re.IGNORECASE):
        owner = caption[: match.start()].rstrip()
        named = " ".join(others)
        if not others or match["was"].strip() == named or owner.endswith(f" {named}"):
            matches.append(match)
    match = _picked(matches, side)
    if match is None:
        return None
    return f"{caption[: match.start('was')]}{state} {caption[match.start('part') :]}"


def _adjective(caption: str, noun: str, state: str, side: str = "") -> str | None:
    """Return the noun with another adjective in place of its only one."""
    match = _found(caption, noun, side)
    if match is None or not match["det"] or len((match["before"] or "").split()) != 1:
        return None
    phrase = f"{state} {match['noun']}"
    phrase = f"the {phrase}" if match["det"].lower() == "the" else a(phrase)
    return caption[: match.start()] + phrase + caption[match.end() :]


def _state(caption: str, noun: str, state: str, side: str = "") -> str | None:
    """The noun with another adjective; a colour replaces a colour, an expression an expression."""
    noun = noun.split()
    while len(noun) > 1 and {noun[0]} & (COLOURS | EXPRESSIONS):
        noun = noun[1:]
    match = _found(caption, " ".join(noun), side)
    if match is None:
        return None
    rival = next((kind for kind in (COLOURS, EXPRESSIONS) if state in kind), frozenset())
    kept = [word for word in (match["before"] or "").split() if word.lower() not in rival]
    phrase = " ".join([state, *kept, match["noun"]])
    if match["det"]:
        phrase = f"the {phrase}" if match["det"].lower() == "the" else a(phrase)
    return caption[: match.start()] + phrase + caption[match.end() :]


def _swap(caption: str, old: str, new: str, side: str = "") -> str | None:
    match = _found(caption, old, side)
    if match is None:
        return None
    rest = caption[match.end() :]
    # "with mint topping" goes, too
    own = re.match(rf" with (?!an? |the )[\w' -]+?(?=$|,|\.| (?:{_STOP})\b)", rest)
    article = match["det"] and new.split()[0] not in ("some", "two", "three", "many")
    new = a(new) if article else new
    return caption[: match.start()] + new + rest[own.end() if own else 0 :]


def _split(caption: str) -> tuple[list[str], str, str]:
    """The things, the place, the style: "a dog and a cat", " on the grass", ", as a sketch"."""
    style = re.search(r", as an? [^,]+$", caption)
    rest = caption[: style.start()] if style else caption
    # each word ends at a blank or at the end, so there is one way to read it: linear time
    word = rf"(?!(?:and|{_PLACES})\b)[\w'-]+"
    place = re.search(rf" (?:{_PLACES}) (?:{word} )*{word}$", rest)
    things = rest[: place.start()] if place else rest
    return (
        re.split(r",? and (?=an? |the )|, (?=an? |the )", things),
        place[0] if place else "",
        style[0] if style else "",
    )


def _joined(things: list[str], place: str, style: str) -> str:
    *some, last = things
    return (f"{', '.join(some)} and {last}" if some else last) + place + style


def _change(caption: str, said: re.Match, side: str) -> str | None:
    """ "change X to Y": another state if Y has no article and names one, else another thing."""
    old, new = said["old"], said["new"]
    if said["article"]:
        return _swap(caption, old, new, side)
    changed = _part(caption, old, new, side)
    if changed:
        return changed
    if new.lower() in COLOURS | EXPRESSIONS:
        return _state(caption, old, new, side)
    return _swap(caption, old, new, side)


def _make(caption: str, said: re.Match, side: str) -> str | None:
    noun, state = said["noun"], said["state"]
    return _part(caption, noun, state, side) or _state(caption, noun, state, side)


def _make_part(caption: str, said: re.Match, side: str) -> str | None:
    """ "the topping of the donut": what it is made with, or an adjective of it."""
    noun, part, state = said["noun"], said["part"], said["state"]
    if part == "expression":
        return _state(caption, noun, state, side)
    return _part(caption, f"{noun} {part}", state, side) or _adjective(caption, noun, state, side)


def _add(caption: str, said: re.Match, side: str) -> str | None:
    things, place, style = _split(caption)
    if re.search(rf"\b(?:{_PLACES}|to)\b", said["new"]) or (side == "middle" and len(things) != 2):
        return None  # where it goes among the things is for a person to say
    at = {"left": 0, "middle": 1}.get(side, len(things))
    return _joined([*things[:at], a(said["new"]), *things[at:]], place, style)


def _add_to(caption: str, said: re.Match, side: str) -> str | None:
    match = _found(caption, said["noun"], side)
    if match is None:
        return None
    return f"{caption[: match.end()]} with {a(said['new'])}{caption[match.end() :]}"


def _remove(caption: str, said: re.Match, side: str) -> str | None:
    things, place, style = _split(caption)
    words = rf"(?:(?!(?:{_STOP})\b)[\w'-]+ )*?"
    own = re.compile(rf"^(?:an? |the ){words}{re.escape(said['old'])}(?= with | holding |$)")
    held = re.compile(rf" holding an? (?:[\w'-]+ )*?{re.escape(said['old'])}(?: with .*)?$")
    found = [place for place, thing in enumerate(things) if own.match(thing)]
    if not found:
        kept = [held.sub("", thing) for thing in things]
        return _joined(kept, place, style) if kept != things else None
    gone = _picked(found, side)
    kept = [thing for number, thing in enumerate(things) if number != gone]
    return _joined(kept, place, style) if gone is not None and kept else None


def _place(caption: str, said: re.Match, side: str) -> str | None:
    things, _, style = _split(caption)
    return _joined(things, f" {said['place']}", style)


def _background(caption: str, said: re.Match, side: str) -> str | None:
    new = said["new"]
    prepositions = {
        "on": r"beach|grass|table|trampoline|street|road|lawn|meadow|moon",
        "in front of": r"wall|fence|curtain",
        "under": r"sky",
    }
    found = (word for word, nouns in prepositions.items() if re.search(rf"(?:{nouns})$", new))
    things, _, style = _split(caption)
    return _joined(things, f" {next(found, 'in')} {new}", style)


def _style(caption: str, said: re.Match, side: str) -> str | None:
    things, place, _ = _split(caption)
    style = said["style"]
    return _joined(things, place, f", as {style if style.endswith(_UNCOUNTED) else a(style)}")


# Other ways to say the same, put into the words of the rules below.
REWRITTEN = (
    (r"(?:show|render|redraw) it as (.+)", r"make it \1"),
    (r"(?:make|turn|convert|change) the (?:picture|image) (?:in)?(?:to )?(.+)", r"make it \1"),
    (r"(?:put|move|make|set) (?:them|the scene|everything) (.+)", r"put it \1"),
    (r"use (.+) as the background", r"change the background to \1"),
    (r"(?:colou?r|dye) (.+)", r"paint \1"),
    (r"let (.+) look ([\w-]+)", r"make \1 look \2"),
    (r"show (.+) with an? ([\w-]+) face", r"make \1 look \2"),
    (r"instead of (.+) show (an? .+)", r"replace \1 with \2"),
    (r"put (an? .+) where (the .+) is", r"replace \2 with \1"),
    (r"exchange (.+) for (.+)", r"replace \1 with \2"),
    (r"make (the .+?) (an? .+)", r"replace \1 with \2"),
    (r"show it without (.+)", r"remove \1"),
    (r"(?:take|leave) (the .+) (?:out|away)", r"remove \1"),
    (r"make (the .+) disappear", r"remove \1"),
    (r"get rid of (.+)", r"remove \1"),
    (r"(?:insert|include|draw) (an? .+)", r"add \1"),
)
_UNPLAIN = re.compile(r"[^\w\s'’,.-]")  # brackets, semicolons ...: the rules know no such captions
_SIDE = re.compile(
    r" on the (?P<a>left|right)(?: side)?\b| in the (?P<b>middle)\b"
    r"|(?<=\bthe) (?P<c>left|right|middle)\b"
)
_NEW = r"(?P<article>an? |the )?(?P<new>.+)"
_INTO_PICTURE = r"(?: (?:to|in|into) the (?:picture|image|scene|photo|background))?"
Rule = Callable[[str, re.Match, str], str | None]
RULES: tuple[tuple[str, Rule], ...] = (
    (rf"(?:make|turn|redraw) it (?:into|as)? ?{_A}(?P<style>.*\b(?:{_STYLES}))", _style),
    (rf"(?:change|turn) (?:the )?style (?:in)?to {_A}(?P<style>.+)", _style),
    (rf"(?:put|move|make) it (?P<place>(?:{_PLACES}) .+)", _place),
    (r"(?:change|replace) the background (?:in|with|to|into) (?P<new>.+)", _background),
    (rf"change {_A}(?P<noun>.+?) from [\w-]+ to (?P<state>[\w-]+)", _make),
    (rf"(?:change|make) the colou?r of {_A}(?P<noun>.+?)(?: to)? (?P<state>[\w-]+)", _make),
    (
        rf"(?:change|make) the (?P<part>[\w-]+) of {_A}(?P<noun>.+?)(?: to)? (?P<state>[\w-]+)",
        _make_part,
    ),
    (rf"give {_A}(?P<noun>.+) (?P<state>[\w-]+) (?P<part>[\w-]+)", _make_part),
    (rf"(?:change|turn) {_A}(?P<old>.+?) (?:into|to) {_NEW}", _change),
    (rf"(?:replace|swap) {_A}(?P<old>.+?) (?:with|for|by) {_NEW}", _change),
    (rf"(?:make|paint|turn) {_A}(?P<noun>.+?) (?:look )?(?P<state>[\w-]+)", _make),
    (rf"(?:add|place|put) {_A}(?P<new>.+?){_INTO_PICTURE}", _add),
    (rf"(?:add|give) {_A}(?P<new>.+?) to {_A}(?P<noun>.+)", _add_to),
    (rf"(?:remove|delete|erase|take away) {_A}(?P<old>.+)", _remove),
)


def refine(instruction: str, source_caption: str) -> str:
    """Return the caption after the edit.

    >>> refine("change peach into strawberry", "an axolotl holding a peach")
    'an axolotl holding a strawberry'

    Raises `ValueError` if no rule fits, or if it is not certain which of several things is meant;
    write the target caption by hand then.
    """
    said = re.sub(r"\s+", " ", instruction).strip().rstrip(".!")
    caption = re.sub(r"\s+", " ", source_caption).strip().rstrip(".")
    unplain = _UNPLAIN.search(caption)
    where = _SIDE.search(said)
    side = next(filter(None, where.groups()), "").lower() if where else ""
    said = _SIDE.sub("", said)
    for pattern, words in REWRITTEN:
        if match := re.fullmatch(pattern, said, re.IGNORECASE):
            said = match.expand(words)
            break
    for pattern, rule in RULES:
        match = re.fullmatch(pattern, said, re.IGNORECASE)
        target = match and caption and not unplain and rule(caption, match, side)
        if target and target != caption:
            return target
    raise ValueError(
        f"no rule makes a caption of {instruction!r} and {source_caption!r}; "
        "write target_caption in the metadata yourself"
    )
