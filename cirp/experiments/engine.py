"""The one engine behind every table: run cells, score them, and compare a few of them again.

An experiment is a list of cells, each a method at one setting on some edits. To add one, write an
`Experiment` and name it in `cirp.experiments.results`:

    mine = Experiment(
        "mine", items=planned("test", local=True),
        cells=lambda steps: [Cell(f"text {t:g}", "ip2p", dict(steps=steps, text_scale=t))
                             for t in (2.5, 7.5)],
    )
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from cirp.data.edits import EditItem
from cirp.data.images import Mask
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache, records
from cirp.experiments.configurations import STEPS, Methods
from cirp.experiments.drawn import load_miniature_edits, local_edits, right_answers
from cirp.experiments.plan import plan
from cirp.methods import METHODS
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.regions import iou
from cirp.metrics.scores import score_all

AT_ONCE = 24  # edits in a batch


@dataclass(frozen=True)
class Job:
    """What the cells of an experiment are run on."""

    models: Models
    features: FeatureExtractor | None  # None: edits are computed and kept, and not scored
    items: Sequence  # edits, or whatever else the experiment measures
    everything: Sequence = ()  # all items of the experiment, where `items` is a share of them
    seeds: Sequence[int] = (0,)


@dataclass(frozen=True)
class Cell:
    """One method at one setting.

    `label` and `columns` tell its rows from those of other cells. `items` chooses or changes the
    edits, `regions` gives them other masks than their own, `models` another editor. `method` is
    empty where no editor is run. A build computes the cells that are `in_slice` again.
    """

    label: str
    method: str
    settings: Mapping = field(default_factory=dict)
    columns: Mapping[str, object] = field(default_factory=dict)
    items: Callable[[Sequence[EditItem]], list[EditItem]] = list
    regions: Callable[[Job], Sequence[Mask]] | None = None
    models: Callable[[Models], Models] = lambda models: models
    regions_by: str = ""  # code and settings of the method that finds the regions, if one does
    in_slice: bool = True


@dataclass(frozen=True)
class Placed(EditItem):
    """An edit whose mask is another than its own."""

    region: Mask | None = None

    def mask(self) -> Mask | None:
        """Return the region in place of the edit's own mask."""
        return self.region


def placed(items: Sequence[EditItem], regions: Sequence[Mask]) -> list[Placed]:
    """Return the edits with these regions as their masks."""
    return [
        Placed(item.record, item.folder, item.fitted, region)
        for item, region in zip(items, regions, strict=True)
    ]


def scores(job: Job, cell: Cell, *, paste: bool = False) -> pd.DataFrame:
    """Score every edit of a cell: one row per seed and edit.

    `paste` adds the same edits with the source's own pixels outside the region, which costs
    nothing, for methods that have a region and do not paste by themselves.
    """
    models = cell.models(job.models)
    items = cache.fitted(cell.items(job.items), models)
    if not items:
        return pd.DataFrame()
    seeds = job.seeds[:1] if cell.method in cache.WITHOUT_NOISE else job.seeds
    regions = None if cell.regions is None else cell.regions(job)
    made = cache.edits(
        models, items if regions is None else placed(items, regions), cell.method, seeds=seeds,
        settings=cell.settings, batch_size=AT_ONCE, progress=False,
    )  # fmt: skip
    if job.features is None:
        return pd.DataFrame()
    trips = [one.image for one in cache.edits(models, items, "round trip", progress=False)]
    shared = dict(round_trips=trips, answers=right_answers(items))
    repeated = [item for _ in seeds for item in items]

    def scored(images: Sequence[Image.Image]) -> pd.DataFrame:
        parts = []
        for n, seed in enumerate(seeds):
            some = list(images[n * len(items) : (n + 1) * len(items)])
            parts.append(score_all(items, some, job.features, **shared).assign(seed=seed))
        return pd.concat(parts, ignore_index=True).assign(
            seconds=[one.seconds for one in made],
            unet_calls=[one.unet_calls for one in made],
            region_iou=[
                overlap(one.mask, item.mask()) for one, item in zip(made, repeated, strict=True)
            ],
            abstained=[one.abstained for one in made],
            models=models.name,
            view=getattr(job.features, "view", ""),
        )

    rows = scored([one.image for one in made])
    if not paste:
        return rows
    where = [one.mask for one in made]
    if regions is not None:
        where = [Image.fromarray(region) for _ in seeds for region in regions]
    elif cache.completed(cell.method, cell.settings).get("paste"):
        where = [None]
    rows = rows.assign(pasted=False)
    if any(mask is None for mask in where):
        return rows
    over = [
        Image.composite(one.image, item.source(), mask)
        for one, item, mask in zip(made, repeated, where, strict=True)
    ]
    return pd.concat([rows, scored(over).assign(pasted=True)], ignore_index=True)


def overlap(found: Image.Image | None, truth: Mask | None) -> float:
    """Return the intersection over union of a method's region and the true one.

    NaN if the method has no region, or the true one is not known.
    """
    return iou(None if found is None else np.asarray(found) > 127, truth)


@dataclass(frozen=True)
class Experiment:
    """A table and how it is made.

    Attributes
    ----------
    name : str
        Of the table, `data/results/<name>.csv`.
    cells : callable
        From a number of sampling steps to the cells.
    items : callable, optional
        The planned edits. Without it the table is of the book's own edits, or of a reader's.
    seeds, steps : int
        Seeds of each edit in the full table, and sampling steps.
    columns : sequence of str
        The columns worth keeping; by default all.
    checked : sequence of str
        The columns that a build compares with what it computes again.
    sample : callable, optional
        The items that a build computes again; by default the first two.
    measure : callable
        From a `Job` and a `Cell` to rows; by default `scores`.
    code : str
        Version of what is measured; "{method}" stands for that of the cell's method.
    hash : callable
        Content hash of an item.
    """

    name: str
    cells: Callable[[int], Iterable[Cell]]
    items: Callable[[], Sequence] | None = None
    seeds: int = 1
    steps: int = STEPS
    columns: Sequence[str] = ()
    checked: Sequence[str] = records.CHECKED
    sample: Callable[[], Sequence] | None = None
    measure: Callable[[Job, Cell], pd.DataFrame] = scores
    code: str = "{method}"
    hash: Callable[..., str] = records.item_hash
    scored: bool = True  # the judge and the encoders have a part in it

    def facts(self, job: Job, cell: Cell) -> dict[str, object]:
        """Return the provenance that all rows of a cell share; see `records.PROVENANCE`."""
        version = METHODS[cell.method].code if cell.method in METHODS else ""
        return records.provenance(
            cell.models(job.models), settings=cell.settings, seed=job.seeds[0],
            code=self.code.format(method=version) + cell.regions_by,
            features=job.features if self.scored else None,
        )  # fmt: skip

    def rows(
        self,
        job: Job,
        cells: Iterable[Cell],
        known: pd.DataFrame | None = None,
        *,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Return the rows of these cells; those that `known` holds are taken from there."""
        cells, parts, seen = list(cells), [], {}
        for cell in tqdm(cells, desc=self.name, unit="cell", disable=not progress):
            facts = self.facts(job, cell)
            if cell.items not in seen:  # hashing reads every picture
                items = cell.items(job.items)
                items = cache.fitted(items, job.models) if self.edits else items
                seen[cell.items] = {item.id: self.hash(item) for item in items}
            hashes = seen[cell.items]
            part = None if known is None else standing(known, job, cell, facts, hashes)
            if part is None:
                part = self.measure(job, cell)
                if part.empty:
                    continue
                facts = {name: value for name, value in facts.items() if name not in part}
                part = part.assign(method=cell.label, **dict(cell.columns), **facts)
                part["item"] = part["id"].map(hashes)
                part = part[list(dict.fromkeys((*self.columns, *records.PROVENANCE)))
                            if self.columns else list(part)]  # fmt: skip
            parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    @property
    def edits(self) -> bool:
        """Whether its items are edits."""
        return self.hash is records.item_hash


def standing(
    known: pd.DataFrame, job: Job, cell: Cell, facts: Mapping, hashes: Mapping[str, str]
) -> pd.DataFrame | None:
    """Return the recorded rows of a cell; None if one is missing or was made of anything else.

    The processor, the device and the versions may be others: machines share their work.
    """
    if any(name not in known for name in (*records.PROVENANCE, *cell.columns)):
        return None
    free = (*records.ROUNDING, "seed", "item", *["instruments"] * (job.features is None))
    needed = {name: value for name, value in facts.items() if name not in free}
    own = {k: "" if v != v else v for k, v in cell.columns.items()}  # NaN is unequal to itself
    mine = known[records.same(known, {"method": cell.label, **own, **needed})]
    mine = mine[mine["id"].isin(list(hashes)) & mine["seed"].isin(list(job.seeds))]
    seeds = job.seeds[:1] if cell.method in cache.WITHOUT_NOISE else job.seeds
    wanted = {(name, content, seed) for name, content in hashes.items() for seed in seeds}
    there = set(zip(mine["id"], mine["item"], mine["seed"], strict=True))
    return mine if wanted and wanted <= there else None


def planned(split: str, *, local: bool = False) -> Callable[[], list[EditItem]]:
    """Return a function that loads the edits of a split of the plan, and draws them if need be."""

    def items() -> list[EditItem]:
        where = getattr(plan().splits, split)
        found = load_miniature_edits(
            "validation" if split == "validation" else "test", where.count, first=where.first
        )
        return local_edits(found) if local else found

    return items


def cells_of(methods: Methods) -> list[Cell]:
    """Return a cell for each label of a mapping to method and settings."""
    return [Cell(label, method, settings) for label, (method, settings) in methods.items()]


def score_methods(
    models: Models,
    features: FeatureExtractor,
    items: Sequence[EditItem],
    methods: Methods,
    *,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Score these methods on these edits: one row per edit, label and seed.

    All methods start from the same noise of an edit and seed.
    """
    live = Experiment("live", lambda steps: [])
    return live.rows(Job(models, features, items, items, seeds), cells_of(methods))
