"""Several instructions that are written as one."""

from dataclasses import replace

from cirp.attention.tokens import token_positions
from cirp.diffusion.tasks import Task


def instructions(task: Task, separator: str | None) -> list[str]:
    """Return the parts of the instruction, each an instruction of its own."""
    parts = task.instruction.split(separator) if separator else [task.instruction]
    return [part.strip() for part in parts if part.strip()]


def part_of(task: Task, said: str, tokenizer) -> Task:
    """Return the task with one of its instructions, and those of its words that stand in it."""
    kept = []
    for word in task.words:
        try:
            token_positions(tokenizer, said, word)
            kept.append(word)
        except ValueError:
            continue
    return replace(task, instruction=said, words=tuple(kept))


def check_separator(separator: str | None, prompt: str) -> None:
    """Raise `ValueError` if a separator parts what is no instruction."""
    if separator and prompt != "instruction":
        raise ValueError(f"separator={separator!r} parts instructions; drop prompt={prompt!r}")
