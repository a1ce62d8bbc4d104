"""A run of the explorer as the fragment of a link, as `static/page.html` writes and reads it."""

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, quote


def to_link(asked: Mapping[str, object]) -> str:
    """Return the fragment that asks for a run: "run=%7B..."."""
    return f"run={quote(json.dumps(asked))}"


def of_link(fragment: str) -> dict:
    """Return what a link's fragment ("run=%7B...") asks for; nothing of the run before it.

    Raises `ValueError` in one line for what is no such fragment.
    """
    if not fragment:
        return {}
    try:
        (text,) = parse_qs(fragment.removeprefix("#"), strict_parsing=True)["run"]
        asked = json.loads(text)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"request={fragment[:40]!r}; give what follows # in a link of the explorer, run=..."
        ) from error
    if not isinstance(asked, dict):
        raise ValueError(f"request={fragment[:40]!r} asks for {type(asked).__name__}, not a run")
    return {name: value for name, value in asked.items() if name != "freeze"}
