"""All methods on 500 held-out test edits: one resumable command, and the table it leaves.

`cirp benchmark` computes the edits that are not recorded with the same settings and weights, in as
many processes as are started; the chapter's full run scores and records them, and every quick run
computes the first `SLICE` again.
"""

import json
from collections.abc import Mapping

import pandas as pd

from cirp.data.edits import EditItem, load_edits
from cirp.diffusion.pipelines import has_bfloat16_units, load
from cirp.experiments import cache, configurations, records, study
from cirp.experiments.study import Study
from cirp.miniature import export
from cirp.statistics.bootstrap import PRIMARY

EDITS = 500
SLICE = 4
TOLD = f"{configurations.OURS}, true mask"
COLUMNS = (
    "id", "edit_type", "method", "seed", "settings", "weights", "success", "success_soft",
    PRIMARY, "l1_source", "ssim_source_outside_excess",
    "feature_distance_dinov2_source_outside_excess", "l1_target", "l1_target_inside",
    "clip_i_source", "clip_i_target", "dinov2_source", "clip_t", "clip_direction", "region_iou",
    "abstained", "unet_calls", "seconds",
)  # fmt: skip


def methods(steps: int = configurations.STEPS) -> Mapping[str, tuple[str, Mapping]]:
    """Every contender by itself, two that are told the true region, and the controls."""
    told = configurations.told(steps)
    true = {name: told[name] for name in (configurations.TRUTH, TOLD)}
    return {**configurations.found(steps), **true, **configurations.controls(steps)}


def items(count: int = EDITS) -> list[EditItem]:
    """The first `count` edits of the test split, equally many of each kind; drawn if need be."""
    return load_edits(export.drawn("test", count))


def fill(
    *, models: str = "miniature", count: int = EDITS, shard: int = 0, shards: int = 1, seed: int = 0
) -> None:
    """Compute this process's share of the edits that are not recorded. Finished ones are kept.

    Raises `ValueError` for a shard outside 0 to shards - 1, or no edits.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard={shard} of {shards}; give 0 to {shards - 1}")
    if count < 1:
        raise ValueError(f"count={count}; give at least 1")
    loaded = load(models, bfloat16=has_bfloat16_units())
    some = cache.fitted(items(count)[shard::shards], loaded)
    known = records.recorded("benchmark")
    needed = study.missing(methods(), known, items=some, seeds=[seed], models=loaded)
    for label, (method, settings) in needed.items():
        print(f"{label}: {json.dumps(dict(settings))}", flush=True)
        cache.edits(loaded, some, method, seeds=[seed], settings=settings, batch_size=25)


def chosen(s: Study) -> list[EditItem]:
    """The edits of a full study, or the slice that a quick one computes again."""
    return items(EDITS if s.profile == "full" else SLICE)


def table(s: Study) -> pd.DataFrame:
    """One row per method and test edit, as far as recorded; see `Study.table`."""
    return s.table("benchmark", methods(), seeds=s.seeds[:1], items=chosen(s), columns=COLUMNS)
