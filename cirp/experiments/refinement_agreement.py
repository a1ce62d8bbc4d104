"""How often a refinement says what the world knows: captions and words of scenes with truth."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.pairs import Pair
from cirp.refinement.backends import Backend, Grammar
from cirp.refinement.batch import Ask, refine_all
from cirp.statistics.bootstrap import mean_interval

SCENES = 200


def truths(count: int = SCENES) -> list[Pair]:
    """Validation edits, equally many of each kind."""
    kinds = EDIT_KINDS
    return [draw_pair(i, "validation", kind=kinds[i % len(kinds)]) for i in range(count)]


def words_f1(found: Sequence[str], true: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of two sets of words; 1 if both are empty."""
    a, b = (
        {word.casefold() for phrase in some for word in phrase.split()} for some in (found, true)
    )
    if not a and not b:
        return 1.0
    return 2 * len(a & b) / (len(a) + len(b))


def agreement(backend: Backend | Grammar, *, cache: Path, count: int = SCENES) -> pd.DataFrame:
    """One row an edit: answered, exact caption, F1 of the words of instruction and target."""
    pairs = truths(count)
    asks = [Ask(str(i), p.instruction, p.source_caption) for i, p in enumerate(pairs)]
    rows = []
    for p, result in zip(
        pairs, refine_all(asks, backend, cache=cache, progress=False), strict=True
    ):
        answer = result.answer
        rows.append(
            {
                "kind": p.kind,
                "answered": float(answer is not None),
                "exact": float(answer is not None and answer.target_caption == p.target_caption),
                "words_f1": words_f1(answer.words, p.words) if answer else 0.0,
                "target_words_f1": words_f1(answer.target_words, p.target_words) if answer else 0.0,
            }
        )
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Each measure's mean with its interval."""
    columns = ("answered", "exact", "words_f1", "target_words_f1")
    found = {name: mean_interval(table[name].to_numpy(), metric=name) for name in columns}
    return pd.DataFrame(
        [{"measure": k, "mean": v.mean, "low": v.low, "high": v.high} for k, v in found.items()]
    )
