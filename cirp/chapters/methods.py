"""The chapters on methods: one beside another, and each by itself."""

import inspect
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion import ddim_inversion
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Edit
from cirp.editing.driver import begin_edit
from cirp.experiments import cache, configurations, factorial, frontiers, study
from cirp.experiments.word_maps import watch
from cirp.figures.sentences import Paragraph, listed, say
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, Interval, compare


def gallery(
    items: Sequence[EditItem], made: Mapping[str, Sequence[Edit]], *, across: int = 6
) -> Figure:
    """Return each edit by every method; the line is the region that the method worked with.

    More than `across` pictures of one edit take several rows, each picture with its name.
    """
    names = ["input", *made, "exact answer"]
    each = -(-len(names) // across)
    columns = min(len(names), across)
    fig, axes = figures.grid(len(items) * each, columns, side=1.3)
    axes = np.reshape(axes, (len(items), each * columns))
    for row, item in enumerate(items):
        for column, name in enumerate(names):
            if name == "input":
                picture, region = item.source(), item.mask()
            elif name == "exact answer":
                picture, region = item.target(), None
            else:
                one = made[name][row]
                picture, region = one.image, None
                if one.mask is not None:
                    region = np.asarray(one.mask) > 127
                    region = None if region.all() or not region.any() else region
            if picture is None:
                continue
            title = figures.fill(name, 18) if row == 0 or each > 1 else ""
            figures.show(axes[row, column], picture, title, mask=region)
            axes[row, column].title.set_fontsize(8 if each > 1 else 10)
        if each == 1:
            figures.row_label(axes[row, 0], item.record.instruction, width=18, fontsize=9)
    return fig


def extremes(
    table: pd.DataFrame, label: str, items: Sequence[EditItem]
) -> tuple[EditItem, EditItem]:
    """Of these edits the one where a method gains most on the baseline, and where it loses most.

    It gains most where both succeed and it keeps more of the structure outside (SSIM), and loses
    most where the baseline succeeds and it does not, by soft success. The first and the last of
    edits that the table does not know.
    """
    shown = frontiers.at_shown(frontiers.local(table))
    known = {item.id: item for item in items}
    shown = shown[shown["id"].isin(list(known))]

    def differences(metric: str) -> pd.Series:
        wide = shown.pivot_table(index="id", columns="method", values=metric)
        return (wide[label] - wide[configurations.BASELINE]).dropna()

    if shown.empty:
        return items[0], items[-1]
    done = shown.pivot_table(index="id", columns="method", values=SUCCESS)
    alike, soft = differences("ssim_source_outside_excess"), differences("success_soft")
    both = done.index[(done[label] == 1) & (done[configurations.BASELINE] == 1)]
    lost = done.index[(done[label] == 0) & (done[configurations.BASELINE] == 1)]
    best = alike.reindex(both).dropna() if len(both) else alike
    worst = soft.reindex(lost).dropna() if len(lost) else soft
    return known[best.idxmax()], known[worst.idxmin()]


def portrait(s: study.Study, label: str, table: pd.DataFrame) -> Figure:
    """Two test edits by one method beside the baseline, the edit words' attention beside each."""
    items = extremes(table, label, cache.fitted(factorial.EXPERIMENT.items(), s.models))
    methods = configurations.automatic(s.steps)
    titles = ["input", "baseline", "its attention", label, "its attention", "exact answer"]
    fig, axes = figures.grid(2, len(titles), side=1.65)
    for row, (item, way) in enumerate(zip(items, ("gains", "loses"), strict=True)):
        truth = item.mask()
        figures.show(axes[row, 0], item.source(), mask=truth)
        for column, name in ((1, configurations.BASELINE), (3, label)):
            method, settings = methods[name]
            seen = watch(s.models, item, method, seed=s.seeds[0], settings=settings, times=None)
            region = None if seen.edit.mask is None else np.asarray(seen.edit.mask) > 127
            figures.show(axes[row, column], seen.edit.image, mask=region)
            if seen.words and seen.record.images:
                figures.overlay(axes[row, column + 1], seen.edit.image, seen.heat(), mask=truth)
        if (target := item.target()) is not None:
            figures.show(axes[row, 5], target)
        figures.row_label(axes[row, 0], f"{way}: {item.record.instruction}", width=20, fontsize=9)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(figures.fill(title, 18), fontsize=9.5, loc="center")
    return fig


def by_kind(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Success, excess outside change and region found, of each method by kind of edit.

    `table` is that of `frontiers`, at the point that each method is shown at. A method is also
    shown as it is when told the region.
    """
    shown = frontiers.at_shown(frontiers.local(table))
    told = frontiers.local(table, told=True)
    parts = {"baseline": shown[shown["method"] == configurations.BASELINE]}
    for label in labels:
        parts[label] = shown[shown["method"] == label]
        if len(true := told[told["method"] == label]):
            parts[f"{label}, given the region"] = true
    columns = {SUCCESS: "edit success", PRIMARY: "outside change", "region_iou": "region IoU"}
    means = {
        (words, name): part.groupby("edit_type")[column].mean()
        for column, words in columns.items()
        for name, part in parts.items()
        if part[column].notna().any()
    }
    return pd.DataFrame(means).T.rename_axis(index=["", "method"], columns=None).round(3)


def finding(table: pd.DataFrame) -> Paragraph:
    """Return what the methods have in common at the point each is shown at, on local test edits."""
    others = [m for m in frontiers.with_dials(table) if m != configurations.BASELINE]
    rows = _against_baseline(table, others)
    quieter = [m for m, (_, out) in rows.items() if out.high < 0]
    louder = [m for m, (_, out) in rows.items() if out.low > 0]
    loses = [m for m, (done, _) in rows.items() if done.high < 0]
    both = [m for m in quieter if m not in loses]
    found = _in_words(rows)
    best = min(both, key=lambda m: rows[m][1].mean, default="")
    return say(
        f"**{len(quieter)} of {len(rows)} methods change significantly less outside than the "
        f"baseline, and {len(both)} of these do not succeed significantly less often"
        + (f": {', '.join(both)}.**" if both else ".**"),
        f"The least outside change is that of {best}." if both else "",
        f"{len(loses)} succeed significantly less often than the baseline; {len(louder)} change "
        "significantly more outside" + (f" ({', '.join(louder)})." if louder else "."),
        numbers=found,
    )


def _against_baseline(
    table: pd.DataFrame, labels: Sequence[str]
) -> dict[str, tuple[Interval, Interval]]:
    """Success and outside change of each, at the point it is shown at, minus the baseline's."""
    shown = frontiers.at_shown(frontiers.local(table))
    return {
        label: tuple(
            compare(shown, label, configurations.BASELINE, metric) for metric in (SUCCESS, PRIMARY)
        )
        for label in labels
    }


def _in_words(rows: dict[str, tuple[Interval, Interval]]) -> pd.DataFrame:
    found = {
        label: {
            "edit success, minus the baseline's": f"{done:+.2f}",
            "outside change, minus the baseline's": f"{out:+.4f}",
        }
        for label, (done, out) in rows.items()
    }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("method")


def family_finding(table: pd.DataFrame, labels: Sequence[str]) -> Paragraph:
    """Say which methods of a chapter change less outside than the baseline, and still succeed."""
    rows = _against_baseline(table, labels)
    less = [name for name, (_, out) in rows.items() if out.high < 0]
    more = [name for name, (_, out) in rows.items() if out.low > 0]
    fail = [name for name, (done, _) in rows.items() if done.high < 0]
    good = [name for name in less if name not in fail]

    def those(names: Sequence[str], what: str) -> str:
        verbs = "change" if len(names) > 1 else "changes"
        who = listed(names)
        return f"{who[:1].upper()}{who[1:]} {verbs} {what} outside than the baseline" if who else ""

    none = f"None of {listed(list(rows))} changes less outside than the baseline"
    return say(
        f"**{those(less, 'less') or none}"
        + (f", and {listed(good)} still succeed{'s' * (len(good) == 1)} as often.**" if good
           else ", and each succeeds less often.**" if less else ".**"),
        f"{those(more, 'more')}." if more else "",
        f"Edits succeed less often with {listed(fail)}." if fail and set(fail) != set(less) else "",
        numbers=_in_words(rows),
    )  # fmt: skip


def compared(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Some methods or controls at the point they are shown at, against the baseline."""
    return _in_words(_against_baseline(table, labels))


def listing(thing) -> Markdown:
    """Return the source of a function or class as it runs, to be read beside its equation."""
    return Markdown(f"```python\n{inspect.getsource(thing).rstrip()}\n```")


def inversion_errors(
    models: Models, items: Sequence[EditItem], *, iterations: Sequence[int], steps: int,
    strength: float = 0.8,
) -> pd.DataFrame:  # fmt: skip
    """Root mean square error of the latents after inversion and back, mean and worst over items."""
    tasks = [cache.task(item, 0) for item in items]
    start, captions = begin_edit(models, tasks), [task.source_caption for task in tasks]
    mine = ddim_inversion.ddim(models.text, steps)
    timesteps = ddim_inversion.remaining(mine, strength)
    rows = []
    for count in iterations:
        path = ddim_inversion.invert(
            models, mine, timesteps, start.clean, captions, iterations=count
        )
        again = ddim_inversion.reconstruct(models, mine, timesteps, path[-1], captions)
        wrong = ddim_inversion.error(again, start.clean)
        rows.append({"iterations": count, "mean RMSE": float(wrong.mean()),
                     "worst RMSE": float(wrong.max()),
                     "std of the noisiest latents": float(path[-1].std())})  # fmt: skip
    return pd.DataFrame(rows).set_index("iterations").round(4)
