"""Dials of a method, to be turned in the page: edits stored for each of their values."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache
from cirp.experiments.drawn import right_answers
from cirp.explorer.links import to_link
from cirp.figures.explorers import GuidanceExplorer
from cirp.figures.tables import named
from cirp.metrics.features import FeatureExtractor
from cirp.metrics.scores import score_all
from cirp.statistics.bootstrap import PRIMARY, SUCCESS

SCORES = (SUCCESS, PRIMARY, "clip_i_source")
PAGE = "18_try_it.html"
Setting = float | str
Cell = tuple[Models, str, Mapping]  # models, method, settings


def instruction_of(item: EditItem) -> str:
    """How an edit is called in a list."""
    return f"{item.record.instruction} ({item.id})"


def run_live(item: EditItem, seed: int, settings: Mapping) -> str:
    """Return the explorer's page, opened at this run of InstructPix2Pix."""
    names = ("steps", "text_scale", "image_scale")
    asked = {"item": item.id, "instruction": item.record.instruction, "seed": seed}
    asked |= {name: settings[name] for name in names if name in settings}
    return f"{PAGE}#{to_link(asked)}"


def dials(
    values: Mapping[str, Sequence[Setting]],
    cell: Callable[..., Cell],
    items: Sequence[EditItem],
    features: FeatureExtractor,
    *,
    seed: int = 0,
    label: Callable[[EditItem], str] = instruction_of,
    live: Callable[[EditItem, int, Mapping], str] | None = None,
) -> GuidanceExplorer:
    """Return a player over the items and every combination of the dials' values.

    `cell(value, ...)` says what is run with one value of each dial, in their order; `live(item,
    seed, settings)` where it can be run anew.
    """
    made, scores, links, trips = {}, {}, {}, {}
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
            if live is not None:
                links[label(item), *chosen] = live(item, seed, settings)
    return GuidanceExplorer(
        {label(item): item.source() for item in items},
        values,
        made,
        targets={label(item): item.target() for item in items if item.target() is not None},
        scores=scores,
        links=links,
    )


def dial(
    name: str,
    values: Mapping[Setting, Cell],
    items: Sequence[EditItem],
    features: FeatureExtractor,
    *,
    seed: int = 0,
) -> GuidanceExplorer:
    """Return a player over the items and the values of one dial."""
    return dials({name: tuple(values)}, values.__getitem__, items, features, seed=seed)
