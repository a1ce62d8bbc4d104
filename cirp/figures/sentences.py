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


def say(*sentences: str) -> Markdown:
    """One paragraph of the page."""
    return Markdown(" ".join(sentence.strip() for sentence in sentences if sentence))
