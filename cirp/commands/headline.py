"""Write the full runs' main tables into README.md, between its two headline comments.

cirp headline          rewrite it
cirp headline --check  exit code 1 if it is not what data/results says
"""

import pandas as pd

from cirp.chapters import methods
from cirp.chapters import scores as chapter
from cirp.experiments import configurations
from cirp.figures import tables
from cirp.paths import RESULTS, ROOT
from cirp.statistics.bootstrap import PRIMARY

BEGIN, END = "<!-- headline:begin -->", "<!-- headline:end -->"
AGAINST = (
    "On 500 held-out test edits at 20 steps: the baseline, the best other method at either "
    "question, our own, and a yardstick that is told the true region. *Closed* is the share of the "
    "way from the baseline's outside change to the yardstick's:"
)


def headline() -> str:
    """The report's table with ours, the two questions it could not answer, and remap's standing."""
    table = pd.read_csv(RESULTS / "main.csv")
    similarity = chapter.report_table(table).to_markdown(index=False, disable_numparse=True)
    locality = tables.wide(table, ["success", PRIMARY])
    parts = [similarity, locality.to_markdown(disable_numparse=True), f"{AGAINST}\n"]
    return "\n\n".join(parts) + f"\n{standing().to_markdown(index=False, disable_numparse=True)}"


def standing() -> pd.DataFrame:
    """Of the benchmark: the baseline, ours, the true mask, and who is best at either question."""
    table = pd.read_csv(RESULTS / "benchmark.csv")
    controls = table["method"].isin(configurations.controls())
    is_told = table["method"].str.endswith("true mask")
    rows = methods.standing(table[~controls & ~is_told], table[is_told]).set_index("method")
    rivals = rows.drop([configurations.BASELINE, configurations.OURS, configurations.TRUTH])
    rivals = rivals[~rivals.index.str.endswith("true mask")]
    shown = [
        configurations.BASELINE, rivals["success"].idxmax(), rivals[PRIMARY].idxmin(),
        configurations.OURS, configurations.TRUTH,
    ]  # fmt: skip
    columns = {"success": "edit success", PRIMARY: "excess outside change (L1)",
               "closed": "closed", "region IoU": "region IoU"}  # fmt: skip
    some = rows.loc[list(dict.fromkeys(shown)), list(columns)].rename(columns=columns)
    return some.map(lambda x: "" if pd.isna(x) else f"{x:.3f}").reset_index()


def rewrite(*, check: bool = False) -> bool:
    """Write it into the README, or only look; whether the README was as it should be."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    fresh = f"{before}{BEGIN}\n{headline()}\n{END}{after}"
    good = readme.read_text() == fresh
    if not good and not check:
        readme.write_text(fresh)
    return good
