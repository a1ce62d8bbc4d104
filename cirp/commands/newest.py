"""`python newest.py STAMP PATH...`: give STAMP the time of the newest file under the paths.

For make, whose own lists of files break at spaces and colons in their names. Needs nothing but
Python; what quick runs write, and compiled code, is left out.
"""

import os
import sys
from pathlib import Path

LEFT_OUT = ("__pycache__", "data/results/quick", ".ipynb_checkpoints")


def newest(paths: list[str]) -> float:
    """Return the latest modification under the paths, files or folders; 0 if there is none."""
    latest = 0.0
    for path in paths:
        files = [Path(path)] if os.path.isfile(path) else Path(path).rglob("*")
        for file in files:
            place = file.as_posix()
            if file.suffix != ".md" and not any(part in place for part in LEFT_OUT):
                if file.is_file():
                    latest = max(latest, file.stat().st_mtime)
    return latest


if __name__ == "__main__":
    stamp = Path(sys.argv[1])
    found = newest(sys.argv[2:])
    if not stamp.exists() or stamp.stat().st_mtime != found:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        os.utime(stamp, (found, found))
