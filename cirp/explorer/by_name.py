"""Any method in the explorer, by its name: run as it is, watched, and stopped within a step.

InstructPix2Pix itself is `cirp.explorer.runs`, where every step is seen and what is held can be
chosen. Another method does its own holding; of it the maps of its last step are shown, and the
region that it worked with.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from cirp.attention.control import Attn, Control
from cirp.attention.site import Site
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import COLUMNS, Edit, Task, missing_texts, working_size
from cirp.experiments import cache
from cirp.experiments.word_maps import reworded
from cirp.explorer import runs
from cirp.explorer.maps import Cancelled, Weigh, reader_of
from cirp.explorer.runs import Request, Seen, check_changes, names_of
from cirp.methods import METHODS
from cirp.paths import EDITS

BASELINE = "ip2p"
NAMES = tuple(n for n in METHODS if n not in (BASELINE, "held", *cache.WITHOUT_NOISE))
DIALS = ("text_scale", "image_scale", "steps", "strength")  # of the explorer, named as settings


class Stop(Control):
    """Raises `Cancelled` at the next attention map once it is asked to."""

    reads_only = True

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self.cancelled = cancelled

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        if self.cancelled():
            raise Cancelled
        return probs


def names_for(models: Models) -> tuple[str, ...]:
    """Return the methods that can be run by name on these models, beside the baseline."""
    return tuple(n for n in NAMES if models.editor.controllable or METHODS[n].any_editor)


def task_of(item: EditItem, request: Request) -> Task:
    """Return the picture's task with the request's instruction.

    Where it is not the picture's own, words and target caption are made of it anew: words that
    carried the old one would point nowhere.
    """
    if request.instruction != item.record.instruction:
        item = reworded(item, request.instruction)
    task = cache.task(item, request.seed)
    if request.region is not None and request.method != BASELINE:
        task = replace(task, mask=runs.region_of(request, task.image.size))
    return task


def prompt_of(task: Task, name: str) -> str:
    """Return what the method reads: the instruction, or the target caption.

    Raises `ValueError` in one line if it reads a caption and there is none.
    """
    reads = METHODS[name].configured().reads
    if lacking := missing_texts(task, reads):
        texts = " and a ".join(COLUMNS[one].replace("_", " ") for one in lacking)
        raise ValueError(
            f"{name} reads a {texts}, and none can be written for this instruction by rule; take "
            "the picture's own instruction, or another method"
        )
    return getattr(task, reads[0])


def dials(name: str) -> list[str]:
    """Return the explorer's dials that the method reads; the others would do nothing."""
    if name == BASELINE:
        return list(DIALS)
    known = METHODS[name].settings.model_fields
    ignored = "image_scale" if "concatenate" in known else ""  # read only with an image beside
    return [dial for dial in DIALS if dial in known and dial != ignored]


def settings_of(request: Request) -> dict[str, float]:
    """Return the method's settings as the dials say; a strength of 0 leaves the method its own.

    Raises `ValueError` for a painted region and a method that works without one.
    """
    own = {name: getattr(request, name) for name in dials(request.method)}
    own = {name: value for name, value in own.items() if name != "strength" or value}
    return own if request.region is None else METHODS[request.method].with_region(own)


@torch.no_grad()
def run_method(
    models: Models,
    task: Task,
    request: Request,
    *,
    on_step: Callable[[Seen], None] = lambda seen: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Edit | None:
    """Run `request.method` with the dials that it knows; the edit, or None if it was cancelled.

    `on_step` is called once, at the end.

    Raises `ValueError` for what the method refuses, or if something is to be held to a region.
    """
    if request.is_held:
        raise ValueError(
            f"{request.method} holds by itself; untick what is held, or choose {BASELINE}"
        )
    if request.freeze:
        raise ValueError(f"{request.method} cannot be frozen to another run; choose {BASELINE}")
    said = prompt_of(task, request.method)
    tokens = names_of(models, said)
    check_changes(models, request)
    width, height = (side // models.editor.factor for side in working_size(task.image, models))
    seen, controls, around = reader_of(models, said, len(tokens), (height, width), cancelled)
    if controls:
        controls.append(Stop(cancelled))
    if request.factors or request.swap:
        controls.insert(0, Weigh(request.factors, request.swap))
    try:
        with around:
            (edit,) = METHODS[request.method](
                models, [task], controls=controls, progress=False, **settings_of(request)
            )
    except Cancelled:
        return None
    on_step(Seen(0, 1, edit.image, dict(seen.maps)))
    return edit


def is_one_call(request: Request) -> bool:
    """Whether a run is one call of `cirp.edit`: nothing of its attention is changed or held."""
    changed = request.factors or request.swap or request.freeze or request.strength
    return not (changed or request.is_held or request.region)


def public_snippet(task: Task, request: Request, models: str, edits: Path) -> str:
    """Return a plain run as the lines of the public API that make the same picture again."""
    reads = METHODS[request.method].configured().reads
    given = {"seed": request.seed, "noise": request.item, **settings_of(request)}
    if "source_caption" in reads:
        given["source"] = task.source_caption
    words = task.target_words if reads[0] == "caption" else task.words
    if words:
        given["words"] = words
    said = ", ".join(f"{name}={value!r}" for name, value in given.items())
    folder = "" if edits == EDITS else repr(str(edits))
    return "\n".join([
        "import cirp", "", f"models = cirp.load({models!r})",
        f"item = {{one.id: one for one in cirp.load_edits({folder})}}[{request.item!r}]",
        f"made = cirp.edit(models, item.source(), {getattr(task, reads[0])!r}, "
        f"method={request.method!r},",
        f"                 {said})",
        'made.image.save("edited.png")',
    ])  # fmt: skip


def snippet(request: Request, before: Request | None = None) -> str:
    """Return any run as Python that makes the same picture again; `before` as in `runs.snippet`."""
    if request.method == BASELINE:
        return runs.snippet(request, before)
    given = "".join(f", {name}={value!r}" for name, value in settings_of(request).items())
    imports = (
        "from cirp.explorer.by_name import task_of",
        "from cirp.explorer.runs import Request",
        "from cirp.methods import METHODS",
    )
    last = f"(edit,) = METHODS[{request.method!r}](models, [task_of(item, request)]{given})"
    return "\n".join([*runs.opening(request, *imports), last])
