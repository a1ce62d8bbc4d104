"""The chapter on our own remapping: its evidence, its versions, where it fails."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import mask_picture
from cirp.editing.driver import begin_edit
from cirp.editing.masks import normalised
from cirp.experiments import cache, configurations, records
from cirp.methods import remap
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, by_image


def evidence(models: Models, items: Sequence[EditItem], *, seed: int, settings: Mapping) -> Figure:
    """A row per edit: what remap asks the model, what both answers say, and the region."""
    own = cache.completed("remap", settings)
    tasks = [cache.task(item, seed) for item in items]
    asking = ("near", "far", "writing", "draws", "strides", "prompt")
    weighing = {name: own[name] for name in ("weight", "sigma")}
    splitting = {name: own[name] for name in ("grow", "scope", "spare")}
    seen = remap.signs(
        models, tasks, begin_edit(models, tasks), **{name: own[name] for name in asking}
    )
    maps = {
        "prediction changes": normalised(seen.near),
        "attention writes": normalised(seen.written),
        "both": remap.evidence(seen, **weighing),
        "in much noise": seen.far,
    }
    regions = remap.mask(seen, **weighing, **splitting)
    whole = remap.is_global(seen, own["scope"]).tolist()
    brightest = float(seen.far.amax())  # one scale for all rows: how much is what counts there
    titles = ["should change", *maps, "region"]
    fig, axes = figures.grid(len(items), len(titles), side=1.6)
    axes = np.atleast_2d(axes)
    for row, item in enumerate(items):
        truth, image = item.mask(), item.source()
        figures.show(axes[row, 0], image, mask=truth)
        for column, (name, heat) in enumerate(maps.items(), start=1):
            shown = heat[row].float().cpu().numpy()
            peak = brightest if name == "in much noise" else None
            figures.overlay(axes[row, column], image, shown, mask=truth, peak=peak)
        found = np.asarray(mask_picture(regions[row], image.size)) > 127
        figures.show(axes[row, -1], image, mask=found)
        axes[row, -1].text(
            0.5, -0.03, "about the picture" if whole[row] else "about a part",
            transform=axes[row, -1].transAxes, ha="center", va="top", fontsize=8,
        )  # fmt: skip
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9, loc="center")
    return fig


def worst(items: Sequence[EditItem], table: pd.DataFrame, *, count: int) -> list[EditItem]:
    """The items whose regions were found worst, of those that have a region."""
    order = table.groupby("id")["region_iou"].mean().dropna().sort_values(kind="stable").index
    known = {item.id: item for item in items if not item.record.is_global}
    return [known[name] for name in order if name in known][:count]


def versions() -> pd.DataFrame:
    """Means over the test edits of remap's first version and of the present one."""
    both = {
        "the first": records.required("remap_first"),
        "the present": records.required("benchmark"),
    }
    columns = {
        SUCCESS: "edit success",
        PRIMARY: "excess outside change",
        "region_iou": "region IoU",
    }
    rows = []
    for name, table in both.items():
        mine = table[table["method"] == configurations.OURS]
        means = {label: by_image(mine, metric).mean().item() for metric, label in columns.items()}
        rows.append({"version": name, **means, "UNet rows": mine["unet_calls"].mean()})
    return pd.DataFrame(rows)
