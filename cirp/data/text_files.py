"""Text files that others wrote: UTF-8, or JSON by line, or one line that says what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cirp.data.images import DataError


def read_text(path: Path) -> str:
    """A text file's text. Raises `DataError` if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """The value of each line that is not empty, and where it stands. Raises `DataError`."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where}: not JSON ({error.msg} at column {error.colno}); one object per line"
            ) from error
        yield where, row
