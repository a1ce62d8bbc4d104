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
from cirp.experiments import cache, configurations, guidance, records
from cirp.experiments.controls import round_trips
from cirp.experiments.drawn import right_answers
from cirp.methods import METHODS
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import score_all

HOLDS: Mapping[str, dict[str, bool]] = {
    "guidance": dict(guidance_held=True),
    "cross-attention": dict(cross_held=True),
    "self-attention": dict(self_held=True),
    "latents": dict(latents_held=True),
    "guidance and latents": dict(guidance_held=True, latents_held=True),
    "all": dict(guidance_held=True, cross_held=True, self_held=True, latents_held=True),
}
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
        made = cache.edits(models, items, method, settings=settings)
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
        if item.mask() is None or item.record.edit_type in guidance.GLOBAL:
            raise ValueError(f"{item.id}: only local edits with a mask can be held outside of it")


def table(
    models: Models,
    items: Sequence[EditItem],
    features: FeatureExtractor,
    *,
    names: Sequence[str] = (),
    text_scale: float,
    image_scale: float,
    steps: int = configurations.STEPS,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per edit, region, hold and pasting; `method` is the baseline where nothing is held.

    `items` are local edits with masks; `names` methods whose found regions are crossed, too.

    Raises `ValueError` if an edit has no mask or changes the whole picture.
    """
    check_local(items)
    items = cache.fitted(items, models)
    scales = dict(steps=steps, text_scale=text_scale, image_scale=image_scale)
    regions = given_regions(items) | found_regions(models, items, names, steps)
    sources = [item.source() for item in items]
    shared = dict(round_trips=round_trips(sources, models), answers=right_answers(items))
    hashes = [records.item_hash(item) for item in items]
    parts = []

    def add(images: Sequence[Image.Image], method: str, settings: Mapping, **columns) -> None:
        tied = records.provenance(models, settings=settings, seed=seed, code=METHODS[method].code)
        part = score_all(items, images, features, **shared)
        parts.append(part.assign(**tied | {"item": hashes}, method=method, **columns))

    made = cache.edits(models, items, "ip2p", seeds=[seed], settings=scales)
    add([e.image for e in made], "ip2p", scales, region="", held="", pasted=False)
    nowhere = [np.zeros_like(region) for region in regions[TRUE]]
    runs = [
        (name, hold, own, regions.get(name, regions[TRUE])) for name, hold, own in cells(regions)
    ]
    for name, hold, own, where in [*runs, (NOWHERE, "guidance", HOLDS["guidance"], nowhere)]:
        settings = scales | own
        made = cache.edits(models, placed(items, where), "held", seeds=[seed], settings=settings)
        plain = [edit.image for edit in made]
        over = [pasted(*one) for one in zip(plain, sources, where, strict=True)]
        for images, paste in ((plain, False), (over, True)):
            add(images, "held", settings, region=name, held=hold, pasted=paste)
    return pd.concat(parts, ignore_index=True)
