"""One dial of one method, to be turned in the page: edits stored for each of its values."""

from collections.abc import Mapping, Sequence

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


def dial(
    name: str,
    values: Mapping[Setting, tuple[Models, str, Mapping]],
    items: Sequence[EditItem],
    features: FeatureExtractor,
    *,
    seed: int = 0,
) -> GuidanceExplorer:
    """A player over the items and the values of a dial: value -> (models, method, settings)."""
    made, scores = {}, {}
    right = right_answers(items)
    for value, (models, method, settings) in values.items():
        edits = cache.edits(models, items, method, seeds=(seed,), settings=settings, progress=False)
        trips = [e.image for e in cache.edits(models, items, "round trip", progress=False)]
        pictures = [edit.image for edit in edits]
        found = score_all(items, pictures, features, round_trips=trips, answers=right)
        for item, edit, (_, row) in zip(items, edits, found.iterrows(), strict=True):
            made[label(item), value] = edit.image
            scores[label(item), value] = {named(metric): row[metric] for metric in SCORES}
    return GuidanceExplorer(
        {label(item): item.source() for item in items},
        {name: tuple(values)},
        made,
        targets={label(item): item.target() for item in items if item.target() is not None},
        scores=scores,
    )


def label(item: EditItem) -> str:
    """How an edit is called in a list."""
    return f"{item.record.instruction} ({item.id})"
