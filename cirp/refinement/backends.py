"""Who answers: the grammar, a local language model, or an endpoint with OpenAI's protocol."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from cirp.data.target_caption import refine
from cirp.refinement.schema import Answer, Unusable, agreeing

Message = dict[str, str]  # role, content
KEY = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Reply:
    """What came back, and what it cost."""

    text: str
    prompt_tokens: int = 0
    answer_tokens: int = 0


@runtime_checkable
class Backend(Protocol):
    """`name` says which model answers; it is part of what an answer is kept under."""

    name: str

    def reply(self, messages: Sequence[Message]) -> Reply: ...


@dataclass(frozen=True)
class Grammar:
    """The rules of `cirp.data.target_caption`: no model, no network; what is unclear is refused."""

    name: str = "grammar"

    def answer(self, instruction: str, source_caption: str) -> Answer:
        """Raises `Unusable` if no rule fits."""
        try:
            target = refine(instruction, source_caption)
        except ValueError as error:
            raise Unusable(str(error)) from error
        said, before, after = (s.split() for s in (instruction, source_caption, target))
        known = {word.strip(".,").casefold() for word in before}
        new = [w.strip(".,") for w in after if w.strip(".,").casefold() not in known]
        kept = {word.strip(".,").casefold() for word in after}
        gone = [w.strip(".,") for w in before if w.strip(".,").casefold() not in kept]
        moved = {word.casefold() for word in (*new, *gone)}
        own = [w.strip(".,!") for w in said if w.strip(".,!").casefold() in moved]
        answer = Answer(
            target_caption=target,
            words=tuple(dict.fromkeys(own)),
            source_words=tuple(dict.fromkeys(gone)),
            target_words=tuple(dict.fromkeys(new)),
        )
        return agreeing(answer, instruction=instruction, source_caption=source_caption)


@dataclass
class Local:
    """An instruction-tuned model through transformers: chat template, greedy, safetensors only."""

    model: str  # a folder or hub id
    device: str = "cpu"
    longest: int = 400  # new tokens
    _loaded: tuple | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"local {self.model}"

    def reply(self, messages: Sequence[Message]) -> Reply:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if self._loaded is None:
            tokenizer = AutoTokenizer.from_pretrained(self.model)
            if tokenizer.chat_template is None:
                raise ValueError(
                    f"{self.model} has no chat template; give an instruction-tuned model"
                )
            model = AutoModelForCausalLM.from_pretrained(self.model, use_safetensors=True)
            self._loaded = tokenizer, model.eval().to(self.device)
        tokenizer, model = self._loaded
        inputs = tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self.device)
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=self.longest, do_sample=False)
        asked = inputs["input_ids"].shape[1]
        text = tokenizer.decode(out[0, asked:], skip_special_tokens=True)
        return Reply(text, asked, out.shape[1] - asked)


@dataclass(frozen=True)
class Endpoint:
    """Any server with OpenAI's chat protocol. The key is read from the environment alone."""

    model: str
    url: str | None = None  # None is OpenAI's own
    timeout: float = 60.0  # seconds of one try
    tries: int = 4  # with a growing pause after limits and time-outs
    seed: int = 0

    @property
    def name(self) -> str:
        return f"endpoint {self.model} at {self.url or 'the default address'}"

    def reply(self, messages: Sequence[Message]) -> Reply:
        """Raises `ConnectionError` in one line when the last try has failed."""
        import openai

        key = os.environ.get(KEY)
        if not key:
            raise ValueError(f"no key; set the environment variable {KEY} (any text for a server "
                             "without keys)")  # fmt: skip
        client = openai.OpenAI(
            api_key=key, base_url=self.url, timeout=self.timeout, max_retries=self.tries - 1
        )
        try:
            found = client.chat.completions.create(
                model=self.model, messages=list(messages), temperature=0, seed=self.seed
            )
        except openai.APIError as error:
            said = " ".join(str(error).replace(key, "***").split())
            raise ConnectionError(
                f"{self.name}: {type(error).__name__} after {self.tries} tries: {said[:200]}"
            ) from None  # a trace could carry the key
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            kind = type(error).__name__
            raise ConnectionError(f"{self.name}: the server answered no JSON ({kind})") from None
        text, usage = _said(found), getattr(found, "usage", None)
        if text is None:
            raise ConnectionError(f"{self.name}: the server sent an answer without text")
        counts = (getattr(usage, name, 0) for name in ("prompt_tokens", "completion_tokens"))
        return Reply(text, *(count if isinstance(count, int) else 0 for count in counts))


def _said(found: object) -> str | None:
    """Return the text of an answer, whatever a server has sent as one; None if there is none."""
    choices = getattr(found, "choices", None)
    first = choices[0] if isinstance(choices, list) and choices else None
    text = getattr(getattr(first, "message", None), "content", None)
    return text if isinstance(text, str) else None
