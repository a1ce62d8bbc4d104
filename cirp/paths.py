"""Where things are: once. What is written can go elsewhere, so that a checkout may be read-only.

`CIRP_OUT` is where tables and figures of one's own go, `CIRP_CACHE` where finished work is kept.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EDITS = ROOT / "data" / "edits"  # the book's 50
MODELS = ROOT / "data" / "models"  # the miniature
PLAN = ROOT / "data" / "plan.toml"  # what is asked of which edits
RESULTS = ROOT / "data" / "results"  # tables of the full run
FIGURES = ROOT / "figures"  # its figures


def cache() -> Path:
    """Where finished edits are kept: `CIRP_CACHE`, else .cache in the checkout."""
    return Path(os.environ.get("CIRP_CACHE") or ROOT / ".cache")


def own() -> Path:
    """Where a run on edits or models of one's own writes: `CIRP_OUT`, else _build/own."""
    return Path(os.environ.get("CIRP_OUT") or ROOT / "_build" / "own").absolute()
