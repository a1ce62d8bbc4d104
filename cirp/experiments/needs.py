"""What edits must have for a chapter or a method to be shown of them, and what is said if not."""

from collections.abc import Sequence

from cirp.data.edits import EditItem
from cirp.diffusion.tasks import missing_texts
from cirp.experiments import cache
from cirp.experiments.configurations import Methods
from cirp.methods import METHODS


class LeftOut(ValueError):
    """A chapter cannot be shown of these edits, and the book goes on without it."""


REQUIREMENTS = {  # what a chapter may ask of an edit
    "target caption": lambda item: cache.target_caption(item.record) is not None,
    "source caption": lambda item: item.record.source_caption is not None,
    "mask": lambda item: item.record.mask_file_name is not None,
    "words": lambda item: bool(item.record.words),
}


def showable(items: Sequence[EditItem], requires: Sequence[str]) -> list[EditItem]:
    """Return the edits that have all of `requires`; says how many have not.

    Raises `LeftOut` if none has.
    """
    shown = [item for item in items if all(REQUIREMENTS[name](item) for name in requires)]
    if not shown:
        raise LeftOut(
            f"no edit has {' and '.join(requires)}, which this chapter shows; it is left out"
        )
    _say_lacking(items, shown, requires)
    return shown


def preferred(items: Sequence[EditItem], wishes: Sequence[str]) -> list[EditItem]:
    """The edits that have each of `wishes`, one after the other; where none has it, all go on."""
    for wish in wishes:
        having = [item for item in items if REQUIREMENTS[wish](item)]
        if having:
            _say_lacking(items, having, [wish])
            items = having
    return list(items)


def _say_lacking(
    items: Sequence[EditItem], shown: Sequence[EditItem], requires: Sequence[str]
) -> None:
    if lacking := len(items) - len(shown):
        what = " or no ".join(requires)
        print(f"{lacking} of {len(items)} edits have no {what} and are left out here")


def possible(methods: Methods, items: Sequence[EditItem]) -> Methods:
    """Those of `methods` with a step to run and prompts for these edits; says which not."""
    short = [
        label
        for label, (method, settings) in methods.items()
        if METHODS[method].lacks_steps(**settings)
    ]
    if short:
        print(f"left out: {_few(short, methods)}. Of so few steps the strength leaves none to run.")
        methods = {label: one for label, one in methods.items() if label not in short}
    found, tasks = {}, [cache.task(item, 0) for item in items]
    for label, (method, settings) in methods.items():
        reads = METHODS[method].configured(**settings).reads
        if not any(missing_texts(task, reads) for task in tasks):
            found[label] = (method, settings)
    if lacking := [label for label in methods if label not in found]:
        print(
            f"left out: {_few(lacking, methods)}. An edit has no caption that these methods read; "
            "cirp refine writes target captions (data/README.md)."
        )
    return found


def _few(labels: Sequence[str], methods: Methods) -> str:
    return ", ".join(labels) if len(labels) < 3 else f"{len(labels)} of {len(methods)} settings"
