"""Two instructions at once."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from cirp import figures
from cirp.diffusion.pipelines import Models
from cirp.experiments import configurations
from cirp.experiments.configurations import OURS
from cirp.experiments.two_instructions import FOI, SEPARATOR, tasks
from cirp.methods import METHODS
from cirp.miniature.draw_pairs import draw_two
from cirp.miniature.scene import region, render


def sheet(models: Models, seeds: Sequence[int], *, seed: int, steps: int) -> Figure:
    """A row a pair of edits: the baseline on both at once, FoI on each and both, remap on both."""
    pairs = [draw_two(one) for one in seeds]
    each = [tasks(*pair, seed=seed) for pair in pairs]
    both = [three[2] for three in each]
    methods = configurations.automatic(steps)
    _, usual = methods[configurations.BASELINE]
    method, own = methods[FOI]
    edit = METHODS[method]
    columns = {
        "baseline, both": METHODS["ip2p"](models, both, progress=False, **usual),
        "FoI, the first": edit(models, [t[0] for t in each], progress=False, **own),
        "FoI, the second": edit(models, [t[1] for t in each], progress=False, **own),
        "FoI, both": edit(models, both, separator=SEPARATOR, progress=False, **own),
        "remap, both": METHODS[methods[OURS][0]](
            models, both, separator=SEPARATOR, progress=False, **methods[OURS][1]
        ),
    }
    fig, axes = figures.grid(len(pairs), len(columns) + 2, side=1.65)
    axes = np.atleast_2d(axes)
    for row, (first, second) in enumerate(pairs):
        where = region(first.source, first.target) | region(second.source, second.target)
        figures.show(axes[row, 0], both[row].image, mask=where)
        for column, made in enumerate(columns.values(), start=1):
            found = None if made[row].mask is None else np.asarray(made[row].mask) > 127
            figures.show(axes[row, column], made[row].image, mask=found)
        figures.show(axes[row, -1], Image.fromarray(render(second.target)))
        said = SEPARATOR.join(one.instruction for one in (first, second)).strip()
        figures.row_label(axes[row, 0], said, width=26, fontsize=7)
    for ax, title in zip(axes[0], ["input", *columns, "exact answer"], strict=True):
        ax.set_title(title, fontsize=9, loc="center")
    return fig
