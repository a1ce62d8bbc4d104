"""A run of the explorer as the fragment of a link, as `static/page.html` writes and reads it."""

import json
from collections.abc import Mapping
from itertools import groupby
from urllib.parse import parse_qs, quote

MOST_CELLS = 1_000_000


def to_link(asked: Mapping[str, object]) -> str:
    """Return the fragment that asks for a run: "run=%7B..."; a region is written in runs."""
    region = asked.get("region")
    if region:
        lengths = [len(list(run)) for _, run in groupby(region)]
        lengths = lengths if region[0] == "0" else [0, *lengths]
        asked = {**asked, "region": ".".join(map(str, lengths if lengths[1:] else [*lengths, 0]))}
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
    region = asked.get("region")
    if isinstance(region, str) and "." in region:
        asked["region"] = _cells(region)
    return {name: value for name, value in asked.items() if name != "freeze"}


def _cells(runs: str) -> str:
    """Return a region of 0 and 1 from the lengths of its runs, the first of zeros: "100.8.56"."""
    lengths = runs.split(".")
    if not all(one.isdecimal() for one in lengths) or sum(map(int, lengths)) > MOST_CELLS:
        raise ValueError(f"region={runs[:40]!r}; give the lengths of runs, such as 100.8.56")
    return "".join(str(i % 2) * int(length) for i, length in enumerate(lengths))
