"""`cirp refine`: a folder's instructions into target captions."""

import json
import sys
from functools import partial
from pathlib import Path

from cirp import paths
from cirp.attention.tokens import check_length
from cirp.data.edits import load_edits
from cirp.diffusion.pipelines import load_tokenizer
from cirp.refinement.backends import KEY, Backend, Endpoint, Grammar, Local
from cirp.refinement.batch import messages, refine_all
from cirp.refinement.metadata import asks, check_place, written

BACKENDS = ("grammar", "local", "endpoint")


def chosen(name: str, *, model: str, url: str | None, device: str) -> Backend | Grammar:
    """The backend of this name. Raises `ValueError` for an unknown one, or one without a model."""
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; give one of {', '.join(BACKENDS)}")
    if name == "grammar":
        return Grammar()
    if not model:
        raise ValueError(f"backend {name!r} needs --model")
    return Local(model, device=device) if name == "local" else Endpoint(model, url)


def refine_file(
    edits: Path, out: Path, backend: str, *, model: str, url: str | None, anew: bool,
    dry_run: bool, device: str, models: str = "miniature",
) -> None:  # fmt: skip
    """Refine, write, and say what it took; nothing is sent with `dry_run`.

    Whatever could keep the result from being written is found before anything is sent.
    """
    answers_by = chosen(backend, model=model, url=url, device=device)
    todo, without = asks(load_edits(edits), anew=anew)
    check_place(edits, out)
    tokenizer = load_tokenizer(models)
    for name in without:
        print(f"{name}: no source caption, so nothing to refine", file=sys.stderr)
    if dry_run:
        for ask in todo:
            print(json.dumps(messages(ask)[-1]["content"], ensure_ascii=False))
        print(f"{len(todo)} edits would be sent to {answers_by.name}; nothing was")
        return
    fits = partial(check_length, tokenizer)
    results = list(refine_all(todo, answers_by, cache=paths.cache() / "refined", fits=fits))
    for result in results:
        if result.answer is None:
            print(f"{result.ask.id}: {result.error}", file=sys.stderr)
    written(edits, results, out)
    done = sum(result.answer is not None for result in results)
    known = sum(result.cached for result in results)
    tokens = sum(r.prompt_tokens for r in results), sum(r.answer_tokens for r in results)
    print(f"{out}: {done} of {len(todo)} refined by {answers_by.name}, {known} known before; "
          f"{tokens[0]} tokens sent, {tokens[1]} received")  # fmt: skip


def measure(backend: str, *, model: str, url: str | None, device: str) -> None:
    """Print how far a backend agrees with the drawn world's own captions and words."""
    from cirp.experiments.refinement_agreement import agreement, summary

    answers_by = chosen(backend, model=model, url=url, device=device)
    table = agreement(answers_by, cache=paths.cache() / "refined")
    print(f"{answers_by.name}, {len(table)} scenes of the drawn world")
    print(summary(table).round(3).to_string(index=False))


__all__ = ["BACKENDS", "KEY", "chosen", "measure", "refine_file"]
