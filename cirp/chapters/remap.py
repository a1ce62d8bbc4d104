"""The chapter on our own remapping: its evidence, what each part is worth, where it fails."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import mask_picture
from cirp.editing.masks import normalised
from cirp.experiments import cache, configurations, frontiers
from cirp.experiments.drawn import is_local
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.methods import METHODS, remap
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, Interval, by_image, compare, mean_of


def evidence(models: Models, items: Sequence[EditItem], *, seed: int, settings: Mapping) -> Figure:
    """Return a row per edit: what the first step shows, and the two regions."""
    own = METHODS["remap"].configured(**settings)
    tasks = [cache.task(item, seed) for item in items]
    seen = remap.look_at(models, tasks, own)
    made = METHODS["remap"](models, tasks, progress=False, **settings)
    maps = {
        "prediction changes": normalised(seen.change),
        "foreseen picture differs": seen.foreseen,
        "attention writes": normalised(seen.written),
        "evidence": remap.evidence(seen, own),
    }
    generous, whole = remap.mask(seen, own), remap.is_global(seen, own).tolist()
    furthest = float(seen.foreseen.amax())  # one scale for all rows: how far is what counts there
    titles = ["should change", *maps, "generous region", "exact region"]
    fig, axes = figures.grid(len(items), len(titles), side=1.4)
    axes = np.atleast_2d(axes)
    for row, item in enumerate(items):
        truth, image = item.mask(), item.source()
        figures.show(axes[row, 0], image, mask=truth)
        for column, (name, heat) in enumerate(maps.items(), start=1):
            shown = heat[row].float().cpu().numpy()
            peak = furthest if name == "foreseen picture differs" else None
            figures.overlay(axes[row, column], image, shown, mask=truth, peak=peak)
        first = np.asarray(mask_picture(generous[row], image.size)) > 127
        figures.show(axes[row, -2], image, mask=first)
        figures.show(axes[row, -1], made[row].image, mask=np.asarray(made[row].mask) > 127)
        axes[row, -2].text(
            0.5, -0.03, "about the picture" if whole[row] else "about a part",
            transform=axes[row, -2].transAxes, ha="center", va="top", fontsize=8,
        )  # fmt: skip
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(figures.fill(title, 18), fontsize=9, loc="center")
    return fig


def worst(items: Sequence[EditItem], table: pd.DataFrame, *, count: int) -> list[EditItem]:
    """Return the items whose regions were found worst, of those that have a region."""
    order = table.groupby("id")["region_iou"].mean().dropna().sort_values(kind="stable").index
    known = {item.id: item for item in items if not item.record.is_global}
    return [known[name] for name in order if name in known][:count]


def finding(table: pd.DataFrame, tried: pd.DataFrame) -> Paragraph:
    """The chapter's answer: the region it finds, and what remapping attention itself adds."""
    shown = frontiers.at_shown(frontiers.local(table))
    iou = by_image(shown, "region_iou")
    found = mean_of(shown, configurations.OURS, "region_iou")
    others = iou.drop(columns=configurations.OURS).mean().dropna()
    maps = ablation(tried, text=False).loc["attention not remapped"]
    number, apart = Numbers(), "attention not remapped, minus remap"
    pasted = configurations.BASELINE + configurations.PASTED
    done, less = (compare(shown, configurations.OURS, pasted, m) for m in (SUCCESS, PRIMARY))
    number(f"outside change: {apart}", maps["outside"], "+.4f")
    number(f"edit success: {apart}", maps["success"], "+.2f")
    number(f"outside change: remap minus {pasted}", less, "+.4f")
    number(f"edit success: remap minus {pasted}", done, "+.2f")
    number.plain(f"overlap (IoU): {others.idxmax()}", f"{others.max():.2f}")
    return say(
        f"**The model can say where an instruction acts: on {len(iou)} local test "
        "edits the region that remap finds overlaps with the true one by "
        f"{number('overlap (IoU): remap', found, '.2f')}.**",
        "What keeps the rest is the latents: with them constrained, remapping cross-attention "
        + maps["outside"].says(above="removes some more outside change.",
            below="adds outside change.", open="makes no significant difference.",
        ),
        f"Any editor can be pasted by its own change. Against {pasted}, remap changes "
        + less.says(above="more outside", below="less outside", open="about as much outside")
        + " and succeeds "
        + done.says(above="more often.", below="less often.", open="about as often."),
        numbers=number.table,
    )  # fmt: skip


METRICS = {"success": SUCCESS, "outside": PRIMARY, "region IoU": "region_iou"}


def ablation(tried: pd.DataFrame, *, text: bool = True) -> pd.DataFrame:
    """Return remap with each part changed minus remap as it is, paired by image, local edits."""
    constants = {name for both in configurations.HALVES.values() for name in both}
    base, *others = configurations.ideas()
    rows = {}
    for name in others:
        if name not in constants:
            found = _apart(tried, name, base)
            rows[name] = {k: f"{by:+.4f}" for k, by in found.items()} if text else found
    return pd.DataFrame(rows).T.rename_axis("changed")


def _apart(tried: pd.DataFrame, name: str, base: str) -> dict[str, Interval]:
    local = tried[is_local(tried)]
    return {label: compare(local, name, base, metric) for label, metric in METRICS.items()}


def constants(tried: pd.DataFrame) -> pd.DataFrame:
    """Return remap with each constant off by a half minus remap as it is."""
    base = next(iter(configurations.ideas()))
    rows = {
        (constant, times): {k: f"{by:+.4f}" for k, by in _apart(tried, name, base).items()}
        for constant, both in configurations.HALVES.items()
        for times, name in zip(("× 0.5", "× 1.5"), both, strict=True)
    }
    return pd.DataFrame(rows).T.rename_axis(["constant", ""])


def robust(tried: pd.DataFrame) -> Markdown:
    """Say how many changed constants lower success, or raise outside change, by the interval."""
    base = next(iter(configurations.ideas()))
    found = [_apart(tried, name, base) for both in configurations.HALVES.values() for name in both]
    fewer = sum(one["success"].high < 0 for one in found)
    more = sum(one["outside"].low > 0 for one in found)
    return say(
        f"**Of {len(found)} constants off by a half, {fewer or 'none'} "
        f"{'lowers' if fewer == 1 else 'lower'} success significantly, and {more or 'none'} "
        f"{'raises' if more == 1 else 'raise'} the change outside.**"
    )
