"""Dials of a method, to be turned in the page: edits stored for each of their values."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache
from cirp.experiments.drawn import right_answers
from cirp.figures.explorers import GuidanceExplorer
from cirp.figures.tables import named
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import score_all
from cirp.statistics.bootstrap import PRIMARY, SUCCESS

SCORES = (SUCCESS, PRIMARY, "clip_i_source")
Setting = float | str
Cell = tuple[Models, str, Mapping]  # models, method, settings


def instruction_of(item: EditItem) -> str:
    """How an edit is called in a list."""
    return f"{item.record.instruction} ({item.id})"


def dials(
    values: Mapping[str, Sequence[Setting]],
    cell: Callable[..., Cell],
    items: Sequence[EditItem],
    features: FeatureExtractor,
    *,
    seed: int = 0,
    label: Callable[[EditItem], str] = instruction_of,
) -> GuidanceExplorer:
    """A player over the items and every combination of the dials' values.

    `cell(value, ...)` says what is run with one value of each dial, in their order.
    """
    made, scores, trips = {}, {}, {}
    right = right_answers(items)
    for chosen in product(*values.values()):
        models, method, settings = cell(*chosen)
        edits = cache.edits(models, items, method, seeds=(seed,), settings=settings, progress=False)
        if models.fingerprint not in trips:
            there = cache.edits(models, items, "round trip", progress=False)
            trips[models.fingerprint] = [edit.image for edit in there]
        found = score_all(
            items, [edit.image for edit in edits], features,
            round_trips=trips[models.fingerprint], answers=right,
        )  # fmt: skip
        for item, edit, (_, row) in zip(items, edits, found.iterrows(), strict=True):
            made[label(item), *chosen] = edit.image
            scores[label(item), *chosen] = {named(metric): row[metric] for metric in SCORES}
    return GuidanceExplorer(
        {label(item): item.source() for item in items},
        values,
        made,
        targets={label(item): item.target() for item in items if item.target() is not None},
        scores=scores,
    )


def dial(
    name: str,
    values: Mapping[Setting, Cell],
    items: Sequence[EditItem],
    features: FeatureExtractor,
    *,
    seed: int = 0,
) -> GuidanceExplorer:
    """A player over the items and the values of one dial."""
    return dials({name: tuple(values)}, values.__getitem__, items, features, seed=seed)
