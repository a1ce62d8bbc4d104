"""Why instruction-guided image editing over-edits, and how remapping cross-attention stops it.

import cirp
cirp.explore()          an explorer in which an edit is run, watched and intervened in
"""


def __getattr__(name: str):
    """`explore` is read when it is asked for: it brings the models' libraries along."""
    if name == "explore":
        from cirp.explorer.widget import explore

        return explore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
