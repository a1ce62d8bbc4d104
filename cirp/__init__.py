"""Why instruction-guided image editing over-edits, and how remapping cross-attention stops it.

import cirp
cirp.explore()          an explorer in which an edit is run, watched and intervened in
cirp.review(folder)     keep, drop, correct and paint the edits that cirp curate has drawn
"""

import os

# Importing transformers says that torchvision is missing, which nothing here needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def __getattr__(name: str):
    """These are read when they are asked for: they bring the models' libraries along."""
    if name == "explore":
        from cirp.explorer.widget import explore

        return explore
    if name == "review":
        from cirp.explorer.reviewing import review

        return review
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
