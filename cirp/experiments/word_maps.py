"""Reads cross-attention while an edit is made, and scores where the edit's words look.

watched = watch(models, item, "ip2p", seed=0, settings={"steps": 30})
heat = watched.heat(["strawberry"])
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice

import numpy as np
import pandas as pd
from jaxtyping import Float

from cirp.attention import localisation
from cirp.attention.maps import token_maps, word_map
from cirp.attention.record import Record
from cirp.attention.site import TEXT
from cirp.attention.tokens import check_length, content_words, word_positions
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Edit, working_size
from cirp.experiments import cache
from cirp.methods import METHODS

Heat = Float[np.ndarray, "row column"]
BINS = (0, 200, 400, 600, 800, 1000)  # edges of the time bins


@dataclass(frozen=True)
class Watched:
    """One edit, what its cross-attention did, and the prompt it was given."""

    item: EditItem
    edit: Edit
    record: Record
    tokenizer: object
    prompt: str
    words: list[str]  # of the prompt, that carry the edit
    image: int = 0  # its number in the record

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the image."""
        return self.edit.image.size[::-1]

    def heat(self, words: Sequence[str] | None = None, **selection) -> Heat:
        """The mean map of the words (default: those that carry the edit), in the image's size."""
        chosen = self.words if words is None else words
        maps = [
            word_map(
                self.record, self.tokenizer, self.prompt, word, image=self.image, size=self.size,
                **selection,
            ).numpy()
            for word in chosen
        ]  # fmt: skip
        return np.mean(maps, axis=0)

    def special(self, **selection) -> dict[str, Heat]:
        """Return the maps of begin of text, and of the end of text with its padding."""
        last = check_length(self.tokenizer, self.prompt) - 1
        maps = token_maps(self.record, image=self.image, size=self.size, **selection).numpy()
        return {"begin of text": maps[0], "end and padding": maps[last:].sum(axis=0)}

    def mass(self) -> pd.Series:
        """Return the share of all attention that each kind of token takes; they sum to 1."""
        maps = token_maps(self.record, image=self.image).mean(dim=(1, 2)).numpy()
        last = check_length(self.tokenizer, self.prompt) - 1
        carrying = sorted(
            {p for w in self.words for p in word_positions(self.tokenizer, self.prompt, w)}
        )
        other = [p for p in range(1, last) if p not in carrying]
        share = {
            "begin of text": maps[0],
            "words of the edit": maps[carrying].sum(),
            "other words": maps[other].sum(),
            "end and padding": maps[last:].sum(),
        }
        return pd.Series(share) / maps.sum()


def watch(
    models: Models,
    item: EditItem,
    method: str = "ip2p",
    *,
    seed: int,
    settings: Mapping,
    branches: Sequence[int] = (TEXT,),
    times=BINS,
) -> Watched:
    """Make one edit and record it; the image is what it would have been unwatched."""
    how = dict(seed=seed, settings=settings, branches=branches, times=times)
    (one,) = _watch_together(models, [item], method, **how)
    return one


def _watch_together(
    models: Models, items: Sequence[EditItem], method: str, *, seed: int, settings: Mapping,
    branches: Sequence[int] = (TEXT,), times=BINS,
) -> list[Watched]:  # fmt: skip
    """Watch edits of one size in one batch."""
    record = Record(branches=branches, times=times)
    tasks = [cache.task(item, seed) for item in items]
    how = dict(controls=(record,), batch_size=len(items), progress=False, **settings)
    made = METHODS[method](models, tasks, **how)
    said = METHODS[method].configured(**settings).reads[0]
    chosen = made[0].settings
    captioned = chosen.get("variant") == "text-to-image" or "prompt" not in chosen
    tokenizer = (models.text if captioned else models.instruct).tokenizer
    words = "words" if said == "instruction" else "target_words"
    return [
        Watched(item, edit, record, tokenizer, getattr(task, said), getattr(item.record, words), n)
        for n, (item, task, edit) in enumerate(zip(items, tasks, made, strict=True))
    ]


TOGETHER = 8  # edits of a batch
WORDS = 4  # of an instruction whose words nobody has named


def with_words(item: EditItem, models: Models) -> EditItem:
    """The item with words to look at: its own, or the first content words of the instruction."""
    if item.record.words:
        return item
    found = content_words(models.instruct.tokenizer, item.record.instruction)
    return item.worded(found[:WORDS])


def watch_all(models: Models, items: Sequence[EditItem], method: str, **how) -> Iterator[Watched]:
    """Watch them in their order. The noisy input only where there are a caption and words of it.

    Edits of the whole picture are left out: nothing is inside or outside of them.
    """
    chosen = [item for item in items if not item.record.is_global]
    if method == "ip2p":
        chosen = [with_words(item, models) for item in chosen]
    else:
        chosen = [one for one in chosen if one.record.target_words]
        chosen = [one for one in chosen if cache.target_caption(one.record)]
    for _, alike in groupby(chosen, key=lambda item: working_size(item.source(), models)):
        while group := list(islice(alike, TOGETHER)):
            yield from _watch_together(models, group, method, **how)


def with_masks(watched: Sequence[Watched]) -> list[Watched]:
    """Those whose true region is known, so that maps can be scored."""
    return [one for one in watched if one.item.mask() is not None]


def score(watched: Watched, heat: Heat | None = None, **columns) -> dict:
    """One row: how well a map (default: of the edit's words) finds the true region."""
    heat = watched.heat() if heat is None else heat
    record = watched.item.record
    found = localisation.scores(heat, watched.item.mask())
    return {"id": record.id, "edit_type": record.edit_type, **columns, **found}


def leaderboard(watched: Sequence[Watched], *, by: str, seed: int = 0) -> pd.DataFrame:
    """Localisation of the edit's words, of special tokens, and of uninformative maps.

    `by` names the system that was watched.
    """
    rows = []
    for one in watched:
        rows.append(score(one, map=f"{by}: words of the edit"))
        for name, heat in one.special().items():
            rows.append(score(one, heat, map=f"{by}: {name}"))
        for name, heat in localisation.baselines(one.size, seed=seed).items():
            rows.append(score(one, heat, map=f"uninformative: {name}"))
    return pd.DataFrame(rows)


def by_layer(watched: Sequence[Watched], metric: str = "roc_auc") -> pd.DataFrame:
    """Layers by heads: the mean score of the edit words' map of that layer and head alone."""
    first = watched[0].record
    rows = {
        short(name): [
            float(
                np.nanmean(
                    [score(one, one.heat(layers=[name], heads=[h]))[metric] for one in watched]
                )
            )
            for h in range(len(first.layer(name)))
        ]
        for name in first.layers
    }
    table = pd.DataFrame.from_dict(rows, orient="index")  # layers of fewer heads end early
    return table.rename(columns="head {}".format)


def by_time(watched: Sequence[Watched], metric: str = "roc_auc") -> pd.DataFrame:
    """Resolutions by time bins: the mean score of the edit words' map of that time alone."""
    first = watched[0].record
    latent = first.latent()
    rows = []
    for stride in first.strides:
        for time in first.times:
            found = [score(one, one.heat(strides=[stride], time=time))[metric] for one in watched]
            grid = " x ".join(str(-(-side // stride)) for side in latent)
            rows.append({"maps": grid, "timestep": time, metric: float(np.nanmean(found))})
    return pd.DataFrame(rows)


def short(layer: str) -> str:
    """ "up_blocks.1.attentions.0.transformer_blocks.0.attn2" -> "up 1.0".

    Further blocks of one attention, which SDXL has, are numbered: "up 1.0 block 1".
    """
    parts = layer.split(".")
    block = parts[parts.index("transformer_blocks") + 1]
    last = f" block {block}" if block != "0" else ""
    if parts[0] == "mid_block":
        return f"mid{last}"
    return f"{parts[0].removesuffix('_blocks')} {parts[1]}.{parts[3]}{last}"


def reworded(item: EditItem, instruction: str) -> EditItem:
    """Return the same picture with another instruction; what spoke of the old one is forgotten."""
    nothing = {"words": [], "target_words": [], "target_caption": None}
    record = item.record.model_copy(update={"instruction": instruction, **nothing})
    return replace(item, record=record)
