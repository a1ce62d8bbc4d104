"""Everything the full study edits, shared between processes."""

import json
from collections.abc import Iterator

from cirp import paths
from cirp.data.edits import load_edits
from cirp.diffusion.pipelines import load
from cirp.experiments import cache, configurations, report
from cirp.experiments.configurations import Methods
from cirp.experiments.records import recorded
from cirp.experiments.study import EDITS, SEEDS, STEPS, missing


def cells(steps: int = STEPS) -> Iterator[tuple[str, Methods, int]]:
    """Everything a full study edits: experiment, its methods, number of seeds."""
    for name, methods, seeds in (
        ("main", lambda: report.main_methods(steps), SEEDS),
        ("readings", report.reading_methods, 1),
        ("ablation", report.ablation_methods, 1),
        ("sweeps", report.sweep_methods, 1),
        ("steps", report.step_methods, 1),
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
    some = load_edits(paths.ROOT / edits)[shard::shards]
    loaded = load(models)
    some = cache.fitted(some, loaded)
    for name, methods, count in cells():
        seeds = range(seed, seed + count)
        needed = missing(methods, recorded(name), items=some, seeds=seeds, models=loaded)
        for method, settings in needed.values():
            print(f"{name}: {method} {json.dumps(dict(settings))}", flush=True)
            cache.edits(loaded, some, method, seeds=seeds, settings=settings, batch_size=24)
