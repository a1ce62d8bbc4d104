"""Why it over-edits: what in the model goes with change outside the region.

Going with is no cause: `factorial` takes each away and looks at what follows.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.editing.driver import begin_edit
from cirp.editing.first_pass import look
from cirp.editing.masks import given
from cirp.experiments import cache, configurations, factorial, records
from cirp.experiments.study import Study
from cirp.statistics.bootstrap import PRIMARY

CODE = "traces 1"  # raise it when `traces` changes its numbers
TRACES = {
    "attention outside": "share of the edit words' attention outside the region",
    "guidance outside": "share of |e(I,T) - e(I,0)| outside the region",
    "mean |guidance| outside": "mean |e(I,T) - e(I,0)| per cell outside the region",
    "area outside": "share of the picture that is outside",
}


def traces(
    models: Models, items: Sequence[EditItem], *, seed: int, steps: int = configurations.STEPS,
    batch_size: int = 16,
) -> pd.DataFrame:  # fmt: skip
    """One row per local edit with a mask: what attention and guidance do outside its region."""
    local = [i for i in items if i.record.mask_file_name and not i.record.is_global]
    rows = []
    for first in range(0, len(local), batch_size):
        some = local[first : first + batch_size]
        tasks = [cache.task(item, seed) for item in some]
        start = begin_edit(models, tasks)
        scale = configurations.TEXT_SCALE
        seen = look(models, tasks, start, steps=steps, first=steps, text_scale=scale)
        outside = 1 - given(tasks, start.grid)
        words, change = seen.words().cpu(), seen.change.float().cpu()
        for i, item in enumerate(some):
            out = outside[i]
            rows.append(
                {
                    "id": item.id,
                    "item": records.item_hash(item),
                    "attention outside": float((words[i] * out).sum() / words[i].sum()),
                    "guidance outside": float((change[i] * out).sum() / change[i].sum()),
                    "mean |guidance| outside": float((change[i] * out).sum() / out.sum()),
                    "area outside": float(out.mean()),
                }
            )
    return pd.DataFrame(rows)


def held_out(s: Study, steps: int = configurations.STEPS) -> pd.DataFrame:
    """`traces` of the local test edits; see `Study.kept` for what is computed, what read."""
    method, settings = configurations.found(steps)[configurations.BASELINE]
    every = factorial.items()
    some = cache.fitted(every if s.profile == "full" else every[:4], s.models)
    seen = traces(s.models, some, seed=s.seeds[0], steps=steps)
    tied = records.provenance(s.models, settings=settings, seed=s.seeds[0], code=CODE)
    tied["item"] = seen.pop("item")
    rows = seen.assign(method=configurations.BASELINE, **tied)
    return s.kept("traces", rows, checked=list(TRACES))


def correlations(
    found: pd.DataFrame, table: pd.DataFrame, *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Spearman's correlation of each trace with excess outside change, over images, with intervals.

    `table` holds the baseline's rows.

    `area given` is the same with the area outside partialled out of both ranks: a large outside
    has more of everything.
    """
    base = table.groupby("id")[PRIMARY].mean()
    both = found.set_index("id")[list(TRACES)].join(base).dropna()
    rng = np.random.default_rng(seed)
    rows = []
    for name, meaning in TRACES.items():
        x, y = both[name].to_numpy(), both[PRIMARY].to_numpy()
        area = both["area outside"].to_numpy()
        drawn = [rng.integers(len(x), size=len(x)) for _ in range(resamples)]
        low, high = np.nanquantile([rank_correlation(x[d], y[d]) for d in drawn], [0.025, 0.975])
        partial = np.nan if name == "area outside" else partial_correlation(x, y, area)
        rows.append({"trace": meaning, "spearman": rank_correlation(x, y), "low": low,
                     "high": high, "area given": partial, "n": len(x)})  # fmt: skip
    return pd.DataFrame(rows)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rho; NaN if either side is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(stats.spearmanr(x, y).statistic)


def partial_correlation(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    """Spearman's rho of x and y with z partialled out of their ranks."""
    xy, xz, yz = rank_correlation(x, y), rank_correlation(x, z), rank_correlation(y, z)
    return float((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
