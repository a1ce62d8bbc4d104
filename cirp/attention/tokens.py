"""From the words of a prompt to the positions of their tokens, and back.

Positions count from 0 at the begin-of-text token, in the sequence the text tower reads, so they
index the last axis of an attention map directly. A word is found in the text, not among the tokens:
`hat` is not the tail of `sunhat`, however the tokenizer cuts it, and a phrase is a word too.
"""

import re
import unicodedata
from textwrap import shorten
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

_WORD = re.compile(r"\w+(?:['’-]\w+)*")

# English words that carry grammar and no content: a closed list. Lists of stop words made for
# topic models also drop what an edit is about (fire, full, thick, two).
FUNCTION_WORDS = frozenset(
    # articles, determiners, quantifiers without a number
    "a an the this that these those some any each every either neither such same other another"
    " all both own much many more most less least few several enough"
    # pronouns
    " i me my mine myself you your yours yourself yourselves he him his himself she her hers"
    " herself it its itself we us our ours ourselves they them their theirs themselves who whom"
    " whose which what where when why how something anything everything nothing someone anyone"
    " everyone somebody anybody everybody"
    # prepositions and particles
    " about above across after against along among amongst around as at before behind below"
    " beneath beside besides between beyond by down during except for from in inside into like near"
    " next of off on onto out outside over per through throughout to toward towards under until up"
    " upon via with within without"
    # conjunctions
    " and but or nor so yet if than because since though although unless while whereas whether then"
    # auxiliaries
    " am is are was were be been being do did done doing have has had having can could may"
    " might must shall should will would"
    # adverbs of degree and manner of asking
    " not no very too also just only quite rather really even still again there here please now"
    " well".split()
)
# Words that help a verb of an instruction: "take it away", "let it look old".
_HELPING = frozenset("away become does instead let look looking looks".split())
# What an instruction or one of its clauses begins with: that something changes, not what.
EDITING_VERBS = frozenset(
    "add adjust alter apply change color colour convert create delete draw dye edit erase exchange"
    " generate get give hide include insert keep let make modify move paint place put redraw remove"
    " render replace restyle set show swap switch take transform turn use want".split()
)
_CLAUSE_ENDS = re.compile(r"[.,;:!?]|\b(?:and|then|but)\b", re.IGNORECASE)


class Word(NamedTuple):
    """One word of a prompt, as written there, and the positions of its tokens."""

    text: str
    positions: list[int]


def check_length(tokenizer: PreTrainedTokenizerBase, prompt: str) -> int:
    """Return the number of tokens of `prompt`, begin and end of text included.

    Raises `ValueError` if the text tower cannot take them all: diffusers would cut the rest off
    and only log it.
    """
    limit, count = tokenizer.model_max_length, len(tokenizer(prompt, verbose=False).input_ids)
    if count > limit:
        raise ValueError(
            f"the prompt has {count} tokens, begin and end of text included, but the text encoder"
            f" takes {limit}; shorten it by {count - limit} or more: {shorten(prompt, 60)!r}"
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
    """Return the positions of the tokens of a word or phrase of `prompt`, whatever its case.

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


SPECIAL = ("begin", "end", "padding")  # tokens that are no words, by name


def token_positions(
    tokenizer: PreTrainedTokenizerBase, prompt: str, word: str, *, occurrence: int | None = None
) -> list[int]:
    """As `word_positions`, but "begin", "end" and "padding" name the tokens that are no words.

    A prompt that has such a word means the word.

    Raises `ValueError` as `word_positions` does, and for the padding of a prompt without any.
    """
    prompt = _normal(prompt)
    if word not in SPECIAL or _whole(word).search(prompt):
        return word_positions(tokenizer, prompt, word, occurrence=occurrence)
    end = check_length(tokenizer, prompt) - 1
    padding = list(range(end + 1, tokenizer.model_max_length))
    if word == "padding" and not padding:
        raise ValueError(f"{prompt!r} fills the text encoder, so there is no padding")
    return {"begin": [0], "end": [end], "padding": padding}[word]


def content_positions(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the positions of the content words. Raises `ValueError` for too long a prompt."""
    return sorted({p for word in _content(tokenizer, prompt) for p in word.positions})


def content_words(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[str]:
    """Return the words that carry meaning, each once, in order.

    Left out are function words and an editing verb that begins a clause: "set" in "set the house
    on fire", not in "add a chess set". Returns all words if nothing else is left.

    Raises `ValueError` if the prompt is over the limit.
    """
    return list(dict.fromkeys(word.text for word in _content(tokenizer, prompt)))


def _content(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list["Word"]:
    found, verbs = words(tokenizer, prompt), _clause_verbs(_normal(prompt))
    kept = [
        word
        for n, word in enumerate(found)
        if n not in verbs and word.text.lower() not in FUNCTION_WORDS | _HELPING
    ]
    return kept or found


def _clause_verbs(prompt: str) -> set[int]:
    """Which words (counted from 0) are an editing verb at the beginning of a clause."""
    found, begin, last = set(), True, 0
    for n, match in enumerate(_WORD.finditer(prompt)):
        word = match[0].lower()
        begin = begin or bool(_CLAUSE_ENDS.search(prompt[last : match.start()]))
        last = match.start()
        if begin and word in EDITING_VERBS:
            found.add(n)
        begin = begin and word in FUNCTION_WORDS  # "please make", "and then turn"
    return found


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)  # as the tokenizer does, which then reports offsets


def _whole(phrase: str) -> re.Pattern:
    """Return the phrase with any white space between its parts and no letter or digit beside it."""
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
