"""Region times hold: what finding a place is worth, what holding it is, and by what means.

Every masked method is a region and something that is held outside of it. Here the two are crossed,
on local edits, at one pair of scales: regions that are true, found by each method, of another
picture, or turned inside out (where the region is everything, nothing is held: the baseline); held
are guidance, cross-attention, self-attention, the latents, or all of them; and every picture is
scored as it is and with the source's own pixels pasted outside, which is free.

The same runs answer for causes: guidance alone, gated by the true place, by its complement, by
another picture's, by the same dose without a place, and by nothing at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Bool

from cirp.data.edits import EditItem
from cirp.experiments import cache, configurations, records
from cirp.experiments.engine import Cell, Experiment, Job, planned, scores
from cirp.methods import METHODS
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
Regions = Callable[[Job], Sequence[Region]]


def shuffled(regions: Sequence[Region]) -> list[Region]:
    """Return for each edit the region of another, the next larger one: the dose stays, about."""
    order = sorted(range(len(regions)), key=lambda i: int(regions[i].sum()))
    found: list[Region | None] = [None] * len(regions)
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        found[here] = regions[there]
    return found


def check_local(items: Sequence[EditItem]) -> None:
    """Refuse edits that have no outside, or none that is known."""
    for item in items:
        if item.mask() is None or item.record.edit_type in WHOLE_PICTURE:
            raise ValueError(f"{item.id}: only local edits with a mask can be held outside of it")


def true(job: Job) -> list[Region]:
    """Return the regions that should change."""
    items = cache.fitted(job.items, job.models)
    check_local(items)
    return [item.mask() for item in items]


def of_others(job: Job) -> list[Region]:
    """Return regions of other pictures, of about the same size; all edits take part."""
    every = replace(job, items=job.everything)
    places = {item.id: n for n, item in enumerate(job.everything)}
    found = shuffled(true(every))
    return [found[places[item.id]] for item in job.items]


def found_by(label: str, steps: int) -> Regions:
    """Return what finds the regions of a method by itself."""
    method, settings = configurations.automatic(steps)[label]

    def regions(job: Job) -> list[Region]:
        items = cache.fitted(job.items, job.models)
        made = cache.edits(job.models, items, method, settings=settings, progress=False)
        return [np.asarray(edit.mask) > 127 for edit in made]

    return regions


def made_by(label: str, steps: int) -> str:
    """Return what rows record of the method whose regions they are given."""
    method, settings = configurations.automatic(steps)[label]
    known = records.short_hash(cache.completed(method, settings))
    return f" in regions of {METHODS[method].code} {known}"


def cells(steps: int = configurations.STEPS) -> Iterator[Cell]:
    """Yield the baseline, every region with everything held outside of it, and doses without place.

    `region` and `held` are empty where nothing is held.
    """
    scales = dict(
        steps=steps, text_scale=configurations.TEXT_SCALE, image_scale=configurations.IMAGE_SCALE
    )
    yield Cell("ip2p", "ip2p", scales, dict(region="", held=""))
    regions: Mapping[str, Regions] = {
        TRUE: true,
        SHUFFLED: of_others,
        INVERSE: lambda job: [~region for region in true(job)],
        **{label: found_by(label, steps) for label in FINDERS},
        EVEN: true,
        NOWHERE: lambda job: [np.zeros_like(region) for region in true(job)],
    }
    for region, where in regions.items():
        for held, own in HOLDS.items():
            if region in (EVEN, NOWHERE) and held != "guidance":
                continue
            dose = dict(dose="even") if region == EVEN else {}
            yield Cell(
                "held", "held", scales | own | dose, dict(region=region, held=held),
                regions=where, in_slice=region == TRUE,
                regions_by=made_by(region, steps) if region in FINDERS else "",
            )  # fmt: skip


def _scores(job: Job, cell: Cell) -> pd.DataFrame:
    pasted = cell.regions is not None
    rows = scores(job, cell, paste=pasted)
    return rows if pasted or rows.empty else rows.assign(pasted=False)


EXPERIMENT = Experiment(
    "factorial", cells, planned("test", local=True), columns=COLUMNS, measure=_scores,
    checked=("success", PRIMARY, "clip_i_source"),
)  # fmt: skip


def against_baseline(table: pd.DataFrame) -> pd.DataFrame:
    """Return success and outside change, and how far they are from the baseline's.

    A row a region, constraint and pasting; differences are intervals, paired by image.
    """
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
            row[f"{label} - baseline"] = paired_interval(*sides, metric=name)
        rows.append(row)
    return pd.DataFrame(rows)
