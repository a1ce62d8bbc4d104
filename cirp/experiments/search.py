"""The same budget of settings for every contender, chosen on validation edits alone.

`BUDGET` candidates each, one of them the paper's own. The rule is one number for all: edit success
and outside change, each relative to the baseline's on the same edits; success is to be kept and
change to go, so `utility` = success / baseline's - change / baseline's. The candidates of *remap*
are its log of ideas too: what failed is in the table.
"""

import json
from collections.abc import Mapping

import pandas as pd

from cirp.data.edits import load_edits
from cirp.diffusion.pipelines import has_bfloat16_units, load
from cirp.experiments import cache, configurations, records
from cirp.metrics.features import load_features
from cirp.miniature import export
from cirp.paths import RESULTS
from cirp.statistics.bootstrap import PRIMARY, average_seeds

TABLE = RESULTS / "search.csv"
BUDGET = 6
EDITS = 24

CANDIDATES: Mapping[str, list[dict]] = {
    "Prompt-to-Prompt": [
        {}, dict(self_replace=0.4), dict(self_replace=0.8), dict(cross_replace=0.8),
        dict(strength=0.9), dict(text_scale=12.0),
    ],
    "FoI (re-implementation)": [
        {}, dict(threshold=0.1), dict(threshold=0.4), dict(borrow=False), dict(weight=0.3),
        dict(borrow=False, text_scale=10.0),
    ],
    "LIME": [
        {}, dict(text_scale=4.0), dict(text_scale=7.5), dict(points=8), dict(clusters=5),
        dict(text_scale=4.0, share=0.5),
    ],
    "DenseDiffusion": [
        {}, dict(cross_weight=0.5), dict(cross_weight=2.0), dict(share=0.6),
        dict(threshold=0.3), dict(threshold=0.3, text_scale=10.0),
    ],
    "attention refocusing": [
        {}, dict(threshold=0.3), dict(step_size=(30.0, 20.0)), dict(step_size=(300.0, 200.0)),
        dict(threshold=0.3, step_size=(30.0, 20.0)), dict(threshold=0.3, text_scale=10.0),
    ],
    "ASG": [  # the miniature's maps are so even that the paper's 1.5 always abstains
        {}, dict(abstain=1.1), dict(abstain=1.1, hold="inside"), dict(abstain=1.1, slope=5.0),
        dict(abstain=1.1, high_image=2.0), dict(abstain=1.1, high_image=2.0, text_scale=10.0),
    ],
    "LEDITS++ mask": [
        {}, dict(quantile=0.7), dict(quantile=0.5), dict(quantile=0.8),
        dict(quantile=0.7, sigma=1.0), dict(quantile=0.5, text_scale=10.0),
    ],
    "LOCATEdit mask": [
        {}, dict(threshold=0.4), dict(threshold=0.5), dict(threshold=0.6),
        dict(strides=(1, 2), threshold=0.5), dict(text_scale=10.0),
    ],
    "ZONE mask": [
        {}, dict(threshold=0.5), dict(threshold=0.6), dict(strides=(1,)), dict(strides=(2,)),
        dict(text_scale=10.0),
    ],
    "Watch Your Steps": [
        {}, dict(threshold=0.3), dict(threshold=0.4), dict(level=0.9),
        dict(level=0.9, threshold=0.3), dict(level=0.9, threshold=0.3, text_scale=10.0),
    ],
    "DiffEdit": [
        {}, dict(threshold=0.3), dict(threshold=0.4), dict(strength=0.9), dict(text_scale=12.0),
        dict(strength=0.9, text_scale=12.0),
    ],
    "latent blending, words' mask": [
        {}, dict(threshold=0.3), dict(threshold=0.5), dict(threshold=0.6), dict(share=0.5),
        dict(threshold=0.5, text_scale=10.0),
    ],
    configurations.OURS: [
        {}, dict(weight=0.0), dict(grow=0.8), dict(grow=1.3), dict(text_scale=10.0),
        dict(text_scale=12.0),
    ],
}  # fmt: skip


def candidates(
    steps: int = configurations.STEPS, only: str | None = None
) -> dict[str, tuple[str, Mapping]]:
    """Every candidate under the name "contender | its own settings", and the baseline.

    Raises `ValueError` if there is no contender `only`.
    """
    if only is not None and only not in CANDIDATES:
        raise ValueError(f"no contender {only!r}; there are {', '.join(CANDIDATES)}")
    usual = configurations.found(steps, chosen={})
    found = {configurations.BASELINE: usual[configurations.BASELINE]}
    for name in CANDIDATES if only is None else [only]:
        method, settings = usual[name]
        for own in CANDIDATES[name]:
            found[f"{name} | {json.dumps(own)}"] = (method, {**settings, **own})
    return found


def utility(table: pd.DataFrame) -> pd.DataFrame:
    """One row per candidate: means over the edits, and the number the choice is made by."""
    images = average_seeds(table, ["success", PRIMARY, "region_iou"])
    means = images.groupby("method", sort=False)[["success", PRIMARY, "region_iou"]].mean()
    base = means.loc[configurations.BASELINE]
    means["utility"] = means["success"] / base["success"] - means[PRIMARY] / base[PRIMARY]
    tied = table.groupby("method", sort=False)[list(records.PROVENANCE)].first()
    tied["item"] = records.short_hash(sorted(table["item"].astype(str).unique()))
    return means.join(tied).reset_index()


def ordered(scored: pd.DataFrame) -> pd.DataFrame:
    """The rows in the candidates' order, the baseline first; those of no contender come last."""
    names = [configurations.BASELINE, *CANDIDATES]
    places = scored["method"].map(
        lambda label: next((i for i, name in enumerate(names) if label.split(" | ")[0] == name), 99)
    )
    return scored.iloc[places.argsort(kind="stable")]


def choose(scored: pd.DataFrame) -> dict[str, dict]:
    """The candidate of the highest utility of each contender, as its own settings."""
    found = {}
    for name in CANDIDATES:
        mine = scored[scored["method"].str.startswith(f"{name} | ")]
        if len(mine):
            best = mine.loc[mine["utility"].idxmax(), "method"]
            found[name] = json.loads(best.split(" | ", 1)[1])
    return found


def search(
    *,
    models: str = "miniature",
    count: int = EDITS,
    shard: int = 0,
    shards: int = 1,
    only: str | None = None,
) -> pd.DataFrame | None:
    """Run every candidate on the first `count` validation edits; the last process writes.

    With several shards each process computes its share of the edits, and the one that is started
    without (`shards=1`) afterwards finds all cells and writes the table and the choice. With `only`
    one contender's rows and choice are renewed, and the others' stay.
    """
    tried = candidates(only=only)
    loaded = load(models, bfloat16=has_bfloat16_units())
    folder = export.drawn("validation", count)
    items = [item for item in load_edits(folder) if not item.record.is_global][shard::shards]
    if shards > 1:
        for label, (method, settings) in tried.items():
            print(label, flush=True)
            cache.edits(
                loaded, cache.fitted(items, loaded), method, settings=settings, batch_size=24
            )
        return None
    scored = utility(cache.table(loaded, items, tried, load_features("miniature")))
    chosen = choose(scored)
    if only is not None:
        known = records.read(TABLE)
        others = known[~known["method"].str.startswith(f"{only} | ")]
        mine = scored[scored["method"] != configurations.BASELINE]
        scored, chosen = ordered(pd.concat([others, mine])), configurations.searched() | chosen
    records.write(TABLE, scored, digits=5)
    configurations.choose(chosen)
    return scored
