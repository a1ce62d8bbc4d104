"""Where the change outside goes: how far from the region it lands, and on what.

Every pixel outside of the true region belongs to one ring of distance and to one meaning: a thing
that the instruction's words could fit as well, another thing, or the setting. If an instruction
strayed because its words also fit other things, those would change most; if it strayed because
latents and convolutions smear, the nearest ring would.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool
from scipy import ndimage

from cirp.experiments import cache, configurations, factorial, records
from cirp.experiments.engine import AT_ONCE, Cell, Experiment, Job, planned
from cirp.metrics import similarity
from cirp.metrics.regions import average, split
from cirp.miniature import export
from cirp.miniature.pairs import Pair
from cirp.miniature.scene import Thing
from cirp.miniature.scene import mask as seen_of
from cirp.statistics.bootstrap import mean_interval, paired_interval

Region = Bool[np.ndarray, "row column"]
EDGES = (4, 12, 24, 48)  # pixels from the region; the guard band of regions.split is left out
ALIKE, OTHERS, SETTING = "things it could mean, too", "other things", "the setting"
MEANINGS = (ALIKE, OTHERS, SETTING)
SHOWN = (
    configurations.BASELINE, configurations.NOISY, "FoI (re-implementation)", "Watch Your Steps",
    configurations.OURS,
)  # fmt: skip
COLUMNS = (
    "id", "edit_type", "method", "by", "part", "pixels", "change", *records.PROVENANCE,
)  # fmt: skip
FEW = 10  # edits; of fewer that have a part nothing is said
CODE = 1  # raise it when parts or the measure change


def rings(region: Region) -> dict[str, Region]:
    """Return the outside of a region by distance from it, in pixels."""
    outside = split(region, shape=region.shape).outside
    away = ndimage.distance_transform_edt(~region)
    bounds = [0, *EDGES, np.inf]
    found = {}
    for low, high in zip(bounds, bounds[1:], strict=False):
        name = f"over {low} px" if np.isinf(high) else f"up to {high} px"
        found[name] = outside & (away > low) & (away <= high)
    return found


def edited(pair: Pair) -> list[Thing]:
    """The things that the edit changes: those of either scene that the other does not have."""
    before, after = list(pair.source.everything()), list(pair.target.everything())
    return [t for t in before if t not in after] + [t for t in after if t not in before]


def could_mean(pair: Pair) -> list[Thing]:
    """Untouched things that the words fit as well: of the edited thing's kind, or, where a state is
    changed, with that attribute ("make it red" fits all that have a colour)."""
    changed = edited(pair)
    kinds, before, after = {t.kind for t in changed}, pair.source, pair.target
    attributes = set()
    if pair.kind.startswith("change"):
        states = [{s for t in side.everything() for s in t.states} for side in (before, after)]
        attributes = {name for name, _ in states[0] ^ states[1]}
    return [
        t for t in before.everything()
        if t not in changed and (t.kind in kinds or attributes & {name for name, _ in t.states})
    ]  # fmt: skip


def meanings(pair: Pair, region: Region) -> dict[str, Region]:
    """Return the outside of a region by what is seen there."""
    outside = split(region, shape=region.shape).outside
    changed, alike = edited(pair), could_mean(pair)
    found = {name: np.zeros_like(outside) for name in MEANINGS}
    for one in pair.source.everything():
        if one in changed:
            continue
        name = ALIKE if any(one is other for other in alike) else OTHERS
        found[name] |= seen_of(pair.source, one) & outside
    found[SETTING] = outside & ~found[ALIKE] & ~found[OTHERS]
    for one in changed:  # what is left of the edited thing itself outside is no setting
        if any(one is thing for thing in pair.source.everything()):
            found[SETTING] &= ~seen_of(pair.source, one)
    return found


def measure(job: Job, cell: Cell) -> pd.DataFrame:
    """Measure the change in each part of the outside, less the autoencoder's: a row a part."""
    items = cache.fitted(job.items, job.models)
    factorial.check_local(items)
    made = cache.edits(
        job.models, items, cell.method, settings=cell.settings, batch_size=AT_ONCE, progress=False
    )
    rows = []
    trips = cache.edits(job.models, items, "round trip", progress=False)
    for item, edit, trip in zip(items, made, trips, strict=True):
        region, source = item.mask(), similarity.to_array(item.source())
        excess = similarity.change(similarity.to_array(edit.image), source)
        excess = excess - similarity.change(similarity.to_array(trip.image), source)
        pair = export.drawn_pair(item.record)
        parts = {"distance": rings(region), "meaning": meanings(pair, region)}
        rows += [
            {"id": item.id, "edit_type": item.record.edit_type, "by": by, "part": part,
             "pixels": float(where.mean()), "change": average(excess, where)}
            for by, some in parts.items() for part, where in some.items()
        ]  # fmt: skip
    return pd.DataFrame(rows)


def cells(steps: int = configurations.STEPS) -> list[Cell]:
    """Return the methods of the chapter, each as it is shown elsewhere."""
    known = configurations.automatic(steps)
    return [Cell(name, *known[name]) for name in SHOWN]


EXPERIMENT = Experiment(
    "strays", cells, planned("test", local=True), columns=COLUMNS, measure=measure,
    code=f"{{method}}, strays {CODE}", scored=False, checked=("change", "pixels"),
)  # fmt: skip


def wide(table: pd.DataFrame, by: str, method: str) -> pd.DataFrame:
    """Edits by parts: the change there; empty where an edit has no such part."""
    mine = table[(table["by"] == by) & (table["method"] == method)]
    parts = list(dict.fromkeys(mine["part"]))
    return mine.pivot_table(index="id", columns="part", values="change", dropna=False)[parts]


def profile(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Methods by parts: mean change with its interval, and of how many edits."""
    rows = []
    for method in dict.fromkeys(table["method"]):
        for part, values in wide(table, by, method).items():
            found = mean_interval(values.to_numpy(float))
            rows.append({"method": method, "part": part, **found._asdict()})
    return pd.DataFrame(rows)


def difference(table: pd.DataFrame, by: str, method: str, first: str, second: str):
    """The interval of the change in one part minus that in another, over edits that have both."""
    both = wide(table, by, method)
    return paired_interval(both[first].to_numpy(float), both[second].to_numpy(float))
