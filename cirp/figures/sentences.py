"""Sentences whose numbers and verbs come from a table, so that prose and table cannot disagree."""

import pandas as pd
from IPython.display import Markdown

NO_BREAK = "\u00a0"  # an interval does not break over lines


def spanned(value: float, low: float, high: float, *, digits: int = 3, signed: bool = False) -> str:
    """ "0.115 [0.046, 0.158]", in one piece."""
    sign = "+" if signed else ""
    text = f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return text.replace(" ", NO_BREAK).replace("-", "\u2212")


def estimate_in(row: pd.Series, name: str) -> tuple[float, float, float]:
    """The columns "name", "name, low" and "name, high" of a row, as `spanned` takes them."""
    return row[name], row[f"{name}, low"], row[f"{name}, high"]


def by_interval(low: float, high: float, *, above: str, below: str, open: str) -> str:
    """The words for a difference: `above` zero, `below` it, or `open`, as its interval says."""
    return above if low > 0 else below if high < 0 else open


def verdict(low: float, high: float, wanted: float, *, at_most: bool = False) -> str:
    """ "met" or "missed" only where the whole interval says so, else "open"."""
    if at_most:
        low, high, wanted = -high, -low, -wanted
    return "met" if low >= wanted else "missed" if high < wanted else "open"


def judged(
    span: tuple[float, float, float], wanted: float, *, at_most: bool = False, **how
) -> dict[str, str]:
    """Cells of a table: what was wanted, what was reached (`spanned` with `how`), the verdict."""
    return {
        "wanted": f"{'at most' if at_most else 'at least'} {wanted:g}",
        "reached": spanned(*span, **how),
        "verdict": verdict(*span[1:], wanted, at_most=at_most),
    }


class Numbers:
    """The numbers of a paragraph, kept as they are said, for a table that stands beside it."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def __call__(self, what: str, value: float, low: float, high: float, **how) -> str:
        """`spanned`, remembered under what it is of."""
        return self.plain(what, spanned(value, low, high, **how))

    def plain(self, what: str, text: str) -> str:
        """A number without an interval.

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
