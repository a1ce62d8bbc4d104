"""`cirp edit`: one picture."""

import sys
from collections.abc import Mapping
from pathlib import Path

from cirp.api import best_for, said_in_one_line
from cirp.data.images import check_destination, open_image, open_mask_for
from cirp.diffusion.pipelines import check_device, load, load_tokenizer, resolve
from cirp.diffusion.tasks import Task, missing_texts, unread_texts
from cirp.explorer.words import warnings_for
from cirp.methods import METHODS


def edit_file(
    image: Path, out: Path, *, method: str, instruction: str, caption: str, source_caption: str,
    mask: Path | None, given: Mapping[str, str], models: str, seed: int, device: str,
) -> None:  # fmt: skip
    """Edit and save; whatever is wrong with the input is found before a model is loaded."""
    chosen = METHODS[method]
    if mask is not None:
        given = chosen.with_region(given)
    configured = chosen.parsed(given)
    resolve(models)
    check_device(device)
    check_destination(out, image, mask)
    opened = open_image(image)
    task = Task(
        opened, instruction, caption or None, seed,
        key=None,  # noise as in diffusers
        source_caption=source_caption or None,
        mask=None if mask is None else open_mask_for(opened, mask),
    )  # fmt: skip
    if lacking := missing_texts(task, configured.reads):
        options = [
            "an instruction" if name == "instruction" else f"--{name.replace('_', '-')}"
            for name in lacking
        ]
        raise ValueError(f"{method} needs {' and '.join(options)}")
    for name in unread_texts(task, configured.reads) if configured.reads else ():
        raise ValueError(f"{method} reads no {name.replace('_', ' ')}; drop it")
    chosen.refuse([task], configured, load_tokenizer(models))
    loaded = load(models, device=device)
    chosen.check_runs(loaded, configured)
    configured = best_for(loaded, chosen, configured)
    for line in warnings_for(loaded, task, configured.reads):
        print(f"cirp: {line}", file=sys.stderr)
    (made,) = chosen(loaded, [task], **configured.model_dump())
    again = ", replaced" if out.exists() else ""
    made.image.save(out)
    smaller = "" if made.image.size == opened.size else f" (from {_size(opened)})"
    print(f"{out}: {_size(made.image)}{smaller}{again}")
    print(said_in_one_line(made, configured, loaded))


def _size(image) -> str:
    return f"{image.width}x{image.height}"
