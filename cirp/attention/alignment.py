"""Which tokens of one prompt are those of another (Prompt-to-Prompt, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTokenizer

from cirp.attention.tokens import Word, content_positions, words


@dataclass(frozen=True)
class Prompt:
    """A caption as the text tower reads it."""

    text: str
    ids: list[int]  # begin and end of text included, padding left out
    words: list[Word]


def read(tokenizer: CLIPTokenizer, text: str) -> Prompt:
    """Raise `ValueError` if the caption is over the tokenizer's limit."""
    return Prompt(text, tokenizer(text).input_ids, words(tokenizer, text))


def matched(source: Sequence, target: Sequence) -> list[int | None]:
    """For each item of `target` the position in `source` of the same item, in order; or None."""
    found: list[int | None] = [None] * len(target)
    blocks = SequenceMatcher(None, source, target, autojunk=False).get_matching_blocks()
    for first, second, size in blocks:
        found[second : second + size] = range(first, first + size)
    return found


def alignment(
    source: Prompt, target: Prompt, length: int
) -> Float[Tensor, "source_token target_token"]:
    """How much of the attention to each source token a target token is given.

    Captions of equally many words are aligned word by word, as the paper's replacement; a word of
    other length shares what its counterpart has. Others are aligned where their tokens agree, as
    the paper's refinement, and new tokens' columns are 0. So is padding that only one of them has.
    """
    mapper = torch.zeros(length, length)
    replaces = len(source.words) == len(target.words)
    worded = {p for word in target.words for p in word.positions} if replaces else set()
    for new, old in enumerate(matched(source.ids, target.ids)):
        if old is not None and new not in worded:
            mapper[old, new] = 1
    if replaces:
        for before, after in zip(source.words, target.words, strict=True):
            old, new = torch.tensor(before.positions), torch.tensor(after.positions)
            same = len(old) == len(new)
            shares = torch.eye(len(old)) if same else torch.full((len(old), len(new)), 1 / len(new))
            mapper[old[:, None], new] = shares
    padding = torch.arange(max(len(source.ids), len(target.ids)), length)
    mapper[padding, padding] = 1
    return mapper


def changed(
    tokenizer: CLIPTokenizer, source: Prompt, target: Prompt
) -> tuple[list[int], list[int]]:
    """Return the tokens of the words that only one of two captions has: source, then target.

    Function words count only if nothing else differs.
    """
    old, new = source.words, target.words
    pairs = matched([word.text.lower() for word in old], [word.text.lower() for word in new])
    gone = [p for i, word in enumerate(old) if i not in pairs for p in word.positions]
    come = [p for i, word in zip(pairs, new, strict=True) if i is None for p in word.positions]
    content = (
        [p for p in gone if p in content_positions(tokenizer, source.text)],
        [p for p in come if p in content_positions(tokenizer, target.text)],
    )
    return content if any(content) else (gone, come)
