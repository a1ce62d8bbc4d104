"""The chapter on causes: what goes with outside change, and what happens when it is taken away."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from cirp import figures
from cirp.data.edits import EditItem
from cirp.experiments import configurations, factorial, frontiers, strays, traces
from cirp.figures.charts import reach
from cirp.figures.sentences import Numbers, Paragraph, listed, say
from cirp.figures.tables import unnumbered
from cirp.statistics.bootstrap import PRIMARY

OUTSIDE, DONE = "outside", "success"
EDITOR = ("training_seed", "text_scale")  # which editor and scale a row is of


def strays_most(items: Sequence[EditItem], table: pd.DataFrame) -> EditItem:
    """Return the edit on which the baseline changes most outside; `table` is of `frontiers`."""
    shown = frontiers.at_shown(frontiers.local(table))
    own = shown[shown["method"] == configurations.BASELINE].set_index("id")[PRIMARY]
    known = {item.id: item for item in items}
    return known[own.loc[[name for name in own.index if name in known]].idxmax()]


def _row(found: pd.DataFrame, region: str, held: str, *, pasted: bool = False) -> pd.Series:
    some = found[
        (found["region"] == region) & (found["held"] == held) & (found["pasted"] == pasted)
    ]
    return some.iloc[0]


def finding(found: pd.DataFrame, carried: pd.DataFrame) -> Paragraph:
    """Return the chapter's answer: what stops the change outside, and what carries the edit.

    `found` is `factorial.against_baseline`, `carried` that of `carries.against_nothing`.
    """
    number, by_verb = Numbers(), {}
    for held, called in (
        ("latents", "the latents"),
        ("guidance", "the text's guidance"),
        ("cross-attention", "cross-attention"),
        ("self-attention", "self-attention"),
    ):
        row = _row(found, factorial.TRUE, held)
        outside, done = (row[f"{name} - baseline"] for name in (OUTSIDE, DONE))
        number(f"outside change: {held} constrained", outside, "+.4f")
        number(f"edit success: {held} constrained", done, "+.2f")
        verb = outside.says(above="adds outside change", below="removes outside change",
                            open="leaves outside change where it was")  # fmt: skip
        by_verb.setdefault(verb, []).append(called)
    parts = [f"constraining {listed(names)} {verb}" for verb, names in by_verb.items()]
    without = _row(found, factorial.NOWHERE, "guidance")[f"{OUTSIDE} - baseline"]
    number("outside change: no text guidance anywhere", without, "+.4f")
    _, (ends, words) = without_tokens(carried, number)
    return say(
        f"**Outside the true region, {'; '.join(parts)}.**",
        f"Edit success {ends} with end of text and padding muted, and {words} with all words "
        "muted.",
        "Without text guidance anywhere the outside changes "
        + without.says(
            above="more: without an instruction the editor does not copy its input, it edits "
            "something.",
            below="less: the text is what carries the change outside.",
            open="about as much.",
        ),
        numbers=number.table,
    )


def without_tokens(carried: pd.DataFrame, number: Numbers) -> tuple[pd.DataFrame, list[str]]:
    """Return the shipped editor's rows by what is muted, and what two groups of tokens cost."""
    (_, first), *_ = carried.groupby(list(EDITOR))
    first, ways = first.set_index("muted"), []
    for name in ("end of text and padding", "all words"):
        apart = first.loc[name, "success - nothing"]
        much = number(f"edit success: without {name}, minus with all", apart, "+.2f")
        way = apart.says(above="rises by", below="falls by", open="changes insignificantly, by")
        ways.append(f"{way} {much.lstrip('+−')}")
    return first, ways


def crossed(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """Regions by constraints: means of "outside" or "success", nothing pasted."""
    some = found[~found["pasted"]]
    wide = some.pivot_table(index="region", columns="held", values=name, sort=False)
    regions = [r for r in dict.fromkeys(some["region"]) if r in wide.index]
    return wide.loc[regions, [h for h in factorial.HOLDS if h in wide]].rename_axis(
        index="region", columns="constrained outside of it"
    )


def factorial_table(found: pd.DataFrame) -> Styler:
    """Every cell of the factorial, as numbers."""
    columns = {"region": "region", "held": "constrained outside of it"}
    rows = found[list(columns)].rename(columns=columns)
    rows["the source pasted"] = found["pasted"].map({True: "yes", False: "no"})
    for name, heading, digits in ((DONE, "edit success", 3), (OUTSIDE, "outside change", 4)):
        rows[heading] = found[name].map(f"{{:.{digits}f}}".format)
        rows[f"{heading}, minus the baseline's"] = found[f"{name} - baseline"].map(
            f"{{:+.{digits}f}}".format
        )
    return unnumbered(rows)


def crossed_figure(found: pd.DataFrame) -> Figure:
    """Both means side by side, as numbers on colour."""
    fig, axes = plt.subplots(1, 2, figsize=(9.2, 4.4), sharey=True)
    for ax, name, title, format in (
        (axes[0], OUTSIDE, "excess outside change (L1): darker is less", ".4f"),
        (axes[1], DONE, "edit success: lighter is better", ".2f"),
    ):
        table = crossed(found, name)
        cmap = "viridis" if name == DONE else "rocket"
        figures.number_grid(ax, table, format=format, cmap=cmap, title=title)
        names = [
            t.get_text().replace("-", "-\n").replace(" ", "\n", 1) for t in ax.get_xticklabels()
        ]
        ax.set_xticklabels(names, fontsize=8)
    axes[1].set_ylabel("")
    return fig


def gates(found: pd.DataFrame) -> pd.DataFrame:
    """Text guidance alone, gated in every way: what each does against the baseline."""
    rows = []
    for region in (factorial.TRUE, factorial.EVEN, factorial.SHUFFLED, factorial.INVERSE,
                   factorial.NOWHERE):  # fmt: skip
        row = _row(found, region, "guidance")
        rows.append(
            {"guidance kept": region,
             "edit success": f"{row['success']:.3f}",
             "minus baseline's": f"{row[f'{DONE} - baseline']:+.3f}",
             "excess outside change": f"{row['outside']:.4f}",
             "minus the baseline's": f"{row[f'{OUTSIDE} - baseline']:+.4f}"}
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("guidance kept")


def carries_finding(found: pd.DataFrame) -> Paragraph:
    """Say which tokens carry the edit; `found` is `carries.against_nothing`."""
    first, (ends, words) = without_tokens(found, Numbers())
    _, *others = [rows.set_index("muted") for _, rows in found.groupby(list(EDITOR))]
    name, much = "end of text and padding", "success - nothing"
    again = sum(rows.loc[name, much].high < 0 for rows in others)
    return say(
        f"**With {name} muted edit success {ends}, with all words muted it {words}.**",
        f"With {name} alone {first.loc[f'all but {name}', 'success'].mean:.0%} of the edits "
        f"succeed, with the whole prompt {first.loc['nothing', 'success'].mean:.0%}.",
        f"Success falls without {name} in {again} of the {len(others)} other pairs of training "
        "and text scale, too.",
        "So methods that read or change the words' maps alone (Prompt-to-Prompt, FoI, LIME) work "
        "on the smaller part of what writes the edit."
        if first.loc[name, much].high < first.loc["all words", much].low
        else "",
    )


def carries_table(found: pd.DataFrame) -> pd.DataFrame:
    """Each group muted, for the shipped editor at its best text scale."""
    (_, first), *_ = found.groupby(["training_seed", "text_scale"])
    return pd.DataFrame({
        "muted": first["muted"],
        "edit success": first["success"].map("{:.2f}".format),
        "success, minus nothing muted": first["success - nothing"].map("{:+.2f}".format),
        "outside change": first["outside"].map("{:.4f}".format),
        "outside change, minus nothing muted": first["outside - nothing"].map("{:+.4f}".format),
    }).set_index("muted")  # fmt: skip


def carries_figure(found: pd.DataFrame) -> Figure:
    """Success and outside change with each group muted; other trainings and scales in grey."""
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 5.2), sharey=True, layout="constrained")
    names = list(dict.fromkeys(found["muted"]))
    groups = [rows for _, rows in found.groupby(["training_seed", "text_scale"])]
    for ax, what, label in zip(
        axes, ("success", "outside"), ("edit success  → better", "outside change (L1)  ← better"),
        strict=True,
    ):  # fmt: skip
        for place, rows in enumerate(reversed(groups)):
            rows, shipped = rows.set_index("muted").loc[names], place == len(groups) - 1
            how = dict(color=figures.BASELINE, ms=6, marker="o", zorder=3) if shipped else dict(
                color=figures.CONTROL, ms=4, marker=figures.MARKERS[place], alpha=0.7,
                markerfacecolor="none",
            )  # fmt: skip
            ax.errorbar(
                [one.mean for one in rows[what]], np.arange(len(names)), ls="none", lw=1.6,
                xerr=reach(rows[what]) if shipped else None,
                label=f"training {rows['training_seed'].iloc[0] + 1}, "
                f"text scale {rows['text_scale'].iloc[0]:g}",
                **how,
            )  # fmt: skip
        ax.set_xlabel(label)
    axes[0].set_yticks(range(len(names)), names, fontsize=9.5)
    axes[0].set_ylabel("muted")
    axes[0].invert_yaxis()
    lines, labels = axes[0].get_legend_handles_labels()
    fig.legend(lines[::-1], labels[::-1], fontsize=9, ncols=2, loc="outside upper center")
    return fig


def swaps_finding(found: pd.DataFrame) -> Paragraph:
    """Say which tokens decide what is edited; `found` is `swaps.both_done`."""
    first, *others = [rows.set_index("taken") for _, rows in found.groupby(list(EDITOR))]
    ends, words = first.loc["end of text and padding"], first.loc["words"]
    more = ends["second - first"].says(above="more", below="less", open="about as")
    again = [rows.loc["end of text and padding", "second - first"] for rows in others]
    alike = sum((one.low > 0, one.high < 0) == (ends["second - first"].low > 0,
                ends["second - first"].high < 0) for one in again)  # fmt: skip
    return say(
        "**With end of text and padding taken from the second instruction, its edit is made "
        f"{more} often {'as' if more == 'about as' else 'than'} the edit that the words ask "
        f"for: {ends['second'].mean:.0%} and {ends['first'].mean:.0%} of the edits.**",
        "With the words taken in their place, the edit that the words ask for is made in "
        f"{words['second'].mean:.0%}, and that of end of text and padding in "
        f"{words['first'].mean:.0%}.",
        f"The comparison comes out the same way in {alike} of the {len(others)} other pairs of "
        "training and text scale.",
    )


def swaps_table(found: pd.DataFrame) -> pd.DataFrame:
    """How often each of two edits is made, for each editor and scale and group of tokens."""
    return pd.DataFrame({
        "training": found["training_seed"] + 1,
        "text scale": found["text_scale"].map("{:g}".format),
        "taken from the second": found["taken"],
        "first edit made": found["first"].map("{:.2f}".format),
        "second edit made": found["second"].map("{:.2f}".format),
        "second minus first": found["second - first"].map("{:+.2f}".format),
    }).set_index(["training", "text scale", "taken from the second"])  # fmt: skip


def swaps_figure(found: pd.DataFrame) -> Figure:
    """How often each of the two edits is made, by what is taken from the second instruction."""
    (_, rows), *_ = found.groupby(list(EDITOR))
    fig, ax = plt.subplots(figsize=(7.6, 3.4))
    for place, (column, label) in enumerate(
        (("first", "edit of the first instruction"), ("second", "edit of the second"))
    ):
        ax.errorbar(
            [one.mean for one in rows[column]], np.arange(len(rows)) + 0.18 * (2 * place - 1),
            xerr=reach(rows[column]), ls="none", ms=6, lw=1.6, marker=figures.MARKERS[place],
            color=figures.PALETTE[place], label=label,
        )  # fmt: skip
    ax.set_yticks(range(len(rows)), rows["taken"])
    ax.set_ylabel("taken from the second")
    ax.set_xlabel("share of edits that are made")
    ax.invert_yaxis()
    fig.legend(*ax.get_legend_handles_labels(), fontsize=9.5, ncols=2, loc="outside upper center")
    return fig


def strays_finding(table: pd.DataFrame) -> Paragraph:
    """Where the baseline's change outside lands: near or far, on what is alike or on the rest."""
    base = configurations.BASELINE
    near, far = (list(strays.wide(table, "distance", base))[place] for place in (0, -1))
    away = strays.difference(table, "distance", base, near, far)
    like = strays.difference(table, "meaning", base, strays.ALIKE, strays.SETTING)
    other = strays.difference(table, "meaning", base, strays.OTHERS, strays.SETTING)
    much = dict(above="more", below="less", open="about as much")
    than = dict(above="than", below="than", open="as")
    return say(
        f"**The baseline changes {away.says(**much)} next to the region "
        f"({near}) {away.says(**than)} far from it ({far}): "
        f"{format(away, '+.4f')}.**",
        f"Other things change {other.says(**much)} "
        f"{other.says(**than)} the setting "
        f"({format(other, '+.4f')}, {other.n} edits).",
        f"Untouched things that the words fit as well are in {like.n} of the edits alone, too few "
        "to tell."
        if like.n < strays.FEW
        else "Untouched things that the words fit as well change by "
        f"{format(like, '+.4f')} more ({like.n} edits).",
    )


def strays_figure(table: pd.DataFrame) -> Figure:
    """Change outside by distance from the region, and by what is seen there."""
    fig, axes = plt.subplots(1, 2, figsize=(10.4, 4.2), sharey=True)
    for ax, by in zip(axes, ("distance", "meaning"), strict=True):
        found = strays.profile(table, by)
        found = found[found["n"] >= strays.FEW]
        parts = list(dict.fromkeys(found["part"]))
        for place, (name, mine) in enumerate(found.groupby("method", sort=False)):
            mine = mine.set_index("part").loc[parts]
            at = np.arange(len(parts)) + 0.11 * (place - 2)
            reach = np.stack([mine["mean"] - mine["low"], mine["high"] - mine["mean"]])
            ax.errorbar(
                at, mine["mean"], yerr=np.nan_to_num(reach).clip(min=0), ms=5, capsize=2.5, lw=1.5,
                marker=figures.MARKERS[place], color=figures.PALETTE[place], label=name,
                ls="-" if by == "distance" else "none",
            )  # fmt: skip
        ax.axhline(0, color="#888888", lw=0.8, ls=":")
        ax.set_xticks(range(len(parts)), [figures.fill(part, 14) for part in parts])
        ax.set_xlabel("from the region" if by == "distance" else "what is seen there")
    axes[0].set_ylabel("excess change (L1)  ↓ better")
    lines, names = axes[0].get_legend_handles_labels()
    fig.legend(lines, names, fontsize=9, ncols=3, loc="outside upper center")
    return fig


def scatter(found: pd.DataFrame, base: pd.DataFrame) -> Figure:
    """Guidance outside the region against the baseline's outside change, with rank correlations."""
    both = found.set_index("id")[["guidance outside", "mean |guidance| outside"]]
    both = both.join(base.groupby("id")[PRIMARY].mean()).dropna()
    rho = traces.correlations(found, base).set_index("trace")["spearman"]
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
    for ax, name, label in zip(
        axes,
        ("guidance outside", "mean |guidance| outside"),
        ("share of the text's change that is outside", "the text's change per cell outside"),
        strict=True,
    ):
        ax.scatter(both[name], both[PRIMARY], s=22, color=figures.BASELINE, alpha=0.6, lw=0)
        ax.set_title(f"rank correlation {rho[traces.TRACES[name]]:+.2f}", fontsize=10, loc="center")
        ax.set_xlabel(label)
    axes[0].set_ylabel("excess outside change (L1)")
    return fig
