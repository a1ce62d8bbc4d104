"""From instruction and source caption to the target caption, by rules.

The report's "refined prompts" were written by hand. Where the metadata has none, these rules write
the plain cases; what they cannot, they refuse, and a person must.
"""

import re

_ARTICLE = r"(?:an? |the )?"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _replace(caption: str, old: str, new: str) -> str | None:
    """`caption` with the noun phrase `old`, article and all, replaced by `new`."""
    found = re.search(rf"\b(?:(an?|the) )?{re.escape(old)}\b", caption)
    if not found:
        return None
    return caption[: found.start()] + _article(new) + caption[found.end() :]


def _state(caption: str, noun: str, state: str) -> str | None:
    return _replace(caption, noun, f"{state} {noun}")


def _swap(caption: str, said: re.Match) -> str | None:
    return _replace(caption, said["old"], said["new"])


def _make(caption: str, said: re.Match) -> str | None:
    return _state(caption, said["noun"], said["state"])


def _add(caption: str, said: re.Match) -> str | None:
    place = re.search(r" (?:on|in|under|at) ", caption)
    cut = place.start() if place else len(caption)
    return f"{caption[:cut]} and {_article(said['new'])}{caption[cut:]}"


def _remove(caption: str, said: re.Match) -> str | None:
    noun = re.escape(said["old"])
    for pattern in (rf"(?: and|,) an? {noun}\b", rf"\ban? {noun}(?: and|,) "):
        shorter, count = re.subn(pattern, "", caption, count=1)
        if count:
            return shorter
    return None


def _place(caption: str, said: re.Match) -> str | None:
    cut = re.search(r" (?:on|in|under|at) (?:an? |the )[a-z ]+$", caption)
    return f"{caption[: cut.start()] if cut else caption} {said['place']}"


RULES = (
    (rf"(?:change|turn) {_ARTICLE}(?P<old>.+?) (?:in)?to {_ARTICLE}(?P<new>.+)", _swap),
    (rf"(?:replace|swap) {_ARTICLE}(?P<old>.+?) (?:with|for) {_ARTICLE}(?P<new>.+)", _swap),
    (r"(?:put|move|make) it (?P<place>(?:on|in|under|at) .+)", _place),
    (rf"(?:make|paint|turn) {_ARTICLE}(?P<noun>.+?) (?:look )?(?P<state>[a-z]+)", _make),
    (rf"(?:add|place) {_ARTICLE}(?P<new>.+)", _add),
    (rf"(?:remove|delete|erase|take away) {_ARTICLE}(?P<old>.+)", _remove),
)


def refine(instruction: str, source_caption: str) -> str:
    """The caption after the edit.

    >>> refine("change peach into strawberry", "an axolotl holding a peach")
    'an axolotl holding a strawberry'

    Raises `ValueError` if no rule fits; write the target caption by hand then.
    """
    said = instruction.strip().rstrip(".").lower()
    for pattern, rule in RULES:
        match = re.fullmatch(pattern, said)
        target = match and rule(source_caption.strip(), match)
        if target:
            return target
    raise ValueError(
        f"no rule makes a caption of {instruction!r} and {source_caption!r}; "
        "write target_caption in the metadata yourself"
    )
