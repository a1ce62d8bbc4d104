"""Sentences whose numbers and verbs come from a table, so that prose and table cannot disagree."""

import math
from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown

from cirp.statistics.bootstrap import Interval


def verdict(low: float, high: float, wanted: float, *, at_most: bool = False) -> str:
    """ "met" or "missed" only where the whole interval says so, else "open"."""
    if at_most:
        low, high, wanted = -high, -low, -wanted
    return "met" if low >= wanted else "missed" if high < wanted else "open"


def judged(
    found: Interval, wanted: float, spec: str = ".3f", *, at_most: bool = False
) -> dict[str, str]:
    """Return cells of a table: what was wanted, what was reached, and the verdict."""
    return {
        "wanted": f"{'at most' if at_most else 'at least'} {wanted:g}",
        "reached": f"{found:{spec}}",
        "verdict": verdict(found.low, found.high, wanted, at_most=at_most),
    }


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does; a name that holds a comma stands in quotes."""
    names = [f"“{name}”" if "," in name else name for name in names]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def mean_alone(found: Interval, spec: str = ".3f") -> str:
    """Return the mean without its interval, which a table beside the sentence has."""
    return f"{found._replace(low=math.nan, high=math.nan):{spec}}"


class Numbers:
    """The numbers of a paragraph, kept as they are said, for a table that stands beside it."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def __call__(self, what: str, found: Interval, spec: str = ".3f") -> str:
        """Return the mean as text; the table has its interval, under what it is of."""
        self.plain(what, f"{found:{spec}}")
        return mean_alone(found, spec)

    def plain(self, what: str, text: str) -> str:
        """Return a number without an interval.

        Raises `ValueError` if another number was said of the same.
        """
        if self.said.setdefault(what, text) != text:
            raise ValueError(f"{what!r} is both {self.said[what]} and {text}; name them apart")
        return text

    @property
    def table(self) -> pd.DataFrame | None:
        """One row a number; None if none was said."""
        if not self.said:
            return None
        index = pd.Index(list(self.said), name="")
        return pd.DataFrame({"value [95 %]": list(self.said.values())}, index=index)


class Paragraph(Markdown):
    """A paragraph of the page, and the table of its numbers: None where it has none."""

    numbers: pd.DataFrame | None = None


def say(*sentences: str, numbers: pd.DataFrame | None = None) -> Paragraph:
    """One paragraph of the page; `numbers` is the table of those that it says."""
    made = Paragraph(" ".join(sentence.strip() for sentence in sentences if sentence))
    made.numbers = numbers
    return made


def numbered(sentences: Sequence[str], *, numbers: pd.DataFrame | None = None) -> Paragraph:
    """Return a numbered list of sentences; `numbers` is the table of what they say."""
    made = Paragraph("\n".join(f"{n}. {one}" for n, one in enumerate(sentences, start=1)))
    made.numbers = numbers
    return made
