"""Why it over-edits: what in the model goes with change outside the region.

Going with is no cause: `factorial` takes each away and looks at what follows.
"""

import numpy as np
import pandas as pd
from scipy import stats

from cirp.editing.driver import begin_edit
from cirp.editing.first_pass import look
from cirp.editing.masks import given
from cirp.experiments import cache, configurations
from cirp.experiments.configurations import BASELINE
from cirp.experiments.engine import Cell, Experiment, Job, planned
from cirp.statistics.bootstrap import PRIMARY, Interval

BATCH = 16
TRACES = {
    "attention outside": "share of the edit words' attention outside the region",
    "guidance outside": "share of |e(I,T) - e(I,0)| outside the region",
    "mean |guidance| outside": "mean |e(I,T) - e(I,0)| per cell outside the region",
    "area outside": "share of the picture that is outside",
}


def measure(job: Job, cell: Cell) -> pd.DataFrame:
    """Measure what attention and guidance do outside the region of each edit: a row each."""
    rows, items = [], cache.fitted(job.items, job.models)
    steps, scale = cell.settings["steps"], cell.settings["text_scale"]
    for first in range(0, len(items), BATCH):
        some = items[first : first + BATCH]
        tasks = [cache.task(item, job.seeds[0]) for item in some]
        start = begin_edit(job.models, tasks)
        seen = look(job.models, tasks, start, steps=steps, first=steps, text_scale=scale)
        outside = 1 - given(tasks, start.grid)
        words, change = seen.words().cpu(), seen.change.float().cpu()
        for i, item in enumerate(some):
            out = outside[i]
            rows.append(
                {
                    "id": item.id,
                    "attention outside": float((words[i] * out).sum() / words[i].sum()),
                    "guidance outside": float((change[i] * out).sum() / change[i].sum()),
                    "mean |guidance| outside": float((change[i] * out).sum() / out.sum()),
                    "area outside": float(out.mean()),
                }
            )
    return pd.DataFrame(rows)


def cells(steps: int = configurations.STEPS) -> list[Cell]:
    """Return the baseline alone."""
    return [Cell(BASELINE, *configurations.automatic(steps)[BASELINE])]


LOCAL = planned("test", local=True)
EXPERIMENT = Experiment(
    "traces", cells, LOCAL, measure=measure, code="traces 1", scored=False, checked=tuple(TRACES),
    sample=lambda: LOCAL()[:4],
)  # fmt: skip


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
        rho = Interval(rank_correlation(x, y), low, high, len(x), 0, "percentile")
        rows.append({"trace": meaning, "spearman": rho, "area given": partial, "n": len(x)})
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
