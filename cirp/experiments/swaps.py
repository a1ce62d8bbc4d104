"""Which tokens say what is edited: groups of tokens exchanged between two instructions.

Each local test edit is given a second instruction about the same picture, of an edit that changes
nothing that the first one changes. The editor then reads the first instruction with one group of
its tokens taken from the second, as the text encoder wrote them in their own sentence. What is
asked is which of the two edits the judge sees.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from cirp.data.edits import EditItem
from cirp.diffusion.text import states
from cirp.experiments import cache, carries, engine, leak, records
from cirp.experiments.configurations import STEPS
from cirp.experiments.engine import Cell, Experiment, Job
from cirp.methods import METHODS
from cirp.metrics import similarity
from cirp.miniature import export
from cirp.miniature.chains import KINDS
from cirp.miniature.draw_pairs import make
from cirp.miniature.pairs import Pair, combinations, home
from cirp.statistics.bootstrap import Interval, mean_of, paired_interval

GROUPS = ("words", "end", "padding")  # begin of text is the same in every prompt
TAKEN = {
    "nothing": (),
    "words": ("words",),
    "end of text": ("end",),
    "padding": ("padding",),
    "end of text and padding": ("end", "padding"),
    "everything": GROUPS,
}  # what is taken from the second instruction -> the groups of tokens
TRIES = 200  # drawings of a second instruction
COLUMNS = (
    "id", "edit_type", "training_seed", "text_scale", "image_scale", "method",
    *records.PROVENANCE, "done", "other_done",
)  # fmt: skip


@dataclass(frozen=True)
class Two:
    """An edit and a second one of the same picture."""

    item: EditItem
    first: Pair
    second: Pair

    @property
    def id(self) -> str:
        """Name of the edit."""
        return self.item.id

    @property
    def hash(self) -> str:
        """Of the edit and of the second instruction."""
        return records.short_hash([records.item_hash(self.item), self.second.instruction])


def second(first: Pair, split: str) -> Pair | None:
    """Return another edit of the same scene; None if none is found that changes nothing in common.

    The same pair gives the same second one, always.
    """
    rng = random.Random(f"second-{split}-{first.seed}-{first.kind}")
    changed = {*first.gained, *first.lost}
    for _ in range(TRIES):
        kind = rng.choice(KINDS)
        made = make(first.source, kind, rng, seed=first.seed, leak=0.0, held_out=False)
        if made is None or changed & {*made.gained, *made.lost}:
            continue
        if {home(*names) for names in combinations(made.source, made.target)} <= {"train", split}:
            return made
    return None


def pairs_of(items: Sequence[EditItem]) -> list[Two]:
    """Return the edits that a second one is found for."""
    firsts = [export.drawn_pair(item.record) for item in items]
    seconds = [second(one, item.record.split) for one, item in zip(firsts, items, strict=True)]
    return [Two(*each) for each in zip(items, firsts, seconds, strict=True) if each[2]]


def exchanged(
    own: Float[Tensor, "prompt token channel"],
    other: Float[Tensor, "prompt token channel"],
    ends: Sequence[tuple[int, int]],
    taken: Collection[str],
) -> Float[Tensor, "prompt token channel"]:
    """Return the states of `own`, with the groups `taken` from `other`.

    `ends` are the positions of each pair's end-of-text tokens. The words keep their places, and
    with them end of text and padding: of padding that is longer than what it is taken from, the
    first token stands again. Cross-attention does not ask where a token stands.
    """
    made = []
    for mine, theirs, (end, other_end) in zip(own, other, ends, strict=True):
        source = {name: (theirs, other_end) if name in taken else (mine, end) for name in GROUPS}
        (words, last), (closing, at), (padding, behind) = (source[name] for name in GROUPS)
        places = torch.arange(last + 1, len(words)).clamp_min(behind + 1)
        made.append(torch.cat([words[:last], closing[at : at + 1], padding[places]]))
    return torch.stack(made)


@contextmanager
def reading(unet, text: Float[Tensor, "image token channel"]) -> Iterator[None]:
    """Give this text to the text branch, whose rows are the first of the batch."""

    def hook(_, args, kwargs):
        states = kwargs["encoder_hidden_states"].clone()
        states[: len(text)] = text.to(states)
        return args, {**kwargs, "encoder_hidden_states": states}

    handle = unet.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def measure(job: Job, cell: Cell) -> pd.DataFrame:
    """Return a row an edit and seed: whether its own edit was done, and the second one."""
    if job.features is None:
        return pd.DataFrame()
    models, pipe, rows = cell.models(job.models), cell.models(job.models).instruct, []
    for seed in job.seeds:
        for start in range(0, len(job.items), engine.AT_ONCE):
            some = job.items[start : start + engine.AT_ONCE]
            said = [
                [one.item.record.instruction for one in some],
                [one.second.instruction for one in some],
            ]
            ends = [
                tuple(len(pipe.tokenizer(text).input_ids) - 1 for text in both)
                for both in zip(*said, strict=True)
            ]
            text = exchanged(*(states(each, pipe) for each in said), ends, TAKEN[cell.label])
            tasks = [cache.task(one.item, seed) for one in some]
            with reading(pipe.unet, text):
                made = METHODS[cell.method](
                    models, tasks, batch_size=len(tasks), progress=False, **cell.settings
                )
            seen = job.features.judge([edit.image for edit in made]).astype(float)
            for one, probabilities in zip(some, seen.T.to_dict().values(), strict=True):
                first, other = (
                    similarity.success(
                        similarity.verdicts(probabilities, pair.gained, pair.lost, [])
                    )
                    for pair in (one.first, one.second)
                )
                rows.append({
                    "id": one.id, "edit_type": one.item.record.edit_type, "seed": seed,
                    "done": first, "other_done": other,
                })  # fmt: skip
    return pd.DataFrame(rows)


def cells(steps: int = STEPS) -> Iterator[Cell]:
    """Yield each group exchanged, for the editors and scales of `carries`."""
    for training in leak.TRAININGS:
        for scale in carries.TEXT_SCALES:
            scales = dict(text_scale=scale, image_scale=carries.IMAGE_SCALE)
            for name in TAKEN:
                yield Cell(
                    name, "ip2p", dict(steps=steps, **scales),
                    dict(training_seed=training, **scales),
                    models=partial(carries.editor, training_seed=training),
                    in_slice=not training
                    and scale == carries.TEXT_SCALES[0]
                    and name in ("words", "end of text and padding"),
                )  # fmt: skip


EXPERIMENT = Experiment(
    "swaps", cells, lambda: pairs_of(engine.planned("test", local=True)()), columns=COLUMNS,
    seeds=2, checked=("done", "other_done"), measure=measure, code="swaps 1, {method}",
    hash=lambda two: two.hash,
)  # fmt: skip


def both_done(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each editor, scale and group, how often each of the two edits was done."""
    rows = []
    for (seed, scale), some in table.groupby(["training_seed", "text_scale"], sort=True):
        for name in TAKEN:
            rows.append({
                "training_seed": seed, "text_scale": scale, "taken": name,
                "first": mean_of(some, name, "done"), "second": mean_of(some, name, "other_done"),
                "second - first": _second_minus_first(some[some["method"] == name]),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _second_minus_first(rows: pd.DataFrame) -> Interval:
    means = rows.groupby("id")[["done", "other_done"]].mean().astype(float)
    return paired_interval(means["other_done"].to_numpy(), means["done"].to_numpy(), metric="done")
