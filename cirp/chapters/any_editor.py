"""The chapter on any editor's outputs: aligned, searched for their region, repaired."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import aims, cache, configurations
from cirp.experiments.any_editor import OUTSIDE
from cirp.experiments.traces import rank_correlation
from cirp.figures.sentences import Numbers, Paragraph, judged, say
from cirp.metrics import repair, similarity
from cirp.metrics.registration import align, move, register
from cirp.statistics.bootstrap import SUCCESS, Interval, by_image, compare, mean_of, paired_interval

FALLS, LOSES = 0.9, 0.03  # of the plan: what outside change has to fall by, success may lose
SHIFT = 3.0  # pixels by which the figure's output is moved
STRONGEST = 0.3  # change at which the figure's colour ends


def before_and_after(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return a method's rows, those before and after the repair named so in place of the method."""
    mine = table[table["method"] == method]
    return mine.assign(method=np.where(mine["kept"], "after", "before"))


def change(table: pd.DataFrame, method: str, metric: str) -> Interval:
    """Return what the repair adds to a metric, paired by edit."""
    return compare(before_and_after(table, method), "after", "before", metric)


def removed(table: pd.DataFrame, method: str) -> Interval:
    """Return the share of the change outside that the repair removes: a ratio of means."""
    images = by_image(before_and_after(table, method), OUTSIDE)
    return aims.closed(images["before"], images["after"], 0 * images["before"])


def finding(table: pd.DataFrame) -> Paragraph:
    """Return the chapter's answer, from the baseline's outputs of unseen edits."""
    base, number = configurations.BASELINE, Numbers()
    gone, done = removed(table, base), change(table, base, SUCCESS)
    number("share of the change outside that the repair removes", gone)
    success = number("success after the repair minus before", done, "+.3f")
    return say(
        f"**Putting the source back outside of what an output changed removes {gone.mean:.0%} of "
        f"InstructPix2Pix's unwanted change, on {gone.n} edits.**",
        "Edits "
        + done.says(
            above="succeed more often afterwards",
            below="succeed less often afterwards",
            open="succeed as often afterwards as before, as far as these edits can tell",
        )
        + f" ({success}). This works on the outputs of any editor, without its model.",
        numbers=number.table,
    )


def wanted(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the plan asks of the repair, and what was reached."""
    base = configurations.BASELINE
    rows = [
        {"asked": "share of the change outside removed", **judged(removed(table, base), FALLS)},
        {"asked": "success after minus before",
         **judged(change(table, base, SUCCESS), -LOSES, "+.3f")},
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("asked")


def by_method(table: pd.DataFrame) -> pd.DataFrame:
    """Return success and change outside of each method's outputs, before and after the repair."""
    rows = []
    for method in dict.fromkeys(table["method"]):
        row: dict[str, str] = {"method": method}
        for name, metric, spec in (("success", SUCCESS, ".3f"), ("outside", OUTSIDE, ".4f")):
            mine = before_and_after(table, method)
            for when in ("before", "after"):
                row[f"{name} {when}"] = f"{mean_of(mine, when, metric).mean:{spec}}"
            row[f"{name}: difference"] = f"{change(table, method, metric):+{spec}}"
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def alignment(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far off the alignment is, for each move; medians of the edits with an answer."""
    rows = []
    for name in dict.fromkeys(table["method"]):
        mine = table[table["method"] == name]
        off = mine[["off", "off_scale", "off_angle"]].median()
        rows.append({
            "output": name,
            "said to be moved": f"{mean_of(table, name, 'answered'):.2f}",
            "off by (pixels)": _or_dash(off["off"], 2),
            "off by (scale)": _or_dash(off["off_scale"], 4),
            "off by (degrees)": _or_dash(off["off_angle"], 2),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("output")


def _or_dash(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def agreement(table: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return how the region found from an output agrees with the true one, on the same outputs."""
    mine = table[~table["kept"]].dropna(subset=[OUTSIDE, "outside_of_found"])
    found, true = (mine[name].to_numpy(float) for name in ("outside_of_found", OUTSIDE))
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(mine), size=(resamples, len(mine)))
    low, high = np.quantile([rank_correlation(found[d], true[d]) for d in draws], [0.025, 0.975])
    rho = Interval(rank_correlation(found, true), low, high, len(mine), 0, "percentile")
    base = configurations.BASELINE
    rows = {
        "overlap with the true region (IoU)": f"{mean_of(mine, base, 'region_iou'):.3f}",
        "change outside of the true region": f"{mean_of(mine, base, OUTSIDE):.4f}",
        "change outside of the region found": f"{mean_of(mine, base, 'outside_of_found'):.4f}",
        "difference": f"{paired_interval(found, true, metric=OUTSIDE):+.4f}",
        "rank correlation of both": f"{rho:.3f}",
        "refused as an edit of the whole picture": f"{mine['refused'].mean():.3f}",
    }
    return pd.DataFrame({"value [95 %]": rows}).rename_axis(index="on the baseline's outputs")


def strip(models: Models, items: list[EditItem]) -> Figure:
    """Draw one output that was moved: its change as it lies, after alignment, and repaired.

    The edit is the one whose change outside of the region is the largest of these items.
    """
    method, settings = configurations.automatic()[configurations.BASELINE]
    items = cache.fitted(items, models)
    made = cache.edits(models, items, method, settings=settings, progress=False)

    def outside(item: EditItem, image: Image.Image) -> float:
        return float(_change(image, item.source())[~item.mask()].mean())

    best = max(range(len(items)), key=lambda n: outside(items[n], made[n].image))
    item, moved = items[best], move(made[best].image, dx=SHIFT, dy=-1.0)
    source = item.source()
    aligned, _ = align(moved, register(source, moved), size=source.size)
    kept = repair.keep(source, moved).image
    shown = (
        ("source", source, None), ("output, shifted", moved, None),
        ("change as it lies", None, moved), ("change, aligned", None, aligned),
        ("repaired", kept, None), ("change, repaired", None, kept),
    )  # fmt: skip
    fig, axes = plt.subplots(1, 6, figsize=(10.4, 2.2), layout="constrained")
    for ax, (title, picture, changed) in zip(axes, shown, strict=True):
        if picture is None:
            heat = _change(changed, source)
            drawn = ax.imshow(heat, cmap="magma", vmin=0, vmax=STRONGEST)
            figures.outline(ax, item.mask())
            ax.set_title(title, fontsize=10, loc="center")
            ax.set_axis_off()
        else:
            figures.show(ax, picture, title)
    fig.colorbar(drawn, ax=axes[-1], label="change (L1)")
    fig.suptitle(f"“{item.record.instruction}”")
    return fig


def _change(picture: Image.Image, source: Image.Image) -> np.ndarray:
    return similarity.change(*map(similarity.to_array, (picture, source)))
