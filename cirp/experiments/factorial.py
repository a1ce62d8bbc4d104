"""Region times hold: what finding a place is worth, what holding it is, and by what means.

Every masked method is a region and something that is held outside of it. Here the two are crossed,
on local edits, at one pair of scales: regions that are true, found by each method, of another
picture, or turned inside out (where the region is everything, nothing is held: the baseline); held
are guidance, cross-attention, self-attention, the latents, or all of them; and every picture is
scored as it is and with the source's own pixels pasted outside, which is free.

The same runs answer for causes: guidance alone, gated by the true place, by its complement, by
another picture's, by the same dose without a place, and by nothing at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool
from PIL import Image

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache, configurations, frontiers, records
from cirp.experiments.controls import round_trips
from cirp.experiments.drawn import local_edits, right_answers
from cirp.methods import METHODS
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import score_all
from cirp.miniature.grammar import WHOLE_PICTURE
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, paired_interval

HOLDS: Mapping[str, dict[str, bool]] = {
    "guidance": dict(guidance_held=True),
    "cross-attention": dict(cross_held=True),
    "self-attention": dict(self_held=True),
    "latents": dict(latents_held=True),
    "guidance and latents": dict(guidance_held=True, latents_held=True),
    "all": dict(guidance_held=True, cross_held=True, self_held=True, latents_held=True),
}
FINDERS = (configurations.OURS, "DiffEdit", "Watch Your Steps")  # whose regions are crossed, too
COLUMNS = (
    "id", "edit_type", "method", "region", "held", "pasted", *records.PROVENANCE, "success",
    "success_soft", "kept_seen", "nearer", "answer_distance", PRIMARY, "l1_source",
    "l1_target_inside", "clip_i_source", "dinov2_source",
)  # fmt: skip
TRUE, SHUFFLED, INVERSE = "true", "another picture's", "inverse"
NOWHERE, EVEN = "nowhere", "same dose, no place"
Region = Bool[np.ndarray, "row column"]


@dataclass(frozen=True)
class Placed(EditItem):
    """An edit whose mask is another than its own."""

    region: Region | None = None

    def mask(self) -> Region | None:
        return self.region


def placed(items: Sequence[EditItem], regions: Sequence[Region]) -> list[Placed]:
    """The edits with these regions as their masks."""
    return [
        Placed(item.record, item.folder, item.fitted, region)
        for item, region in zip(items, regions, strict=True)
    ]


def shuffled(regions: Sequence[Region]) -> list[Region]:
    """Each edit's region is the next one's whose area is most alike: the dose stays, about."""
    order = sorted(range(len(regions)), key=lambda i: int(regions[i].sum()))
    found: list[Region | None] = [None] * len(regions)
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        found[here] = regions[there]
    return found


def given_regions(items: Sequence[EditItem]) -> dict[str, list[Region]]:
    """The regions that need no method."""
    true = [item.mask() for item in items]
    return {
        TRUE: true,
        SHUFFLED: shuffled(true),
        INVERSE: [~region for region in true],
    }


def found_regions(
    models: Models, items: Sequence[EditItem], names: Sequence[str], steps: int
) -> dict[str, list[Region]]:
    """The regions that each of these methods finds by itself."""
    known = configurations.found(steps)
    regions = {}
    for name in names:
        method, settings = known[name]
        made = cache.edits(models, items, method, settings=settings, progress=False)
        regions[name] = [np.asarray(edit.mask) > 127 for edit in made]
    return regions


def pasted(edited: Image.Image, source: Image.Image, region: Region) -> Image.Image:
    """The source's own pixels outside of the region."""
    return Image.composite(edited, source, Image.fromarray(region))


def cells(
    regions: Mapping[str, Sequence[Region]], holds: Mapping[str, Mapping[str, bool]] = HOLDS
) -> list[tuple[str, str, dict]]:
    """Every combination: region, what is held, settings; and the gates without a place."""
    found = [(region, hold, dict(own)) for region in regions for hold, own in holds.items()]
    found += [(EVEN, "guidance", dict(guidance_held=True, dose="even"))]
    return found


def check_local(items: Sequence[EditItem]) -> None:
    """Refuse edits that have no outside, or none that is known."""
    for item in items:
        if item.mask() is None or item.record.edit_type in WHOLE_PICTURE:
            raise ValueError(f"{item.id}: only local edits with a mask can be held outside of it")


def items() -> list[EditItem]:
    """The planned local test edits; drawn if need be."""
    return local_edits(frontiers.items())


@dataclass(frozen=True)
class Run:
    """One column of the factorial: where which edits are held, and by what."""

    region: str
    held: str
    method: str
    settings: dict
    items: list[EditItem]  # with the region as their mask
    where: list[Region]


def runs(
    models: Models,
    items: Sequence[EditItem],
    chosen: Sequence[int],
    *,
    names: Sequence[str] = FINDERS,
    steps: int = configurations.STEPS,
) -> list[Run]:
    """All runs of the chosen items. Regions of other pictures are taken from all of them.

    Raises `ValueError` if an edit has no mask or changes the whole picture.
    """
    check_local(items)
    fitted = cache.fitted(items, models)
    some = [fitted[i] for i in chosen]
    scales = dict(
        steps=steps, text_scale=configurations.TEXT_SCALE, image_scale=configurations.IMAGE_SCALE
    )
    given = {name: [found[i] for i in chosen] for name, found in given_regions(fitted).items()}
    regions = given | found_regions(models, some, names, steps)
    true = regions[TRUE]
    found = [Run("", "", "ip2p", scales, some, [np.ones_like(region) for region in true])]
    nowhere = [np.zeros_like(region) for region in true]
    held = [(name, hold, own, regions.get(name, true)) for name, hold, own in cells(regions)]
    for name, hold, own, where in [*held, (NOWHERE, "guidance", HOLDS["guidance"], nowhere)]:
        found.append(Run(name, hold, "held", scales | own, placed(some, where), list(where)))
    return found


def fill(models: Models, items: Sequence[EditItem], chosen: Sequence[int]) -> None:
    """Compute and keep every edit of the chosen items."""
    for run in runs(models, items, chosen):
        print(f"{run.region or 'baseline'}: {run.held}", flush=True)
        cache.edits(
            models, run.items, run.method, settings=run.settings, batch_size=24, progress=False
        )


def measured(
    models: Models, items: Sequence[EditItem], chosen: Sequence[int], features: FeatureExtractor,
    *, shown: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """One row per edit, region, hold and pasting; `method` is the baseline where nothing is held.

    `shown`: only the true region.
    """
    every = runs(models, items, chosen, names=() if shown else FINDERS)
    plain = every[0].items
    sources = [item.source() for item in plain]
    shared = dict(round_trips=round_trips(sources, models), answers=right_answers(plain))
    hashes = [records.item_hash(item) for item in plain]
    parts = []
    for run in every:
        if shown and run.region not in ("", TRUE):
            continue
        made = cache.edits(
            models, run.items, run.method, settings=run.settings, batch_size=24, progress=False
        )
        as_made = [edit.image for edit in made]
        over = [pasted(*one) for one in zip(as_made, sources, run.where, strict=True)]
        tied = records.provenance(
            models,
            settings=run.settings,
            seed=0,
            code=METHODS[run.method].code,
            features=features,
        )
        for images, paste in ((as_made, False), (over, True)):
            if paste and not run.region:
                continue
            part = score_all(plain, images, features, **shared)
            parts.append(
                part.assign(
                    **tied | {"item": hashes}, method=run.method, region=run.region,
                    held=run.held, pasted=paste,
                )[list(COLUMNS)]
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def against_baseline(table: pd.DataFrame) -> pd.DataFrame:
    """One row per region, hold and pasting: success and outside change, and how far they are from
    the baseline's, paired by image, with 95 % intervals."""
    base = table[table["region"].fillna("") == ""].set_index("id")
    rows = []
    groups = table[table["region"].fillna("") != ""].groupby(
        ["region", "held", "pasted"], sort=False
    )
    for (region, held, paste), part in groups:
        part = part.set_index("id").loc[base.index]
        row = {"region": region, "held": held, "pasted": paste, "n": len(part)}
        for name, label in ((SUCCESS, "success"), (PRIMARY, "outside")):
            row[label] = float(part[name].mean())
            sides = (one[name].to_numpy(float) for one in (part, base))
            by = paired_interval(*sides, metric=name)
            row |= {f"{label} - baseline": by.mean, f"{label}, low": by.low,
                    f"{label}, high": by.high}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def apart(row: pd.Series, name: str) -> tuple[float, float, float]:
    """The difference from the baseline in "success" or "outside" of such a row, and its bounds."""
    return row[f"{name} - baseline"], row[f"{name}, low"], row[f"{name}, high"]
