"""Write the full runs' main tables into README.md, between its two headline comments.

cirp headline          rewrite it
cirp headline --check  exit code 1 if it is not what data/results says
"""

import pandas as pd

from cirp.chapters import frontiers as frontier_chapter
from cirp.chapters import scores as chapter
from cirp.experiments import configurations, frontiers, records
from cirp.figures import tables
from cirp.paths import RESULTS, ROOT
from cirp.statistics.bootstrap import PRIMARY

BEGIN, END = "<!-- headline:begin -->", "<!-- headline:end -->"
AGAINST = (
    "On {count} local test edits at 20 steps, each at one setting: the baseline, whoever of the "
    "others succeeds most and whoever changes least outside, and our own; then the same given the "
    "true region. *Closed* is the share of the unwanted change that a method removes, of what it "
    "removes when it is given the true region:"
)


def headline() -> str:
    """The report's table with ours, the two questions it could not answer, and remap's standing."""
    table = records.read(RESULTS / "main.csv")
    similarity = chapter.report_table(table).to_markdown(index=False, disable_numparse=True)
    locality = tables.wide(table, ["success", PRIMARY])
    known = records.read(RESULTS / "frontiers.csv")
    count = frontiers.local(known)["id"].nunique()
    unseen = frontier_chapter.confirmed(records.read(RESULTS / "confirmation.csv")).data
    against = f"{unseen} {AGAINST.format(count=count)}"
    parts = [similarity, locality.to_markdown(disable_numparse=True), against]
    return "\n\n".join(parts) + f"\n\n{standing(known).to_markdown(disable_numparse=True)}"


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """Of the test edits: the baseline, ours, and who is best of the others at either question."""
    rows = frontier_chapter.standing(table)
    shown = frontiers.at_shown(frontiers.local(table))
    means = shown.groupby("method")[["success", PRIMARY]].mean()
    own = (configurations.BASELINE, configurations.OURS)
    rivals = means.loc[frontiers.with_dials(table)].drop(list(own))
    names = [own[0], rivals["success"].idxmax(), rivals[PRIMARY].idxmin(), own[1]]
    return rows.loc[list(dict.fromkeys(names))]


def rewrite(*, check: bool = False) -> bool:
    """Write it into the README, or only look; whether the README was as it should be."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    fresh = f"{before}{BEGIN}\n{headline()}\n{END}{after}"
    good = readme.read_text(encoding="utf-8") == fresh
    if not good and not check:
        readme.write_text(fresh, encoding="utf-8")
    return good
