"""The book's experiments: which methods, settings, images and seeds, computed or read.

A *full* study (all images, five seeds) writes its tables to `data/results/`. Rows that stand there
with the same settings, seeds and weights are kept; to compute a table anew, delete it. A *quick*
study computes the same cells for the ten examples and one seed, checks that they agree with the
recorded table, and then reads that table: so the figures always show the full run, and no number
can go stale unnoticed.
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cirp.data.edits import EditItem, load_edits
from cirp.diffusion.pipelines import Models, has_bfloat16_units, load, load_tokenizer
from cirp.diffusion.tasks import Edit
from cirp.experiments import cache, configurations
from cirp.methods.references import blend
from cirp.metrics.features import Features, load_features
from cirp.metrics.scores import score_all
from cirp.paths import RESULTS, ROOT

EDITS = "data/edits"
SEEDS = 5
SAME, OTHER = 2e-3, 5e-2  # mean difference of a score allowed on the same and another processor
CHECKED = ("clip_i_source", "dinov2_source", "l1_source", "success_soft")

Methods = Mapping[str, tuple[str, Mapping]]

BASELINE, NOISY = "InstructPix2Pix", "noisy input"
NOTHING, TRIP = "do nothing", "autoencoder alone"
SWEEP_STEPS = 20  # what that costs against 150 is shown in the chapter on sweeps


def main_methods(steps: int) -> Methods:
    """The report's two systems as it set them, and the controls."""
    return {
        BASELINE: ("ip2p", dict(steps=steps, text_scale=7.5, image_scale=1.5)),
        NOISY: (
            "noisy",
            dict(variant="text-to-image", steps=steps, strength=0.5, text_scale=12.0),
        ),
        NOTHING: ("nothing", {}),
        TRIP: ("round trip", {}),
    }


def sweep_methods(steps: int = SWEEP_STEPS) -> Methods:
    """Guidance and strength, one dial at a time around the report's settings."""
    found: dict[str, tuple[str, Mapping]] = {}
    for text in (2.0, 4.0, 7.5, 12.0):
        found[f"baseline: text {text:g}, image 1.5"] = (
            "ip2p",
            dict(steps=steps, text_scale=text, image_scale=1.5),
        )
    for image in (1.0, 2.0, 3.0):
        found[f"baseline: text 7.5, image {image:g}"] = (
            "ip2p",
            dict(steps=steps, text_scale=7.5, image_scale=image),
        )
    for text in (12.0, 15.0):
        for strength in (0.4, 0.5, 0.55, 0.7, 0.9):
            found[f"noisy: strength {strength:g}, text {text:g}"] = (
                "noisy",
                dict(variant="text-to-image", steps=steps, strength=strength, text_scale=text),
            )
    return found


def ablation_methods(steps: int = SWEEP_STEPS) -> Methods:
    """2 x 2 x 2: what the report changed at once, on one and the same InstructPix2Pix UNet."""
    found: dict[str, tuple[str, Mapping]] = {}
    for text in (7.5, 12.0):
        for prompt in ("instruction", "caption"):
            found[f"concatenated | {text:g} | {prompt}"] = (
                "ip2p",
                dict(steps=steps, text_scale=text, image_scale=1.5, prompt=prompt),
            )
            found[f"noised | {text:g} | {prompt}"] = (
                "noisy",
                dict(
                    variant="instruct-pix2pix",
                    steps=steps,
                    strength=0.5,
                    text_scale=text,
                    prompt=prompt,
                ),
            )
    return found


def reading_methods(steps: int = SWEEP_STEPS) -> Methods:
    """Every reading of the report's "image 0.4-0.55, text guidance 12-15"."""
    noisy = dict(steps=steps, text_scale=12.0)
    return {
        "baseline 7.5 / 1.5": ("ip2p", dict(steps=steps, text_scale=7.5, image_scale=1.5)),
        "strength 0.5, text-to-image UNet, caption": (
            "noisy",
            dict(variant="text-to-image", strength=0.5, **noisy),
        ),
        "strength 0.5, InstructPix2Pix UNet, instruction": (
            "noisy",
            dict(variant="instruct-pix2pix", strength=0.5, prompt="instruction", **noisy),
        ),
        "image scale 0.5, taken at its word": (
            "ip2p",
            dict(steps=steps, text_scale=12.0, image_scale=0.5),
        ),
        "image scale 0.5, as diffusers runs it: 1 / 1": (
            "ip2p",
            dict(steps=steps, text_scale=1.0, image_scale=1.0),
        ),
    }


def step_methods() -> Methods:
    """The baseline and our own with fewer and more steps: when does it stop to matter?"""
    method, own = configurations.found()[configurations.OURS]
    return {
        f"{steps} steps": ("ip2p", dict(steps=steps, text_scale=7.5, image_scale=1.5))
        for steps in (5, 10, 20, 50, 150)
    } | {
        f"{configurations.OURS}, {steps} steps": (method, {**own, "steps": steps})
        for steps in (5, 10, 20, 50)
    }


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

    @property
    def is_default(self) -> bool:
        """Whether recorded tables speak of these edits and models."""
        same = Path(self.folder).resolve() == (ROOT / EDITS).resolve()
        return same and self.models.name == "miniature" and self.seeds[0] == 0

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
            both = main_methods(self.steps)
            methods = {name: both[name] for name in (BASELINE, NOISY)}
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
        known = recorded(name) if self.profile == "full" and self.is_default else None
        ids = [item.id for item in items]
        needed = missing(methods, known, ids=ids, seeds=seeds, weights=self.models.fingerprint)
        parts = []
        if needed:
            fresh = cache.table(
                self.models, items, needed, self.features, seeds=seeds, progress=False
            )
            fresh = fresh if columns is None else fresh[list(columns)]
            parts.append(fresh.assign(processor=processor()))
        if len(needed) < len(methods):
            stands = known["method"].isin(set(methods) - set(needed))
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
        if "processor" not in fresh:
            fresh = fresh.assign(processor=processor())
        path = RESULTS / f"{name}.csv"
        if self.profile == "full" and self.is_default:
            RESULTS.mkdir(parents=True, exist_ok=True)
            fresh.to_csv(path, index=False, float_format="%.6g")
            return pd.read_csv(path)
        known = recorded(name) if self.is_default else None
        if known is None:
            return fresh
        agreement(fresh, known, path, checked=checked)
        return known

    def blends(self, alphas: Sequence[float]) -> pd.DataFrame:
        """The baseline's outputs mixed with their inputs: the control every method must beat."""
        method, settings = main_methods(self.steps)[BASELINE]
        made = cache.edits(
            self.models, self.items, method, seeds=self.seeds[:1], settings=settings, progress=False
        )
        trips = cache.edits(self.models, self.items, "round trip", progress=False)
        sources = [item.source() for item in self.items]
        parts = []
        for alpha in alphas:
            mixed = [blend(e.image, s, alpha=alpha) for e, s in zip(made, sources, strict=True)]
            part = score_all(self.items, mixed, self.features, round_trips=[t.image for t in trips])
            parts.append(part.assign(method="blend", seed=self.seeds[0], alpha=alpha))
        fresh = pd.concat(parts, ignore_index=True)
        path = RESULTS / "blends.csv"
        if self.profile == "full" and self.is_default:
            fresh.to_csv(path, index=False, float_format="%.6g")
        elif self.is_default and path.exists():
            return pd.read_csv(path)
        return fresh


def open_study(
    *,
    profile: str = "quick",
    edits: str = EDITS,
    models: str = "miniature",
    device: str = "cpu",
    seed: int = 0,
    steps: int = 150,
) -> Study:
    """Check everything, then load it.

    Raises `ValueError` in one line for an unknown profile, bad edits or unknown models.
    """
    if profile not in ("quick", "full"):
        raise ValueError(f"profile={profile!r}; give 'quick' or 'full'")
    if steps < 1:
        raise ValueError(f"steps={steps}; give at least 1")
    folder = edits if Path(edits).is_absolute() else str(ROOT / edits)
    everything = load_edits(folder)
    cache.check_items(everything, load_tokenizer(models))
    loaded = load(models, device=device, bfloat16=device == "cpu" and has_bfloat16_units())
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
    )


def recorded(name: str) -> pd.DataFrame | None:
    """A table of the full study; None if it was not run yet."""
    path = RESULTS / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else None


def required(name: str) -> pd.DataFrame:
    """A table of the full run. Raises `ValueError` if it was not run yet."""
    table = recorded(name)
    if table is None:
        raise ValueError(f"{RESULTS / name}.csv is missing; run make full, or cirp search")
    return table


def missing(
    methods: Methods,
    known: pd.DataFrame | None,
    *,
    ids: Sequence[str],
    seeds: Sequence[int],
    weights: str,
) -> Methods:
    """Those of `methods` of which a cell is not recorded, or with other settings or weights."""
    if known is None:
        return methods
    known = known[(known["weights"].astype(str) == weights) & known["id"].isin(ids)]
    needed = {}
    for label, (method, settings) in methods.items():
        mine = known[known["method"] == label]
        same = mine[mine["settings"] == json.dumps(dict(settings), sort_keys=True)]
        some = seeds[:1] if method in cache.WITHOUT_NOISE else seeds
        cells = {(name, seed) for name in ids for seed in some}
        if not cells <= set(zip(same["id"], same["seed"], strict=True)):
            needed[label] = (method, settings)
    return needed


def cells(steps: int = 150) -> Iterator[tuple[str, Methods, int]]:
    """Everything a full study edits: experiment, its methods, number of seeds."""
    for name, methods, seeds in (
        ("main", lambda: main_methods(steps), SEEDS),
        ("readings", reading_methods, 1),
        ("ablation", ablation_methods, 1),
        ("sweeps", sweep_methods, 1),
        ("steps", step_methods, 1),
        ("methods", lambda: {**configurations.found(), **configurations.controls()}, 1),
        ("methods_told", configurations.told, 1),
        ("remap_ideas", configurations.ideas, 1),
    ):
        yield name, methods(), seeds


def fill(
    *, edits: str = EDITS, models: str = "miniature", shard: int = 0, shards: int = 1, seed: int = 0
) -> None:
    """Compute this process's share of the cells that a full study lacks; `make full` reads them.

    Start it `shards` times side by side; every finished cell is kept. Raises `ValueError` for a
    shard outside 0 to shards - 1.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard={shard} of {shards}; give 0 to {shards - 1}")
    some = load_edits(ROOT / edits)[shard::shards]
    loaded = load(models, bfloat16=has_bfloat16_units())
    some = cache.fitted(some, loaded)
    ids = [item.id for item in some]
    for name, methods, count in cells():
        seeds = range(seed, seed + count)
        needed = missing(methods, recorded(name), ids=ids, seeds=seeds, weights=loaded.fingerprint)
        for method, settings in needed.values():
            print(f"{name}: {method} {json.dumps(dict(settings))}", flush=True)
            cache.edits(loaded, some, method, seeds=seeds, settings=settings, batch_size=24)


def _encoders(models: Models) -> str:
    """The miniature is scored by its own encoders, everything else by the real ones."""
    return "miniature" if models.name == "miniature" else "real"


def processor() -> str:
    """What rounding depends on. The same seed gives the same numbers on the same processor."""
    units = "bfloat16 units" if has_bfloat16_units() else "float32"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {units}"


def agreement(
    fresh: pd.DataFrame, recorded: pd.DataFrame, path: Path, *, checked: Sequence[str] = CHECKED
) -> float:
    """The largest difference of the checked scores between fresh and recorded cells.

    Raises `ValueError` if a cell is missing, was made by other weights, or differs.
    """
    keys = ["id", "method", "seed"]
    weights = set(recorded["weights"].astype(str)) ^ set(fresh["weights"].astype(str))
    if weights:
        raise ValueError(
            f"{path} was made with other weights ({', '.join(weights)}); run make full"
        )
    both = fresh.merge(recorded, on=keys, suffixes=("", "_recorded"))
    if len(both) < len(fresh):
        raise ValueError(
            f"{path} lacks {len(fresh) - len(both)} of {len(fresh)} cells; run make full"
        )
    settings = both["settings"].map(json.loads) != both["settings_recorded"].map(json.loads)
    if settings.any():
        raise ValueError(f"{path} was made with other settings; run make full")
    alike = set(both["processor"]) == set(both["processor_recorded"])
    worst = 0.0
    for name in checked:
        gap = (both[name] - both[f"{name}_recorded"]).abs()
        if gap.mean() > (SAME if alike else OTHER):
            row = both.loc[gap.idxmax()]
            raise ValueError(
                f"{path}: {name} of {row['id']} by {row['method']} was "
                f"{row[f'{name}_recorded']:.4f} and is {row[name]:.4f} now; run make full"
            )
        worst = max(worst, float(np.nanmax(gap)))
    return worst


def bars() -> pd.DataFrame:
    """The miniature's own bars, as `python -m cirp.experiments.quality` recorded them."""
    path = RESULTS / "bars.csv"
    if not path.exists():
        raise ValueError(f"{path} is missing; run python -m cirp.experiments.quality")
    return pd.read_csv(path)


__all__ = [
    "BASELINE",
    "NOISY",
    "NOTHING",
    "TRIP",
    "Study",
    "ablation_methods",
    "agreement",
    "bars",
    "open_study",
    "main_methods",
    "reading_methods",
    "step_methods",
    "sweep_methods",
]
