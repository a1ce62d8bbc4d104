"""The chapter on causes: what goes with outside change, and what happens when it is taken away."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from cirp import figures
from cirp.data.edits import EditItem
from cirp.experiments import configurations, factorial, frontiers, strays
from cirp.figures.charts import reach
from cirp.figures.sentences import Numbers, Paragraph, listed, say
from cirp.figures.tables import unnumbered
from cirp.statistics.bootstrap import PRIMARY

OUTSIDE, DONE = "outside", "success"


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


def finding(found: pd.DataFrame) -> Paragraph:
    """Return the chapter's answer; `found` is `factorial.against_baseline`."""
    number, by_verb, latents = Numbers(), {}, ""
    for held, called in (
        ("latents", "the latents"),
        ("guidance", "the text's guidance"),
        ("cross-attention", "cross-attention"),
        ("self-attention", "self-attention"),
    ):
        row = _row(found, factorial.TRUE, held)
        outside, done = (row[f"{name} - baseline"] for name in (OUTSIDE, DONE))
        much = number(f"outside change: {held} held", outside, "+.4f")
        number(f"edit success: {held} held", done, "+.2f")
        verb = outside.says(
            above="adds outside change",
            below="removes outside change",
            open="leaves outside change where it was",
        )
        if held == "latents":
            latents = f"**Holding {called} outside the true region {verb} ({much}).**"
        else:
            by_verb.setdefault(verb, []).append(called)
    without = _row(found, factorial.NOWHERE, "guidance")[f"{OUTSIDE} - baseline"]
    unguided = number("outside change: no guidance", without, "+.4f")
    return say(
        latents,
        *(f"Holding {listed(names)} there {verb}." for verb, names in by_verb.items()),
        "With no text guidance anywhere the outside changes "
        + without.says(
            above="more than under the instruction: without one the editor does not copy its "
            "input, it edits something",
            below="less than under the instruction: the text is what carries the change outside",
            open="about as much as under the instruction",
        )
        + f" ({unguided}).",
        numbers=number.table,
    )


def crossed(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """Regions by holds: means of "outside" or "success", nothing pasted."""
    some = found[~found["pasted"]]
    wide = some.pivot_table(index="region", columns="held", values=name, sort=False)
    regions = [r for r in dict.fromkeys(some["region"]) if r in wide.index]
    return wide.loc[regions, [h for h in factorial.HOLDS if h in wide]].rename_axis(
        index="region", columns="held outside of it"
    )


def factorial_table(found: pd.DataFrame) -> Styler:
    """Every cell of the factorial, as numbers."""
    columns = {"region": "region", "held": "held outside of it"}
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

    def of(name: str, rows: pd.DataFrame) -> pd.Series:
        return rows[rows["muted"] == name].iloc[0]

    first, *others = [rows for _, rows in found.groupby(["training_seed", "text_scale"])]
    ends, words, alone = (
        of(name, first)
        for name in ("end of text and padding", "all words", "all but end of text and padding")
    )
    whole, much = of("nothing", first), "success - nothing"
    ways = [
        row[much].says(above="rises by", below="falls by", open="changes insignificantly, by")
        + f" {abs(row[much].mean):.2f}"
        for row in (ends, words)
    ]
    again = sum(of(ends["muted"], rows)[much].high < 0 for rows in others)
    return say(
        f"**Without {ends['muted']} edit success {ways[0]}, without all words it {ways[1]}.**",
        f"With {ends['muted']} alone {alone['success'].mean:.0%} of the edits succeed, with the "
        f"whole prompt {whole['success'].mean:.0%}.",
        f"Success falls without {ends['muted']} in {again} of the {len(others)} other pairs of "
        "training and text scale, too.",
        "So methods that read or change the words' maps alone (Prompt-to-Prompt, FoI, LIME) work "
        "on the smaller part of what writes the edit."
        if ends[much].high < words[much].low
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
    """Success and outside change with each group muted, a colour a training and text scale."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 6.4), sharey=True, layout="constrained")
    names = list(dict.fromkeys(found["muted"]))
    for ax, what, label in zip(
        axes, ("success", "outside"), ("edit success  → better", "outside change (L1)  ← better"),
        strict=True,
    ):  # fmt: skip
        for place, ((seed, scale), rows) in enumerate(
            found.groupby(["training_seed", "text_scale"])
        ):
            rows = rows.set_index("muted").loc[names]
            ax.errorbar(
                [one.mean for one in rows[what]], np.arange(len(names)) + 0.17 * (place - 1.5),
                xerr=reach(rows[what]), ls="none", ms=4.5, lw=1.2, marker=figures.MARKERS[place],
                color=figures.PALETTE[place],
                label=f"training {seed + 1}, text scale {scale:g}",
            )  # fmt: skip
        ax.set_xlabel(label)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylabel("muted")
    axes[0].invert_yaxis()
    lines, labels = axes[0].get_legend_handles_labels()
    fig.legend(lines, labels, fontsize=9, ncols=2, loc="outside upper center")
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


def scatter(traces: pd.DataFrame, base: pd.DataFrame, *, bins: int = 8) -> Figure:
    """Guidance outside the region against the baseline's excess outside change, and its trend.

    The trend is the mean of `bins` groups of equally many edits.
    """
    both = traces.set_index("id")[["guidance outside", "mean |guidance| outside"]]
    both = both.join(base.groupby("id")[PRIMARY].mean()).dropna()
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
    for ax, name, label in zip(
        axes,
        ("guidance outside", "mean |guidance| outside"),
        ("share of the text's change that is outside", "the text's change per cell outside"),
        strict=True,
    ):
        ax.scatter(both[name], both[PRIMARY], s=18, color=figures.BASELINE, alpha=0.5, lw=0)
        order = both.sort_values(name)
        groups = [
            order.iloc[i] for i in np.array_split(np.arange(len(order)), min(bins, len(order)))
        ]
        middles = [(group[name].mean(), group[PRIMARY].mean()) for group in groups]
        ax.plot(*zip(*middles, strict=True), color=figures.NOISY, marker="o", ms=4, lw=1.6)
        ax.set_xlabel(label)
    axes[0].set_ylabel("excess outside change (L1)")
    return fig
