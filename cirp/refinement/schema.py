"""What a refinement is, and when an answer is one.

An answer is somebody's text: it is kept as text and shown escaped, it names no file and runs
nothing. What could hide in it, control and direction characters, is refused.
"""

import json
import re
import unicodedata

from pydantic import BaseModel, ConfigDict, Field, ValidationError

LONGEST = 400  # characters of a caption


class Answer(BaseModel):
    """The target caption, and the words of each sentence that carry the edit."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    target_caption: str = Field(min_length=1, max_length=LONGEST)
    words: tuple[str, ...] = Field((), max_length=12)  # of the instruction
    source_words: tuple[str, ...] = Field((), max_length=12)  # of the source caption
    target_words: tuple[str, ...] = Field((), max_length=12)  # of the target caption


class Unusable(ValueError):
    """An answer that is no refinement; the message says why, to a model as well as to a person."""


def occurs(word: str, sentence: str) -> bool:
    """Whether a word or phrase stands in the sentence, not merely inside another word."""
    phrase = r"\s+".join(map(re.escape, word.split()))
    return bool(phrase and re.search(rf"(?<!\w){phrase}(?!\w)", sentence, re.IGNORECASE))


def plain(text: str) -> bool:
    """Whether nothing in the text hides or turns other text: Unicode's control and format kinds."""
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs") for c in text)


def checked(text: str, *, instruction: str, source_caption: str) -> Answer:
    """Return the answer in a model's reply, which may stand in prose or a fence around its JSON.

    Raises `Unusable`.
    """
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        raise Unusable("there is no JSON object in the answer")
    try:
        answer = Answer.model_validate(json.loads(text[begin : end + 1], strict=True))
    except json.JSONDecodeError as error:
        raise Unusable(f"the JSON cannot be read: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise Unusable("the JSON is nested too deep") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the object"
        raise Unusable(f"{place}: {first['msg'].lower()}") from error
    return agreeing(answer, instruction=instruction, source_caption=source_caption)


def agreeing(answer: Answer, *, instruction: str, source_caption: str) -> Answer:
    """Return the answer, if it fits the sentences it is about. Raises `Unusable`."""
    if not plain(answer.target_caption):
        raise Unusable("target_caption has control or direction characters; write plain words")
    if not any(character.isalnum() for character in answer.target_caption):
        raise Unusable("target_caption has no word")
    if answer.target_caption.casefold() == source_caption.casefold():
        raise Unusable("target_caption is the source caption; it must show the edit")
    for name, sentence in (
        ("words", instruction),
        ("source_words", source_caption),
        ("target_words", answer.target_caption),
    ):
        for word in getattr(answer, name):
            there = occurs(word, sentence) and word.lower() in sentence.lower()
            if not plain(word) or not there:
                raise Unusable(f"{name} has {word!r}, which is not a word of {sentence!r}")
    return answer
