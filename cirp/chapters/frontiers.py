"""The chapter on frontiers: every method along its dial, and who finds the region."""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from cirp import figures
from cirp.experiments import aims, configurations, confirmation, dials, frontiers
from cirp.figures.sentences import Numbers, Paragraph, listed, say
from cirp.figures.tables import in_words, named
from cirp.miniature.grammar import WHOLE_PICTURE
from cirp.statistics import frontier, ranking
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, Interval, by_image, mean_of

SHOWN = (configurations.BASELINE, configurations.OURS)  # drawn above the others


def finding(edits: int, apart: pd.DataFrame, summary: pd.DataFrame) -> Paragraph:
    """Return the chapter's answer: ours against its rivals, and how many others beat the baseline.

    `apart` is `dials.apart` of so many edits, `summary` that of `frontiers`.
    """
    apart = dict(apart["area"])
    base = apart.pop(configurations.BASELINE)
    nearest = min(apart, key=lambda name: apart[name].mean)
    others = summary.set_index("method")["area - baseline"]
    others = others.drop([configurations.BASELINE, configurations.OURS])
    better = [name for name, one in others.items() if one.low > 0]
    number = Numbers()
    return say(
        f"**On {edits} local edits that nothing was chosen on, remap's frontier "
        + base.says(above="lies beyond the baseline's", below="falls short of the baseline's",
            open="does not differ significantly from the baseline's",
        )
        + ": its area differs by "
        + number("area: remap minus InstructPix2Pix", base, "+.3f")
        + ".**",
        _against(apart),
        f"The nearest is {listed([nearest])} ("
        + number(f"area: remap minus {nearest}", apart[nearest], "+.3f")
        + ").",
        f"On the test edits {len(better)} of the {len(others)} other methods "
        + ("beats" if len(better) == 1 else "beat")
        + " the baseline significantly"
        + (f" ({', '.join(better)})." if better else "."),
        numbers=number.table,
    )  # fmt: skip


def _against(apart: Mapping[str, Interval]) -> str:
    """Return a sentence: the rivals whose area remap's exceeds by the interval, and the others."""
    groups = {"larger than that of": [], "smaller than that of": [],
              "not significantly different from that of": []}  # fmt: skip
    larger, smaller, open_ = groups
    for name, one in apart.items():
        groups[one.says(above=larger, below=smaller, open=open_)].append(name)
    said = [f"{words} {listed(names)}" for words, names in groups.items() if names]
    return f"It is {'; '.join(said)}."


def rivals_table(apart: pd.DataFrame) -> pd.DataFrame:
    """Return remap's frontier minus each rival's in words; `apart` is that of `dials`."""
    rows = {
        name: {
            "area": f"{one['area']:+.3f}",
            "remap's is": one["area"].says(
                above="larger", below="smaller", open="not clearly either"
            ),
            "outside change at equal success": f"{one['outside at level']:+.4f}",
        }
        for name, one in apart.iterrows()
    }
    return pd.DataFrame(rows).T.rename_axis("remap minus")


def edges(table: pd.DataFrame, *, highlighted: Mapping[str, str]) -> Figure:
    """Every method's points and edge; those in `highlighted` (name -> colour) above grey ones."""
    fig, ax = plt.subplots(figsize=(7.6, 4.8))
    for method in frontiers.with_dials(table):
        success, outside = frontiers.values(table, method)
        colour = highlighted.get(method)
        edge = np.array(frontier.edge_of(success, outside))
        front = dict(zorder=3, lw=2.2) if colour else dict(zorder=1, lw=1.0, alpha=0.7)
        ax.plot(*edge.T, color=colour or "#b5b5b5", **front)
        ax.plot(
            np.nanmean(success, axis=1), np.nanmean(outside, axis=1), "o", ms=5 if colour else 3,
            color=colour or "#b5b5b5", zorder=3 if colour else 1, label=method if colour else None,
        )  # fmt: skip
    if set(frontiers.with_dials(table)) > set(highlighted):
        ax.plot([], [], "o-", color="#b5b5b5", ms=3, label="the other methods")
    ax.axhline(0, color="#888888", lw=0.8, ls=":")
    ax.text(
        0.01,
        -0.0006,
        "nearer to the source than the autoencoder",
        fontsize=8,
        color="#666666",
        va="top",
    )
    ax.set_xlabel("edit success  → better")
    ax.set_ylabel("excess outside change (L1)  ↓ better")
    ax.legend(fontsize=9)
    return fig


def rivals(table: pd.DataFrame) -> Figure:
    """Draw remap and its rivals; `table` is that of `dials`."""
    colours = ("#222222", figures.GOOD, figures.PALETTE[4], figures.PALETTE[3], figures.PALETTE[5])
    named = dict(zip(dials.RIVALS[1:], colours, strict=True))
    ours = {configurations.BASELINE: figures.BASELINE, configurations.OURS: figures.NOISY}
    return edges(table, highlighted=ours | named)


def areas(summary: pd.DataFrame, pasted: pd.DataFrame) -> Figure:
    """Area under each frontier minus the baseline's, as made and with the source pasted."""
    base = configurations.BASELINE
    order = _by_area(summary[summary["method"] != base], "area - baseline")["method"]
    fig, ax = plt.subplots(figsize=(7.0, 0.34 * len(order) + 1.0))
    for shift, (rows, colour, label) in zip(
        (0.13, -0.13),
        ((summary, figures.BASELINE, "as each method makes it"),
         (pasted, figures.NOISY, "source pasted outside its region")),
        strict=True,
    ):  # fmt: skip
        found = rows.set_index("method").loc[order]
        spans = list(found["area - baseline"])
        ax.errorbar(
            [one.mean for one in spans], np.arange(len(order)) + shift,
            xerr=figures.reach(spans), fmt="o", color=colour, ms=4.5,
            lw=1.4, capsize=2.5, label=label,
        )  # fmt: skip
    ax.axvline(0, color="#222222", lw=0.9)
    ax.set_yticks(range(len(order)), order)
    for text in ax.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() == configurations.OURS else "normal")
    ax.set_xlabel("area minus the baseline's  → better")
    ax.legend(fontsize=8.5, loc="upper left")
    ax.grid(axis="y", visible=False)
    return fig


def _by_area(summary: pd.DataFrame, column: str) -> pd.DataFrame:
    return summary.sort_values(column, key=lambda found: found.map(lambda one: one.mean))


def summary_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the frontiers in numbers, best first."""
    shown = _by_area(summary, "area")[::-1]
    columns = {
        "most success": "most edit success",
        "area": "area",
        "area - baseline": "area minus baseline's",
        "outside at level - baseline": "outside change at equal success minus baseline's",
    }
    return in_words(shown.set_index("method").rename_axis(""), columns)


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """Return each method's scores, those with the true region, and how much it closes."""
    shown = frontiers.at_shown(frontiers.local(table))
    told = frontiers.local(table, told=True)
    rows = []
    for method in frontiers.with_dials(table):
        row = {"method": method}
        for part, suffix in ((shown, ""), (told, ", given the region")):
            mine = part[part["method"] == method]
            for metric, label in ((SUCCESS, "edit success"), (PRIMARY, "outside change")):
                if len(mine):
                    row[f"{label}{suffix}"] = f"{mean_of(mine, method, metric):.3f}"
        if method in set(told["method"]):
            way = aims.closing(table, method)
            row["closed"] = "–" if math.isnan(way.mean) else f"{way:.2f}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("").set_index("method")


def confirmed(table: pd.DataFrame) -> Markdown:
    """What edits that nothing was chosen on say of remap; `table` is that of `confirmation`."""
    asked = confirmation.evaluate(table)
    base = configurations.BASELINE
    kept, less = (
        asked.set_index("asked").loc[f"{what} minus that of {base}"]
        for what in ("edit success", "outside change")
    )
    words = {
        "met": "keeps the edit", "missed": "loses edits",
        "open": "may lose edits: the interval does not say",
    }  # fmt: skip
    change = {
        "met": "changes less outside", "missed": "changes more outside",
        "open": "does not differ significantly in what it changes outside",
    }  # fmt: skip
    return say(
        f"**On {table['id'].nunique()} local edits that nothing was chosen on, remap "
        f"{change[less['verdict']]} ({less['reached']}) and {words[kept['verdict']]} "
        f"({kept['reached']}), against the baseline.**"
    )


def on_unseen(table: pd.DataFrame) -> pd.DataFrame:
    """Means with intervals of each method of `confirmation`, remap with the true region last."""
    told = table["told"]
    every = pd.concat(
        [table[~told], table[told].assign(method=f"{configurations.OURS}, true region")]
    )
    measures = {SUCCESS: ".3f", PRIMARY: "+.4f", "answer_iou": ".3f", "region_iou": ".3f"}
    rows = {
        method: {
            named(metric): f"{mean_of(every, method, metric):{spec}}"
            if every.loc[every["method"] == method, metric].notna().any() else "–"
            for metric, spec in measures.items()
        }
        for method in dict.fromkeys(every["method"])
    }  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis(index="")


def whole_picture(table: pd.DataFrame) -> pd.DataFrame:
    """Edits of the whole picture, apart: success, and likeness of the source."""
    own = table[~table["told"] & ~table["pasted"] & table["edit_type"].isin(WHOLE_PICTURE)]
    some = frontiers.at_shown(own)
    rows = []
    for method in dict.fromkeys(some["method"]):
        mine = some[some["method"] == method]
        row = {"method": method, "edits": mine["id"].nunique()}
        for metric in (SUCCESS, "clip_i_source", "clip_t"):
            row[named(metric)] = f"{mean_of(mine, method, metric):.3f}"
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def rank_figure(table: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    """Return a panel a metric (name -> "higher" or "lower" is better): mean ranks over images.

    Methods whose bars overlap are not told apart at 5 % (Friedman and Nemenyi).
    """
    fig, axes = plt.subplots(1, len(metrics), figsize=(5.0 * len(metrics), 5.4))
    for ax, (metric, better) in zip(np.atleast_1d(axes), metrics.items(), strict=True):
        found = ranking.rank(by_image(table, metric), higher_is_better=better == "higher")
        label = f"{named(metric)}\nmean rank, {found.n} images"
        figures.ranks(ax, found.ranks, found.critical, bold=SHOWN, unit=label)
    return fig


def finders_figure(ranked: pd.DataFrame) -> Figure:
    """`board` as dots with intervals; grey is uninformative, hollow is given the region."""
    fig, ax = plt.subplots(figsize=(6.8, 0.3 * len(ranked) + 0.9))
    colours = {
        "finds it": figures.BASELINE,
        "uninformative": figures.CONTROL,
        "knows it": "#222222",
    }
    for place, (_, row) in zip(range(len(ranked))[::-1], ranked.iterrows(), strict=True):
        colour = figures.NOISY if row["method"] == configurations.OURS else colours[row["kind"]]
        reach = [[row["IoU"] - row["low"]], [row["high"] - row["IoU"]]]
        ax.errorbar(
            row["IoU"], place, xerr=reach, fmt="o" if row["kind"] == "finds it" else "s",
            color=colour, markerfacecolor=colour if row["kind"] != "knows it" else "white",
            capsize=3, linewidth=1.6, markersize=6,
        )  # fmt: skip
    ax.set_yticks(range(len(ranked))[::-1], ranked["method"])
    for text in ax.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() == configurations.OURS else "normal")
    ax.set_xlim(0, None)
    ax.set_xlabel("mean overlap with the true region (IoU)")
    ax.grid(axis="y", visible=False)
    return fig
