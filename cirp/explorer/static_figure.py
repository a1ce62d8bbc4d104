"""A run of the explorer as one picture: for paper, for pages without JavaScript, for papermill."""

import numpy as np
import torch
from matplotlib.figure import Figure

from cirp import figures
from cirp.attention.maps import fuse
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.explorer.by_name import BASELINE, prompt_of, run_method, task_of
from cirp.explorer.maps import mean
from cirp.explorer.runs import Request, Seen, names_of, run
from cirp.metrics import similarity

MOST_WORDS = 6


def figure(models: Models, item: EditItem, request: Request) -> Figure:
    """Input, edit and what it changed, then the maps of its words, mean over steps and layers."""
    steps: list[Seen] = []
    task, plain = task_of(item, request), request.method == BASELINE
    said = request.instruction if plain else prompt_of(task, request.method)
    made = (run if plain else run_method)(models, task, request, on_step=steps.append)
    made = made if plain else made.image
    words = names_of(models, said)[1:-1][:MOST_WORDS]
    source, mask = item.source(), item.mask()
    change = similarity.change(similarity.to_array(made), similarity.to_array(source))
    fig, axes = figures.grid(1, 3 + len(words), side=1.6)
    axes = np.ravel(axes)
    figures.show(axes[0], source, "input", mask=mask)
    figures.show(axes[1], made, "the edit")
    figures.overlay(axes[2], made, change, "changed", mask=mask, opacity=0.85)
    for place, word in enumerate(words):
        heat = _averaged(steps, 1 + place)
        figures.overlay(axes[3 + place], source, heat, figures.drawable(word), mask=mask)
    fig.suptitle(f"“{figures.drawable(request.instruction)}”", fontsize=11, style="italic")
    return fig


def _averaged(steps: list[Seen], token: int) -> np.ndarray:
    """One token's map on the finest grid: the mean over steps, layers and heads."""
    found = [one[token] for seen in steps for one in mean(seen.maps).values()]
    size = tuple(max(one.shape[axis] for one in found) for axis in (0, 1))
    return fuse(((torch.from_numpy(one)[None, None], 1) for one in found), size)[0].numpy()
