"""Over many turns: each method edits its own last picture, and what nobody touched wears away.

A person who edits does not stop after one instruction. Little that strays in one turn is little;
five turns add up. Of each turn is asked: was it done, what of all that should now be there is still
seen, and how far are the pixels that no instruction so far has meant from the first picture's.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool
from PIL import Image

from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task
from cirp.experiments import cache, configurations, engine, records
from cirp.experiments.engine import Cell, Experiment, Job
from cirp.metrics import similarity
from cirp.metrics.regions import average, split
from cirp.miniature.chains import chain
from cirp.miniature.pairs import Pair
from cirp.miniature.scene import region, render

TURNS = 5
CHAINS = 20
METHODS_SHOWN = (
    configurations.BASELINE, configurations.NOISY, "FoI (re-implementation)", "Watch Your Steps",
    "DiffEdit", configurations.OURS,
)  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """Edits in a row, with the region of each."""

    id: str
    pairs: list[Pair]
    regions: list[Bool[np.ndarray, "row column"]]

    @property
    def hash(self) -> str:
        """Of all that a method is given of this chain, and of its first picture."""
        said = [(p.instruction, p.source_caption, p.target_caption, *p.words) for p in self.pairs]
        first = render(self.pairs[0].source).tobytes()
        return records.short_hash([said, hashlib.sha256(first).hexdigest()])

    def untouched(self, turn: int) -> Bool[np.ndarray, "row column"]:
        """Pixels that no instruction up to this turn has meant."""
        meant = np.any(self.regions[: turn + 1], axis=0)
        return split(meant, shape=meant.shape).outside


def chains(count: int, split: str = "test", *, first: int = 0, turns: int = TURNS) -> list[Chain]:
    """Return the first chains of a split."""
    found = []
    for seed in range(first, first + count):
        pairs = chain(seed, split, turns=turns)
        found.append(Chain(f"{split}-{seed}", pairs, [region(p.source, p.target) for p in pairs]))
    return found


def tasks_of(
    some: Sequence[Chain], pictures: Sequence[Image.Image], turn: int, seed: int
) -> list[Task]:
    found = []
    for one, picture in zip(some, pictures, strict=True):
        pair = one.pairs[turn]
        found.append(
            Task(
                picture, pair.instruction, pair.target_caption, seed,
                key=f"{one.id}-{turn}", source_caption=pair.source_caption,
                words=pair.words, target_words=pair.target_words, mask=one.regions[turn],
            )
        )  # fmt: skip
    return found


def pictures_of(
    models: Models, some: Sequence[Chain], method: str, settings: Mapping, seed: int = 0
) -> Iterator[list[Image.Image]]:
    """Yield each chain's picture, first as it is, then after each turn."""
    now = [Image.fromarray(render(one.pairs[0].source)) for one in some]
    yield now
    for turn in range(len(some[0].pairs)):
        made = cache.computed(
            models, tasks_of(some, now, turn, seed), method, settings=settings,
            batch_size=engine.AT_ONCE, progress=False,
        )  # fmt: skip
        now = [edit.image for edit in made]
        yield now


def measure(job: Job, cell: Cell) -> pd.DataFrame:
    """Measure every chain after every turn: one row each.

    | column | meaning |
    |---|---|
    | done | the judge sees what this turn gains and no longer what it loses |
    | still_right | share of all labels of the true scene that it sees |
    | untouched_change | mean absolute difference from the first picture where nothing was meant |

    Where a turn was not done, a later one may find nothing to lose and count as done: `done` is to
    be read beside `still_right`.
    """
    shown = pictures_of(job.models, job.items, cell.method, cell.settings, job.seeds[0])
    sources = [similarity.to_array(first) for first in next(shown)]
    rows = []
    for turn, now in enumerate(shown):
        if job.features is None:
            continue
        seen = job.features.judge(now).T.to_dict().values()
        for one, first, picture, said in zip(job.items, sources, now, seen, strict=True):
            pair = one.pairs[turn]
            verdicts = similarity.verdicts(said, pair.gained, pair.lost, [])
            right = [said[label] >= similarity.THRESHOLD for label in pair.target.labels()]
            apart = similarity.change(similarity.to_array(picture), first)
            rows.append(
                {
                    "id": one.id, "turn": turn + 1, "kind": pair.kind,
                    "done": similarity.success(verdicts),
                    "still_right": float(np.mean(right)),
                    "untouched_change": average(apart, one.untouched(turn)),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def cells(steps: int = configurations.STEPS) -> list[Cell]:
    """Return the methods of the chapter, each as it is shown elsewhere."""
    known = configurations.automatic(steps)
    return [
        Cell(name, *known[name], in_slice=name == configurations.BASELINE) for name in METHODS_SHOWN
    ]


EXPERIMENT = Experiment(
    "turns", cells, lambda: chains(CHAINS), measure=measure, hash=lambda chain: chain.hash,
    checked=("still_right", "untouched_change"),
)  # fmt: skip
