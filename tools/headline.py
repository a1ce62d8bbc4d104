"""Write the full run's main table into README.md, between its two headline comments.

python tools/headline.py          rewrite it
python tools/headline.py --check  exit code 1 if it is not what data/results/main.csv says
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from cirp import plates
from cirp.statistics import PRIMARY

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- headline:begin -->", "<!-- headline:end -->"


def headline() -> str:
    """The report's table with ours, and the two questions it could not answer, as Markdown."""
    table = pd.read_csv(ROOT / "data" / "results" / "main.csv")
    similarity = plates.report_table(table).to_markdown(index=False, disable_numparse=True)
    locality = plates.wide(table, ["success", PRIMARY])
    return f"{similarity}\n\n{locality.to_markdown(disable_numparse=True)}"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--check", action="store_true")
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    fresh = f"{before}{BEGIN}\n{headline()}\n{END}{after}"
    if ask.parse_args().check:
        sys.exit(readme.read_text() != fresh and "README.md is stale: python tools/headline.py")
    readme.write_text(fresh)


if __name__ == "__main__":
    main()
