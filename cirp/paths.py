"""Where things are: once. What is written can go elsewhere, so that a checkout may be read-only.

`CIRP_OUT` is where tables and figures of one's own go, `CIRP_CACHE` where finished work is kept.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EDITS = ROOT / "data" / "edits"  # the book's 50
MODELS = ROOT / "data" / "models"  # the miniature
RESULTS = ROOT / "data" / "results"  # tables of the full run
FIGURES = ROOT / "figures"  # its figures


def cache() -> Path:
    """Where finished edits are kept: `CIRP_CACHE`, else .cache in the checkout."""
    return Path(os.environ.get("CIRP_CACHE") or ROOT / ".cache")


def out() -> Path | None:
    """Where a run of one's own writes its tables and figures: `CIRP_OUT`, if it is set."""
    named = os.environ.get("CIRP_OUT")
    return Path(named).absolute() if named else None
