"""Methods as they are here beside what their authors released, and with other tokens to look at.

What is here differs from some releases, for reasons that each method's file gives; and the words
that carry an edit are known here, which no user's are. Each is undone by itself, at the point that
the method is shown at, on the local test edits. And the methods that look at words look at end of
text and padding in their place, which carry more of an edit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from cirp.data.edits import EditItem
from cirp.experiments import configurations, frontiers
from cirp.experiments.engine import Cell, Experiment, planned, scores
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, by_image, paired_interval

OWN_WORDS, ENDS = "words found by itself", "end of text and padding for words"
P2P = "Prompt-to-Prompt"
# What is undone, and the settings that undo it.
RELEASED: Mapping[str, Mapping[str, dict]] = {
    "ZONE mask": {"contrast as released": dict(released=True, threshold=108 / 255)},
    "LEDITS++ mask": {
        "intersection as released": dict(released=True, quantile=0.9),
        "attention of each step": dict(each_step=True),
    },
    "LOCATEdit mask": {
        "attention as it is": dict(stretched=False, threshold=0.2204),
        "solved after each step": dict(each_step=True),
    },
    "Watch Your Steps": {"pixels by the smooth map": dict(smooth=True)},
    "LIME": {"one point": dict(points=1)},
    P2P: {"blending as in PIE-Bench": dict(threshold=0.3, strides=None)},
    "attention refocusing": {"the release's step sizes": dict(step_size=(4.0, 3.0))},
}
BY_WORDS = (
    "FoI (re-implementation)", "LIME", "DenseDiffusion", "ASG", "LEDITS++ mask", "LOCATEdit mask",
    "latent blending, words' mask",
)  # fmt: skip


def without_words(items: Sequence[EditItem]) -> list[EditItem]:
    """Return the edits without the words that are known to carry them."""
    bare = {"words": [], "target_words": []}
    return [replace(i, record=i.record.model_copy(update=bare)) for i in items]


def with_ends(items: Sequence[EditItem]) -> list[EditItem]:
    """Return the edits with end of text and padding in place of the words that carry them."""
    ends = {"words": ["end", "padding"], "target_words": ["end", "padding"]}
    return [replace(i, record=i.record.model_copy(update=ends)) for i in items]


def cells(steps: int = configurations.STEPS) -> Iterator[Cell]:
    """Yield each method with one thing undone."""
    shown = {c.label: c for c in frontiers.shown(steps) if not c.columns["told"]}
    for label, undone in RELEASED.items():
        for name, settings in undone.items():
            cell = shown[label]
            yield replace(
                cell, settings={**cell.settings, **settings}, columns={**cell.columns, "part": name}
            )
    for label in BY_WORDS:
        cell = shown[label]
        yield replace(cell, items=without_words, columns={**cell.columns, "part": OWN_WORDS})
    for label in (*BY_WORDS, P2P):
        columns = {**shown[label].columns, "part": ENDS}
        yield replace(shown[label], items=with_ends, columns=columns, in_slice=label == BY_WORDS[1])


EXPERIMENT = Experiment(
    "releases", cells, planned("test", local=True), columns=(*frontiers.COLUMNS, "part"),
    measure=lambda job, cell: scores(job, cell).assign(pasted=False),
)  # fmt: skip

METRICS = {"edit success": (SUCCESS, 3), "outside change": (PRIMARY, 4), "IoU": ("region_iou", 3)}


def differences(table: pd.DataFrame, here: pd.DataFrame) -> pd.DataFrame:
    """Return a row a variant and measure: mean, and difference from the method as it is here.

    `here` is the table of `frontiers`. Paired by image; a method without a region has no IoU.
    """
    shown = frontiers.at_shown(frontiers.local(here))
    rows = []
    for (method, part), mine in table.groupby(["method", "part"], sort=False):
        for label, (metric, _) in METRICS.items():
            other = by_image(shown[shown["method"] == method], metric)[method]
            own = by_image(mine, metric)[method].reindex(other.index)
            if own.isna().all() or other.isna().all():
                continue
            apart = paired_interval(own.to_numpy(float), other.to_numpy(float), metric=metric)
            rows.append({"method": method, "undone": part, "measure": label, "mean": own.mean(),
                         "apart": apart})  # fmt: skip
    return pd.DataFrame(rows)


def compared(table: pd.DataFrame, here: pd.DataFrame) -> pd.DataFrame:
    """`differences` as a reader sees them: a row a variant; intervals are of the differences."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for _, row in differences(table, here).iterrows():
        digits = METRICS[row["measure"]][1]
        own = found.setdefault((row["method"], row["undone"]), {})
        own[row["measure"]] = f"{row['mean']:.{digits}f}"
        own[f"{row['measure']}, minus as it is here"] = f"{row['apart']:+.{digits}f}"
    rows = [{"method": m, "changed": part, **own} for (m, part), own in found.items()]
    return pd.DataFrame(rows).fillna("").set_index("method")


def finding(table: pd.DataFrame, here: pd.DataFrame) -> str:
    """Return what each kind of change does, in sentences: how many methods gain, and how many lose.

    By the intervals of the paired differences.
    """
    found = differences(table, here)

    def counted(some: pd.Series, measure: str) -> tuple[int, int, int]:
        mine = found.loc[some & (found["measure"] == measure), "apart"]
        return sum(x.low > 0 for x in mine), sum(x.high < 0 for x in mine), len(mine)

    own, ends = found["undone"] == OWN_WORDS, found["undone"] == ENDS
    instructed = ends & (found["method"] != P2P)
    more, fewer, count = counted(instructed, "edit success")
    better, _, regions = counted(instructed, "IoU")
    captions = found[ends & (found["method"] == P2P) & (found["measure"] == "edit success")]
    lone, lost, all_own = counted(own, "edit success")
    released = counted(~own & ~ends, "edit success")
    return (
        f"With end of text and padding in place of the words, {more} of {count} methods that read "
        f"instructions succeed significantly more often and {fewer} less often; {better} of "
        f"{regions} find the region significantly better. "
        + "".join(
            "Prompt-to-Prompt, which reads captions, succeeds "
            + one.says(above="more often.", below="less often.", open="about as often.") + " "
            for one in captions["apart"]
        )
        + f"With words that they find themselves {lost} of {all_own} lose success and {lone} gain. "
        f"As released, {released[0]} of {released[2]} gain success and {released[1]} lose."
    )  # fmt: skip
