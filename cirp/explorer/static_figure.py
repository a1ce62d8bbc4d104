"""A run of the explorer as one picture: for paper, for pages without JavaScript, for papermill."""

import numpy as np
import torch
from matplotlib.figure import Figure

from cirp import figures
from cirp.attention.maps import fuse
from cirp.attention.tokens import words as words_of
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.explorer.by_name import BASELINE, prompt_of, run_method, task_of
from cirp.explorer.maps import mean
from cirp.explorer.runs import Request, Seen, names_of, run
from cirp.metrics import similarity

MOST_WORDS = 6
LAST = "behind the text"  # what the last map is of: padding, or all that stands there


def figure(models: Models, item: EditItem, request: Request) -> Figure:
    """Input, edit and what it changed, then the maps of its words, mean over steps and layers."""
    steps: list[Seen] = []
    task, plain = task_of(item, request), request.method == BASELINE
    said = request.instruction if plain else prompt_of(task, request.method)
    made = (run if plain else run_method)(models, task, request, on_step=steps.append)
    made = made if plain else made.image
    words = _words(models, said)[:MOST_WORDS]
    source, mask = item.source(), item.mask()
    change = similarity.change(similarity.to_array(made), similarity.to_array(source))
    shown = 4 + len(words)
    fig, axes = figures.grid(-(-shown // 5), min(shown, 5), side=1.6)
    axes = np.ravel(axes)
    figures.show(axes[0], source, "input", mask=mask)
    figures.show(axes[1], made, "the edit")
    figures.overlay(axes[2], made, change, "what changed", mask=mask, opacity=0.85)
    for place, (word, positions) in enumerate(words, start=3):
        heat = np.mean([_averaged(steps, position) for position in positions], axis=0)
        figures.overlay(axes[place], source, heat, figures.drawable(word), mask=mask)
    figures.overlay(axes[shown - 1], source, _averaged(steps, -1), LAST, mask=mask)
    fig.suptitle(f"“{figures.drawable(request.instruction)}”", fontsize=11, style="italic")
    return fig


def _words(models: Models, said: str) -> list[tuple[str, list[int]]]:
    """Return the words of a text, each with the numbers of its tokens."""
    if models.editor.controllable:
        return [tuple(one) for one in words_of(models.instruct.tokenizer, said)]
    return [(name, [n]) for n, name in enumerate(names_of(models, said)[1:-1], start=1)]


def _averaged(steps: list[Seen], token: int) -> np.ndarray:
    """One token's map on the finest grid: the mean over steps, layers and heads."""
    found = [one[token] for seen in steps for one in mean(seen.maps).values()]
    size = tuple(max(one.shape[axis] for one in found) for axis in (0, 1))
    return fuse(((torch.from_numpy(one)[None, None], 1) for one in found), size)[0].numpy()
