"""Rows of a collection: streamed from the hub, or from a local copy in its own layout.

Parquet and plain pictures only: nothing runs code of a collection, nothing is unpickled.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import datasets
from huggingface_hub import HfApi
from PIL import Image

from cirp.curation.sources import PLACEHOLDER, SOURCES, Source
from cirp.data.images import DataError

POOL = 400  # rows of each collection from which is drawn
BUFFER = 1000  # rows that are shuffled at a time while streaming
LIVING = ("cat", "dog")  # classes of DreamBooth that have the prompts of live subjects
PROMPTS = "prompts_and_classes.txt"


def rows(
    name: str, *, path: Path | None = None, revision: str | None = None, seed: int = 0,
    pool: int = POOL,
) -> tuple[Iterator[Mapping], str]:  # fmt: skip
    """At most `pool` shuffled rows of a collection, and the revision they are of.

    `path` is a local copy: a folder with parquet files, or DreamBooth's own folder `dataset`.

    Raises `DataError` for a source that is not known, a copy that is none, or a hub that cannot be
    reached.
    """
    if name not in SOURCES:
        raise DataError(f"unknown source {name!r}; there are {', '.join(SOURCES)}")
    if path is not None:
        return islice(_local(name, Path(path), seed), pool), f"local copy {Path(path).name}"
    source = SOURCES[name]
    if name == "dreambooth":
        raise DataError(
            "dreambooth: the hub's copy has no prompts; give --from dreambooth=FOLDER, the folder "
            "dataset of github.com/google/dreambooth"
        )
    commit = revision or _commit(source)
    stream = datasets.load_dataset(
        source.hub, source.configuration, split=source.split, revision=commit, streaming=True
    )
    return iter(undecoded(stream).shuffle(seed=seed, buffer_size=BUFFER).take(pool)), commit


def undecoded(stream: datasets.IterableDataset) -> datasets.IterableDataset:
    """The rows with their pictures as bytes: decoding would read any file that a row names."""
    features = stream.features or {}
    for column, feature in features.items():
        if isinstance(feature, datasets.Image):
            stream = stream.cast_column(column, datasets.Image(decode=False))
    return stream


def _commit(source: Source) -> str:
    """The newest revision of a collection. Raises `DataError` within seconds without a network."""
    try:
        return str(HfApi().dataset_info(source.hub, timeout=5).sha)
    except Exception as error:  # whatever the network or the hub says
        raise DataError(
            f"{source.hub}: the hub cannot be reached ({type(error).__name__}); give a local copy "
            "with --from, or fetch one where there is a network with: "
            f"hf download --repo-type dataset {source.hub}"
        ) from error


def _local(name: str, path: Path, seed: int) -> Iterator[Mapping]:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give a local copy of {name}")
    if name == "dreambooth":
        return dreambooth(path)
    files = sorted(str(file) for file in path.rglob("*.parquet"))
    if not files:
        raise DataError(f"{path}: no parquet file; a local copy of {name} is a folder with some")
    try:
        found = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
        return iter(undecoded(found).shuffle(seed=seed, buffer_size=BUFFER))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error


def prompts(text: str) -> tuple[dict[str, str], list[str], list[str]]:
    """DreamBooth's own list: the class of each subject, prompts of objects, and of live subjects.

    A prompt has one place, for the class; the token of a fine-tuned model is left out.
    """
    head, _, rest = text.partition("Object Prompts")
    objects, _, living = rest.partition("Live Subject Prompts")
    classes = dict(re.findall(r"^(\w+),(\w[\w ]*)$", head, re.MULTILINE))
    classes.pop("subject_name", None)
    found = [
        [re.sub(r"\{0\} \{1\}", PLACEHOLDER, line) for line in re.findall(r"^'(.+?)'", part, re.M)]
        for part in (objects, living)
    ]
    if not classes or not all(found):
        raise DataError(f"{PROMPTS} has no classes or no prompts; is it DreamBooth's own file?")
    return classes, *found


def dreambooth(folder: Path) -> Iterator[Mapping]:
    """Each photograph once, with one prompt of its kind of subject, another for the next."""
    file = folder / PROMPTS
    if not file.is_file():
        raise DataError(f"{folder}: no {PROMPTS}; give the folder dataset of DreamBooth")
    classes, objects, living = prompts(file.read_text(encoding="utf-8"))
    number = 0
    for subject, kind in classes.items():
        known = living if kind in LIVING else objects
        for photograph in sorted((folder / subject).glob("*.jpg")):
            with Image.open(photograph) as opened:
                opened.load()
            yield {
                "image": opened, "subject": f"{subject}/{photograph.stem}", "class": kind,
                "prompt": known[(7 * number) % len(known)],
            }  # fmt: skip
            number += 1
