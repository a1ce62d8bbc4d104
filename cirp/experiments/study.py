"""One chapter's run: which models, images and seeds, and what is computed or read.

A *full* study (all images, two seeds) writes its tables to `data/results/`. Rows that stand there
and were made of the same things are kept; the others are computed anew. A *quick* study computes
the same cells for the ten examples and one seed, checks that they agree with the recorded table,
and then reads that table: so the figures always show the full run, and no number can go stale
unnoticed. A study of other images, models, steps or seeds never sees the book's tables: what is
quick it computes and shows, in full it writes to a folder of its own (`CIRP_OUT`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cirp import paths
from cirp.data.edits import EditItem, load_edits
from cirp.diffusion.pipelines import Models, load, load_tokenizer
from cirp.diffusion.tasks import Edit
from cirp.experiments import cache, records, report
from cirp.experiments.configurations import Methods
from cirp.experiments.drawn import right_answers
from cirp.experiments.needs import LeftOut, possible, preferred, showable
from cirp.experiments.records import CHECKED, agreement, recorded
from cirp.methods import METHODS
from cirp.methods.references import blend
from cirp.metrics.features import Features, load_features
from cirp.metrics.scores import score_all

EDITS = "data/edits"
SEEDS = 2
STEPS = 150  # the report's


@dataclass(frozen=True)
class Study:
    """Everything a chapter needs, loaded once."""

    profile: str
    models: Models
    features: Features
    items: list[EditItem]  # of this run, at the models' working size
    everything: list[EditItem]  # all of the folder
    seeds: tuple[int, ...]
    steps: int
    folder: str
    usual_steps: int = STEPS  # the chapter's own

    @property
    def is_default(self) -> bool:
        """Whether the book's recorded tables speak of these edits, models, steps and seeds."""
        usual = self.steps == self.usual_steps
        return usual and _is_default(self.folder, self.models.name, self.seeds[0])

    @property
    def shown_as(self) -> str:
        """What a table calls the models: the miniature by its name, others by theirs."""
        return "miniature" if self.models.is_miniature else Path(self.models.name).name

    @property
    def results(self) -> Path:
        """Where a full run writes its tables: the book's folder only for the book's own run."""
        return paths.RESULTS if self.is_default else paths.own() / "results"

    @property
    def sweep_steps(self) -> int:
        """Of tables that turn many dials: fewer than the report's, never more than asked."""
        return min(report.SWEEP_STEPS, self.steps)

    def item(self, name: str) -> EditItem:
        found = {item.id: item for item in self.everything}
        if name not in found:
            raise ValueError(f"no edit {name!r} in {self.folder}; there are {', '.join(found)}")
        return found[name]

    def made(
        self, items: Sequence[EditItem], methods: Methods | None = None
    ) -> dict[str, list[Edit]]:
        """The edits of these methods with the study's first seed.

        By default both of the report's systems at its settings.
        """
        if methods is None:
            both = report.main_methods(self.steps)
            both = {name: both[name] for name in (report.BASELINE, report.NOISY)}
            methods = possible(both, items)
        return {
            name: cache.edits(
                self.models,
                items,
                method,
                seeds=self.seeds[:1],
                settings=settings,
                progress=False,
            )
            for name, (method, settings) in methods.items()
        }

    def table(
        self,
        name: str,
        methods: Methods,
        *,
        seeds: Sequence[int] | None = None,
        items: Sequence[EditItem] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """One row per image, method and seed. See the module for what is computed and what read.

        `items` stand in for the study's own; `columns` are those worth keeping, by default all.
        Raises `ValueError` if the recorded table contradicts what was computed here.
        """
        items = self.items if items is None else items
        seeds = self.seeds if seeds is None else seeds
        methods = possible(methods, items)
        known = None
        path = self.results / f"{name}.csv"
        if self.profile == "full" and path.exists():
            known = records.read(path)
        needed = missing(
            methods, known, items=items, seeds=seeds, models=self.models, features=self.features
        )
        parts = []
        if needed:
            fresh = cache.table(
                self.models, items, needed, self.features, seeds=seeds, progress=False
            )
            kept = None if columns is None else dict.fromkeys((*columns, *records.PROVENANCE))
            parts.append(fresh if kept is None else fresh[list(kept)])
        if len(needed) < len(methods):
            stands = known["method"].isin(set(methods) - set(needed))
            ids = [item.id for item in items]
            parts.append(known[stands & known["id"].isin(ids) & known["seed"].isin(seeds)])
        rows = pd.concat(parts, ignore_index=True)
        order = {label: n for n, label in enumerate(methods)}
        rows = rows.sort_values("method", key=lambda names: names.map(order), kind="stable")
        return self.kept(name, rows.reset_index(drop=True))

    def kept(
        self, name: str, fresh: pd.DataFrame, *, checked: Sequence[str] = CHECKED
    ) -> pd.DataFrame:
        """A full study records these rows; a quick one compares them with the recorded table.

        Raises `ValueError` if they contradict it.
        """
        if self.profile == "full":
            return records.write(self.results / f"{name}.csv", fresh)
        known = recorded(name) if self.is_default else None
        if known is None:
            return fresh
        agreement(fresh, known, records.path_of(name), checked=checked)
        return known

    def blends(self, alphas: Sequence[float]) -> pd.DataFrame:
        """The baseline's outputs mixed with their inputs: the control every method must beat."""
        method, settings = report.main_methods(self.steps)[report.BASELINE]
        made = cache.edits(
            self.models, self.items, method, seeds=self.seeds[:1], settings=settings, progress=False
        )
        trips = cache.edits(self.models, self.items, "round trip", progress=False)
        sources = [item.source() for item in self.items]
        tied = records.provenance(
            self.models,
            settings=settings,
            seed=self.seeds[0],
            code=METHODS[method].code,
            features=self.features,
        )
        hashes = [records.item_hash(item) for item in self.items]
        parts = []
        for alpha in alphas:
            mixed = [blend(e.image, s, alpha=alpha) for e, s in zip(made, sources, strict=True)]
            part = score_all(
                self.items, mixed, self.features, round_trips=[t.image for t in trips],
                answers=right_answers(self.items),
            )  # fmt: skip
            parts.append(part.assign(method="blend", alpha=alpha, **{**tied, "item": hashes}))
        return self.kept("blends", pd.concat(parts, ignore_index=True))


def folder_of(edits: str) -> str:
    """The folder of a chapter's parameter `edits`, which is relative to the repository."""
    return edits if Path(edits).is_absolute() else str(paths.ROOT / edits)


def _is_default(folder: str, models: str, seed: int) -> bool:
    same = Path(folder).resolve() == paths.EDITS.resolve()
    return same and models == "miniature" and seed == 0


def open_study(
    *,
    profile: str = "quick",
    edits: str = EDITS,
    models: str = "miniature",
    device: str = "cpu",
    seed: int = 0,
    steps: int = STEPS,
    usual_steps: int = STEPS,
    needs: Sequence[str] = (),
    asks: Sequence[str] = (),
    prefers: Sequence[str] = (),
) -> Study:
    """Check everything, then load it.

    `usual_steps` are those of the chapter's recorded tables. `needs` are tables of the full run
    that the chapter only reads. `asks` names what an edit must have to be shown in it, of `ASKED`;
    edits without are left out, with a line that says so. What it `prefers` it asks for only where
    some edit has it.

    Raises `ValueError` in one line for an unknown profile, bad edits or unknown models, and
    `LeftOut` if tables are needed that speak of other edits, models, steps or seeds, or if no edit
    has what the chapter asks for.
    """
    if profile not in ("quick", "full"):
        raise ValueError(f"profile={profile!r}; give 'quick' or 'full'")
    for name, value, kind in (("steps", steps, int), ("seed", seed, int), ("edits", edits, str),
                              ("models", models, str), ("device", device, str)):  # fmt: skip
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name}={value!r}; give a value of type {kind.__name__}")
    if steps < 1:
        raise ValueError(f"steps={steps}; give at least 1")
    folder = folder_of(edits)
    everything = load_edits(folder)
    default = _is_default(folder, models, seed) and steps == usual_steps
    if not default:  # nothing of it may lie over the book's own figures and tables
        os.environ["CIRP_OUT"] = str(paths.own())
    if needs and not default:
        raise LeftOut(
            f"this chapter shows tables of hours ({', '.join(needs)}) that speak of the book's own "
            "edits, models, steps and seed; with others it is left out"
        )
    everything = preferred(showable(everything, asks), prefers)
    cache.check_items(everything, load_tokenizer(models))
    loaded = load(models, device=device)
    everything = cache.fitted(everything, loaded)
    shown = [item for item in everything if item.record.example] or everything[:10]
    return Study(
        profile,
        loaded,
        load_features(models if Path(models).is_dir() else _encoders(loaded), device=device),
        everything if profile == "full" else shown,
        everything,
        tuple(range(seed, seed + SEEDS)) if profile == "full" else (seed,),
        steps,
        folder,
        usual_steps,
    )


def missing(
    methods: Methods,
    known: pd.DataFrame | None,
    *,
    items: Sequence[EditItem],
    seeds: Sequence[int],
    models: Models,
    features: object = None,
) -> Methods:
    """Those of `methods` of which a cell is not recorded, or was made of anything else.

    The processor alone may be another: full runs are shared between machines. Without `features`
    only edits are asked for, whatever scored them.
    """
    if known is None or any(name not in known for name in records.PROVENANCE):
        return methods
    fitted = cache.fitted(items, models)
    contents = {(item.id, records.item_hash(item)) for item in fitted}
    needed = {}
    for label, (method, settings) in methods.items():
        facts = records.provenance(
            models, settings=settings, seed=0, code=METHODS[method].code, features=features
        )
        asked = ("settings", "weights", "scheduler", "code")
        facts = {name: facts[name] for name in (*asked, *["instruments"] * (features is not None))}
        stands = known[(known["method"] == label) & records.same(known, facts)]
        some = seeds[:1] if method in cache.WITHOUT_NOISE else seeds
        cells = {(name, content, seed) for name, content in contents for seed in some}
        if not cells <= set(zip(stands["id"], stands["item"], stands["seed"], strict=True)):
            needed[label] = (method, settings)
    return needed


def _encoders(models: Models) -> str:
    """The miniature is scored by its own encoders, everything else by the real ones."""
    return "miniature" if models.name == "miniature" else "real"
