"""How often pictures that are no edit pass as a success, and right answers do, for chapter 2."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.experiments import controls
from cirp.experiments.plan import plan
from cirp.figures.sentences import Numbers, Paragraph, say, verdict
from cirp.statistics.bootstrap import Interval

NO_EDITS = (*controls.FILLS, controls.OTHER, controls.TRIP)
ALL = "all edits"


def finding(table: pd.DataFrame) -> Paragraph:
    """Which controls keep their bound in every kind of edit, and whether right answers pass."""
    aims = plan().primary
    fills = table[table["method"].isin(controls.FILLS)]
    rates, with_right = controls.rates(controls.without_valid_answers(table)), controls.rates(fills)
    fakes = rates[rates["control"].isin(NO_EDITS) & (rates["kind"] != "")]
    said = [
        verdict(one.low, one.high, aims.controls_at_most, at_most=True) for one in fakes["passes"]
    ]
    whole = rates[rates["kind"] == ""].set_index("control")
    worst = _most(fakes)
    right = 1 - len(controls.without_valid_answers(fills)) / len(fills)
    with_right = with_right[with_right["kind"] != ""]
    also = _most(with_right)
    above = sum(one.mean > aims.controls_at_most for one in with_right["passes"])
    number = Numbers()
    most = number(f"passes: {worst.control}, {worst.kind}", worst.passes)
    true = number(f"passes: {controls.TARGET_TRIP}", whole.loc[controls.TARGET_TRIP].passes)
    most_of_all = number(f"passes, right ones too: {also.control}, {also.kind}", also.passes)
    met, wanted = said.count("met"), aims.controls_at_most
    return say(
        f"**A picture that is no edit passes for a success in at most {wanted:.0%} of cases, for "
        f"{'all' if met == len(said) else met} of {len(said)} pairs of a fake and a kind of "
        "edit.**",
        f"The right answer, seen through the autoencoder, passes in a share of {true}.",
        f"{said.count('missed')} pairs lie above {wanted:.0%}, and {said.count('open')} are open. "
        f"The fake that passes most often is *{worst.control}*, where the edit is to "
        f"*{worst.kind}* ({most}). {right:.0%} of the fills are not counted: by chance they are "
        "nearly a right answer, as where flat ground takes a thing's place. With them, "
        f"{above} of the {len(with_right)} pairs would lie above {wanted:.0%}, the highest "
        f"*{also.control}*, where the edit is to *{also.kind}* ({most_of_all}).",
        numbers=number.table,
    )


def _most(rates: pd.DataFrame) -> pd.Series:
    return max((row for _, row in rates.iterrows()), key=lambda row: row.passes.mean)


def figure(rates: pd.DataFrame) -> Figure:
    """A panel a control that is no edit: how often it passes, by kind of edit, with intervals."""
    shown = [name for name in NO_EDITS if name != controls.TRIP]
    fig, axes = plt.subplots(1, len(shown), figsize=(10.4, 3.4), sharex=True, sharey=True)
    for ax, name in zip(axes, shown, strict=True):
        mine = rates[rates["control"] == name].iloc[::-1]
        spans = list(mine["passes"])
        at = np.arange(len(mine))
        ax.axvline(plan().primary.controls_at_most, color="#222222", lw=0.9, ls="--")
        ax.errorbar(
            [one.mean for one in spans], at, xerr=figures.reach(spans), fmt="o", ms=4.5, lw=1.3,
            capsize=2, color=figures.BASELINE,
        )  # fmt: skip
        ax.set_yticks(at, mine["kind"].replace("", ALL))
        ax.set_title(figures.fill(name, 14), fontsize=9.5, loc="center")
        ax.grid(axis="y", visible=False)
    axes[0].set_xlim(left=-0.004)
    axes[len(shown) // 2].set_xlabel("share that passes as a success  ← better")
    return fig


def table(rates: pd.DataFrame) -> pd.DataFrame:
    """Kinds of edit by control, in per cent; of all edits with the interval."""
    whole = rates[rates["kind"] == ""].set_index("control")
    kinds = rates[rates["kind"] != ""].pivot(index="control", columns="kind", values="passes")
    kinds = kinds.loc[whole.index].map(lambda one: f"{100 * one.mean:.1f}")
    spans = [
        f"{Interval(*(100 * share for share in one[:3]), *one[3:]):.1f}" for one in whole["passes"]
    ]
    kinds.insert(0, f"{ALL} [95 %]", spans)
    return kinds.rename_axis(index="passes, in per cent", columns=None)
