"""Instruction editors, each behind the same few functions."""

from cirp.diffusion.editors import dreamlite, instruct, kontext, qwen  # each registers itself
from cirp.diffusion.editors.base import (
    EDITORS,
    Editor,
    JointEditor,
    combine,
    editor,
    editor_of,
)

__all__ = [
    "EDITORS", "Editor", "JointEditor", "combine", "dreamlite", "editor", "editor_of", "instruct",
    "kontext", "qwen",
]  # fmt: skip
