"""From instruction and source caption to the target caption, by rules.

The report's "refined prompts" were written by hand. Where the metadata has none, these rules write
the plain cases; what they cannot say with certainty they refuse, and a person must.
"""

import re
from collections.abc import Callable

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
    r"pixel art|comic|illustration|etching|woodcut|fresco|embroidery"
)
_STOP = rf"a|an|the|and|with|of|holding|wearing|{_PLACES}"
_END = rf"(?=$|,|\.| (?:{_STOP}|that|who|\w+ing)\b)"  # behind the last word of a noun phrase
_A = r"(?:an? |the )?"


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def _found(caption: str, noun: str) -> re.Match | None:
    """The one noun phrase that ends in `noun`, with article and adjectives; None if not just one.

    Groups: `det` (article), `before` (words between the article and the noun), `noun`.
    """
    phrase = (
        rf"\b(?:(?P<det>an?|the) (?P<before>(?:(?!(?:{_STOP})\b)[\w'-]+ )*?))?"
        rf"(?P<noun>\b{re.escape(noun)}){_END}"
    )
    matches = list(re.finditer(phrase, caption, re.IGNORECASE))
    return matches[0] if len(matches) == 1 else None


def _part(caption: str, words: str, state: str) -> str | None:
    """ "donut topping", "mint topping" -> chocolate, if the caption has "with mint topping"."""
    *others, part = words.split()
    state = state.removesuffix(f" {part}")
    phrase = rf"\bwith (?P<was>(?:(?!(?:{_STOP})\b)[\w'-]+ )+)(?P<part>{re.escape(part)}){_END}"
    matches = []
    for match in re.finditer(phrase, caption, re.IGNORECASE):
        owner = caption[: match.start()].rstrip()
        named = " ".join(others)
        if not others or match["was"].strip() == named or owner.endswith(f" {named}"):
            matches.append(match)
    if len(matches) != 1:
        return None
    (match,) = matches
    return f"{caption[: match.start('was')]}{state} {caption[match.start('part') :]}"


def _state(caption: str, noun: str, state: str) -> str | None:
    """The noun with another adjective; a colour replaces a colour, an expression an expression."""
    noun = noun.split()
    while len(noun) > 1 and {noun[0]} & (COLOURS | EXPRESSIONS):
        noun = noun[1:]
    match = _found(caption, " ".join(noun))
    if match is None:
        return None
    rival = next((kind for kind in (COLOURS, EXPRESSIONS) if state in kind), frozenset())
    kept = [word for word in (match["before"] or "").split() if word.lower() not in rival]
    phrase = " ".join([state, *kept, match["noun"]])
    if match["det"]:
        phrase = f"the {phrase}" if match["det"].lower() == "the" else a(phrase)
    return caption[: match.start()] + phrase + caption[match.end() :]


def _swap(caption: str, old: str, new: str) -> str | None:
    match = _found(caption, old)
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
    place = re.search(rf" (?:{_PLACES}) (?:(?!(?:and|{_PLACES})\b)[\w'-]+ ?)+$", rest)
    things = rest[: place.start()] if place else rest
    return (
        re.split(r",? and (?=an? |the )|, (?=an? |the )", things),
        place[0] if place else "",
        style[0] if style else "",
    )


def _joined(things: list[str], place: str, style: str) -> str:
    *some, last = things
    return (f"{', '.join(some)} and {last}" if some else last) + place + style


def _change(caption: str, said: re.Match) -> str | None:
    """ "change X to Y": another state if Y has no article and names one, else another thing."""
    old, new = said["old"], said["new"]
    if said["article"]:
        return _swap(caption, old, new)
    changed = _part(caption, old, new)
    if changed:
        return changed
    if new.lower() in COLOURS | EXPRESSIONS:
        return _state(caption, old, new)
    return _swap(caption, old, new)


def _make(caption: str, said: re.Match) -> str | None:
    return _part(caption, said["noun"], said["state"]) or _state(
        caption, said["noun"], said["state"]
    )


def _make_part(caption: str, said: re.Match) -> str | None:
    return _part(caption, f"{said['noun']} {said['part']}", said["state"])


def _add(caption: str, said: re.Match) -> str | None:
    things, place, style = _split(caption)
    if re.search(rf"\b(?:{_PLACES}|to)\b", said["new"]):
        return None  # where it goes among the things is for a person to say
    return _joined([*things, a(said["new"])], place, style)


def _add_to(caption: str, said: re.Match) -> str | None:
    match = _found(caption, said["noun"])
    if match is None:
        return None
    return f"{caption[: match.end()]} with {a(said['new'])}{caption[match.end() :]}"


def _remove(caption: str, said: re.Match) -> str | None:
    things, place, style = _split(caption)
    words = rf"(?:(?!(?:{_STOP})\b)[\w'-]+ )*?"
    own = re.compile(rf"^(?:an? |the ){words}{re.escape(said['old'])}(?= with | holding |$)")
    held = re.compile(rf" holding an? (?:[\w'-]+ )*?{re.escape(said['old'])}(?: with .*)?$")
    kept = [thing for thing in things if not own.match(thing)]
    if len(kept) == len(things):
        kept = [held.sub("", thing) for thing in things]
        return _joined(kept, place, style) if kept != things else None
    return _joined(kept, place, style) if len(kept) == len(things) - 1 and kept else None


def _place(caption: str, said: re.Match) -> str | None:
    things, _, style = _split(caption)
    return _joined(things, f" {said['place']}", style)


def _background(caption: str, said: re.Match) -> str | None:
    new = said["new"]
    prepositions = {
        "on": r"beach|grass|table|trampoline|street|road|lawn|meadow|moon",
        "in front of": r"wall|fence|curtain",
        "under": r"sky",
    }
    found = (word for word, nouns in prepositions.items() if re.search(rf"(?:{nouns})$", new))
    things, _, style = _split(caption)
    return _joined(things, f" {next(found, 'in')} {new}", style)


def _style(caption: str, said: re.Match) -> str | None:
    things, place, _ = _split(caption)
    return _joined(things, place, f", as {a(said['style'])}")


_NEW = r"(?P<article>an? |the )?(?P<new>.+)"
_INTO_PICTURE = r"(?: (?:to|in|into) the (?:picture|image|scene|photo|background))?"
Rule = Callable[[str, re.Match], str | None]
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
    (rf"(?:change|turn) {_A}(?P<old>.+?) (?:into|to) {_NEW}", _change),
    (rf"(?:replace|swap) {_A}(?P<old>.+?) (?:with|for|by) {_NEW}", _change),
    (rf"(?:make|paint|turn) {_A}(?P<noun>.+?) (?:look )?(?P<state>[\w-]+)", _make),
    (rf"(?:add|place|put) {_A}(?P<new>.+?){_INTO_PICTURE}", _add),
    (rf"(?:add|give) {_A}(?P<new>.+?) to {_A}(?P<noun>.+)", _add_to),
    (rf"(?:remove|delete|erase|take away) {_A}(?P<old>.+)", _remove),
)


def refine(instruction: str, source_caption: str) -> str:
    """The caption after the edit.

    >>> refine("change peach into strawberry", "an axolotl holding a peach")
    'an axolotl holding a strawberry'

    Raises `ValueError` if no rule fits, or if it is not certain which of several things is meant;
    write the target caption by hand then.
    """
    said = re.sub(r"\s+", " ", instruction).strip().rstrip(".!")
    caption = re.sub(r"\s+", " ", source_caption).strip().rstrip(".")
    for pattern, rule in RULES:
        match = re.fullmatch(pattern, said, re.IGNORECASE)
        target = match and caption and rule(caption, match)
        if target and target != caption:
            return target
    raise ValueError(
        f"no rule makes a caption of {instruction!r} and {source_caption!r}; "
        "write target_caption in the metadata yourself"
    )
