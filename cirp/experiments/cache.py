"""Compute an edit or load it: every finished cell is kept, by a key of all it depends on.

A cell is one (image, method, settings, prompts, seed, weights). Cells are written to a temporary
folder and moved, so an interrupted run leaves only whole ones, and the same command goes on. Behind
a URL nothing can be moved at once: there `meta.json`, without which it is no cell, is written last.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm
from transformers import CLIPTokenizer

from cirp import paths
from cirp.attention.tokens import check_length, word_positions
from cirp.data.edits import EditItem, EditRecord
from cirp.data.images import DataError, fingerprint
from cirp.data.target_caption import refine
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Edit, Task, check_prompts, working_size
from cirp.experiments import records
from cirp.methods import METHODS

WITHOUT_NOISE = ("nothing", "round trip")  # one seed says all
_folders = [paths.runs()]  # the last is where cells are kept now


@contextmanager
def kept_in(folder: Any) -> Iterator[None]:
    """Keep the cells of this block in another folder, and find none of those kept before."""
    _folders.append(paths.place(folder))
    try:
        yield
    finally:
        _folders.pop()


def target_caption(record: EditRecord) -> str | None:
    """Return the record's target caption, or one written by rule; None if no rule fits."""
    if record.target_caption is None and record.source_caption:
        with suppress(ValueError):  # what the rules cannot say, a person must: it stays unknown
            return refine(record.instruction, record.source_caption)
    return record.target_caption


def task(item: EditItem, seed: int) -> Task:
    """Return what a method is given of an item; a missing target caption is written by rule."""
    record, caption = item.record, target_caption(item.record)
    image, mask = item.source(), item.mask()
    if record.is_global:
        mask = np.ones(image.size[::-1], dtype=bool)
    return Task(
        image,
        record.instruction,
        caption,
        seed,
        key=record.id,
        source_caption=record.source_caption,
        words=tuple(record.words),
        target_words=tuple(record.target_words) if record.target_caption else (),
        mask=mask,
    )


def check_items(items: Sequence[EditItem], tokenizer: CLIPTokenizer) -> None:
    """Refuse rows whose instruction or captions no model could be given, naming the row."""
    for item in items:
        record = item.record
        try:
            check_prompts(tokenizer, [task(item, 0)], "instruction")
            for words, text in (
                (record.words, record.instruction),
                (record.target_words, record.target_caption),
            ):
                for word in words:
                    word_positions(tokenizer, text, word)
            for caption in (record.source_caption, record.target_caption):
                if caption:
                    check_length(tokenizer, caption)
        except ValueError as error:
            raise DataError(f"{record.id}: {error}") from error


def completed(method: str, settings: Mapping) -> dict:
    """Return the settings with the method's defaults, so that a changed default changes the key.

    Raises `ValueError` for an unknown method or setting.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    return METHODS[method].configured(**settings).recorded_fields()


def key(models: Models, one: Task, method: str, settings: Mapping, state: str | None = None) -> str:
    """sha256 of everything the image of this cell depends on.

    `state` is `models.state`, for whoever asks for many keys at a time.
    """
    state = models.state if state is None else state
    facts = {
        "image": fingerprint(one.image),
        "key": one.key,
        "instruction": one.instruction,
        "caption": one.caption,
        "source_caption": one.source_caption,
        "words": one.words,
        "target_words": one.target_words,
        "mask": None if one.mask is None else fingerprint(Image.fromarray(one.mask)),
        "seed": one.seed,
        "method": method,
        "settings": completed(method, settings),
        "models": models.fingerprint,
        "state": state,
        "bfloat16": models.bfloat16,
        "scheduler": records.scheduler_of_record(models),
        "dtype": str(models.instruct.unet.dtype),
        "processor": records.processor(),
        "device": records.device_of(models.device),
        "versions": records.versions(),
        "code": METHODS[method].code,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def load(folder: Any) -> Edit | None:
    """Return the cell in `folder`, or None if there is none or it is not whole."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        with (folder / "edit.png").open("rb") as file, Image.open(file) as opened:
            image = opened.convert("RGB")
        mask = None
        if meta["has_mask"]:
            with (folder / "mask.png").open("rb") as file, Image.open(file) as opened:
                mask = opened.convert("L")
        if meta["cell"] != folder.name or meta["content"] != _content(image, mask):
            return None  # a file of another cell, or a damaged one that can still be decoded
        return Edit(
            image,
            meta["method"],
            meta["settings"],
            meta["unet_calls"],
            meta["seconds"],
            mask,
            meta["abstained"],
        )
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return None


def _content(image: Image.Image, mask: Image.Image | None) -> list[str | None]:
    return [fingerprint(image), None if mask is None else fingerprint(mask)]


def save(folder: Any, edit: Edit) -> None:
    """Write a cell beside its place, then move it there."""
    meta = dict(
        method=edit.method,
        settings=edit.settings,
        unet_calls=edit.unet_calls,
        seconds=edit.seconds,
        has_mask=edit.mask is not None,
        abstained=edit.abstained,
        cell=folder.name,
        content=_content(edit.image, edit.mask),
    )
    try:
        if paths.is_url(folder):
            _write(folder, edit, meta)
            return
        with paths.replacing(folder) as half:
            _write(half, edit, meta)
    except OSError:  # another process may have just finished the same cell
        if load(folder) is None:
            raise


def _write(folder: Any, edit: Edit, meta: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (("edit", edit.image), ("mask", edit.mask)):
        if picture is not None:
            with (folder / f"{name}.png").open("wb") as file:
                picture.save(file, format="PNG")
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def edits(
    models: Models,
    items: Sequence[EditItem],
    method: str,
    *,
    seeds: Sequence[int] = (0,),
    settings: Mapping | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> list[Edit]:
    """One edit per seed and item, in the order seed 0: all items, seed 1: all items, ...

    See `computed`.
    """
    tasks = [task(item, seed) for seed in seeds for item in items]
    return computed(
        models, tasks, method, settings=settings, batch_size=batch_size, progress=progress,
    )  # fmt: skip


def computed(
    models: Models,
    tasks: Sequence[Task],
    method: str,
    *,
    settings: Mapping | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> list[Edit]:
    """One edit per task, in order.

    Only missing cells are computed, `batch_size` at a time, and kept as they finish.

    Raises `ValueError` for an unknown method or setting.
    """
    settings = dict(settings or {})
    completed(method, settings)  # refuses an unknown method
    chosen = METHODS[method]
    chosen.refuse(tasks, chosen.configured(**settings), models.instruct.tokenizer)
    state = models.state
    folders = [_folders[-1] / key(models, one, method, settings, state) for one in tasks]
    found = [load(folder) for folder in folders]
    missing = [i for i, edit in enumerate(found) if edit is None]
    with tqdm(
        total=len(missing), desc=method, unit="edit", disable=not (progress and missing)
    ) as bar:
        for start in range(0, len(missing), batch_size):
            some = missing[start : start + batch_size]
            made = METHODS[method](
                models, [tasks[i] for i in some], batch_size=batch_size, progress=False, **settings
            )
            for i, edit in zip(some, made, strict=True):
                save(folders[i], edit)
                found[i] = edit
            bar.update(len(some))
    return found


def fitted(items: Sequence[EditItem], models: Models) -> list[EditItem]:
    """Return the items at the size the models edit them at, so that they can be scored."""
    return [item.at(working_size(item.source(), models)) for item in items]
