"""From the words of a prompt to the positions of their tokens, and back.

Positions count from 0 at the begin-of-text token, in the sequence the text tower reads, so they
index the last axis of an attention map directly. A word is found in the text, not among the tokens:
`hat` is not the tail of `sunhat`, however the tokenizer cuts it, and a phrase is a word too.
"""

import re
import unicodedata
from typing import NamedTuple

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from transformers import PreTrainedTokenizerBase

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


# What instructions begin with: they say that something changes, not what or where.
INSTRUCTING = frozenset(
    "add change convert draw edit exchange insert let make paint place remove render replace"
    " restyle set swap switch take turn".split()
)


class Word(NamedTuple):
    """One word of a prompt, as written there, and the positions of its tokens."""

    text: str
    positions: list[int]


def check_length(tokenizer: PreTrainedTokenizerBase, prompt: str) -> int:
    """The number of tokens of `prompt`, begin and end of text included.

    Raises `ValueError` if the text tower cannot take them all: diffusers would cut the rest off
    and only log it.
    """
    limit, count = tokenizer.model_max_length, len(tokenizer(prompt, verbose=False).input_ids)
    if count > limit:
        raise ValueError(
            f"the prompt has {count} tokens, begin and end of text included, but the text encoder"
            f" takes {limit}; shorten it by {count - limit} or more: {prompt!r}"
        )
    return count


def words(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[Word]:
    """Every word of `prompt` in order, repeated words repeatedly; punctuation is left out.

    Raises `ValueError` if the prompt is over the tokenizer's limit.
    """
    prompt = _normal(prompt)
    spans = _token_spans(tokenizer, prompt)
    return [Word(word[0], _inside(spans, *word.span())) for word in _WORD.finditer(prompt)]


def word_positions(
    tokenizer: PreTrainedTokenizerBase, prompt: str, word: str, *, occurrence: int | None = None
) -> list[int]:
    """The positions of the tokens of `word`, a word or phrase of `prompt`; case does not matter.

    A word of several tokens has several positions; the caller averages over them. If the word
    stands there more than once, `occurrence` picks one, from 0; by default all are taken together,
    as DAAM does (Tang et al. 2023).

    Raises `ValueError` if the prompt is over the tokenizer's limit, does not contain the word, or
    not so often.
    """
    prompt, word = _normal(prompt), _normal(word)
    spans = _token_spans(tokenizer, prompt)
    found = [_inside(spans, *match.span()) for match in _whole(word).finditer(prompt)]
    if not found or not word.strip():
        known = ", ".join(dict.fromkeys(match[0] for match in _WORD.finditer(prompt)))
        raise ValueError(f"{word!r} is not in {prompt!r}; its words are {known or 'none'}")
    if occurrence is None:
        return sorted({position for positions in found for position in positions})
    if not 0 <= occurrence < len(found):
        raise ValueError(
            f"occurrence {occurrence} of {word!r} is not in {prompt!r}; it stands there"
            f" {len(found)} times, so 0 to {len(found) - 1} can be chosen"
        )
    return found[occurrence]


def content_positions(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The tokens of the content words. Raises `ValueError` if the prompt is over the limit."""
    return sorted({p for word in _content(tokenizer, prompt) for p in word.positions})


def content_words(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[str]:
    """All words but English function words and the verbs instructions begin with, each once.

    All words, if nothing else is left. Raises `ValueError` if the prompt is over the limit.
    """
    return list(dict.fromkeys(word.text for word in _content(tokenizer, prompt)))


def _content(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list["Word"]:
    found = words(tokenizer, prompt)
    return [w for w in found if w.text.lower() not in ENGLISH_STOP_WORDS | INSTRUCTING] or found


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)  # as the tokenizer does, which then reports offsets


def _whole(phrase: str) -> re.Pattern:
    """The phrase with any white space between its parts and no letter or digit beside it."""
    phrase = phrase.strip()
    before = r"(?<!\w)" if re.match(r"\w", phrase) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", phrase) else ""
    parts = (re.escape(part) for part in phrase.split())
    return re.compile(before + r"\s+".join(parts) + after, re.IGNORECASE)


def _token_spans(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[tuple[int, int]]:
    """Which characters each token stands for, as (first, behind the last); (0, 0) for special ones.

    Raises `ValueError` if the prompt is over the tokenizer's limit.
    """
    check_length(tokenizer, prompt)
    encoding = tokenizer(prompt, return_offsets_mapping=True, return_special_tokens_mask=True)
    return [
        (0, 0) if special else tuple(span)
        for span, special in zip(
            encoding["offset_mapping"], encoding["special_tokens_mask"], strict=True
        )
    ]


def _inside(spans: list[tuple[int, int]], start: int, stop: int) -> list[int]:
    return [i for i, (first, behind) in enumerate(spans) if first < stop and behind > start]
