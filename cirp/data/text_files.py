"""Text files that others wrote: UTF-8, or JSON by line, or one line that says what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cirp.data.images import DataError


def read_text(path: Path) -> str:
    """Return a text file's text. Raises `DataError` if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error


def json_lines(path: Path, *, torn_end: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield where each line that is not empty stands, and its value.

    Lines end at a line feed alone: U+2028 and U+0085 may stand inside a text. With `torn_end` a
    last line that a kill cut off is left out. Raises `DataError` for any other broken line.
    """
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            if torn_end and number == len(lines):
                return
            if isinstance(error, RecursionError):
                raise DataError(f"{where}: nested too deep; one flat object per line") from error
            raise DataError(
                f"{where}: not JSON ({error.msg} at column {error.colno}); one object per line"
            ) from error
        yield where, row
