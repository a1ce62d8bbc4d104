"""Where things are: once. What is written can go elsewhere, so that a checkout may be read-only.

In a checkout, models and edits are those of `data/`; an installed package carries the miniature and
the ten examples in `cirp/shipped`. `CIRP_OUT` is where tables and figures of one's own go,
`CIRP_CACHE` where finished work is kept.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

ROOT = Path(__file__).resolve().parents[1]
IS_CHECKOUT = (ROOT / "pyproject.toml").is_file() and (ROOT / "notebooks").is_dir()
DATA = ROOT / "data" if IS_CHECKOUT else Path(str(resources.files("cirp"))) / "shipped"
EDITS = DATA / "edits"  # the book's 50; the ten examples of an installed package
MODELS = DATA / "models"  # the miniature
PLAN = DATA / "plan.toml"  # what is asked of which edits
RESULTS = DATA / "results"  # tables of the full run
FIGURES = ROOT / "figures"  # its figures


def check_checkout() -> None:
    """Raise `ValueError` where only the package is installed, without notebooks and tables."""
    if not IS_CHECKOUT:
        raise ValueError(
            "this command needs the repository: notebooks and tables are not in the installed "
            "package; clone it, and run the command there"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to, which becomes `path` when the block ends well.

    A file or folder that stood there stays whole until then, and if the block fails.
    """
    half = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    half.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield half
        if half.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(half, path)
    finally:
        if half.is_dir():
            shutil.rmtree(half, ignore_errors=True)
        half.unlink(missing_ok=True)


def cache() -> Path:
    """Where what can be made again is kept: `CIRP_CACHE`, else .cache in the checkout or the home.

    If `CIRP_CACHE` is a URL, only finished edits are there (`runs`), and the rest as by default.
    """
    given = os.environ.get("CIRP_CACHE")
    if given and not is_url(given):
        return Path(given)
    if IS_CHECKOUT:
        return ROOT / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cirp"


def is_url(given: Any) -> bool:
    """Whether a place is named by a URL that fsspec reads, such as s3://bucket/folder."""
    return "://" in str(given)


def place(given: Any) -> Any:
    """Return a folder of this machine as a path; or one behind a URL, which is used like a path."""
    if not is_url(given):
        return Path(given)
    if str(given).startswith("file://"):
        return Path(url2pathname(str(given).removeprefix("file://")))
    from upath import UPath

    return UPath(given)


def runs() -> Any:
    """Where finished edits are kept."""
    given = os.environ.get("CIRP_CACHE", "")
    return (place(given) if is_url(given) else cache()) / "runs"


def own() -> Path:
    """Where a run on edits or models of one's own writes: `CIRP_OUT`, else _build/own."""
    base = ROOT if IS_CHECKOUT else Path.cwd()
    return Path(os.environ.get("CIRP_OUT") or base / "_build" / "own").absolute()
