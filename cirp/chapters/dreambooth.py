"""A character that no model here has seen: what is drawn of it, and edits into it."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from cirp import figures
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task
from cirp.experiments import configurations
from cirp.experiments.subject import (
    IDENTIFIER,
    NOUN,
    PRESERVED,
    SCALE,
    TEST_SETTINGS,
    TRAINED,
    character,
    native,
    picture,
    portraits,
    prompts,
    samples,
    scene,
)
from cirp.methods import METHODS
from cirp.miniature.scene import region


def sheet(known: Mapping[str, Models], *, seed: int, steps: int) -> Figure:
    """Its pictures; below, what each variant draws of it and of its class."""
    lines = {"its pictures": portraits()}
    for variant, models in known.items():
        for words in (f"{IDENTIFIER} {NOUN}", NOUN):
            lines[f"{variant}\n“a {words}”"] = samples(models, words, seed=seed, steps=steps)
    columns = max(len(line) for line in lines.values())
    fig, axes = figures.grid(len(lines), columns, side=1.25)
    fig.set_size_inches(1.25 * columns + 1.7, 1.3 * len(lines))  # names stand at the left
    rows = [[*line, *[None] * (columns - len(line))] for line in lines.values()]
    figures.image_grid(axes, rows)
    for ax, name in zip(axes[:, 0], lines, strict=True):
        figures.row_label(ax, name, rotation=0)
    return fig


def edits(known: Mapping[str, Models], *, seed: int, steps: int) -> Figure:
    """Bears turned into the newcomer by the methods of captions: a row a place."""
    usual = configurations.automatic(steps)
    methods = {
        "noisy input": ("noisy", dict(steps=steps, strength=0.7, text_scale=SCALE)),
        "DiffEdit": (usual["DiffEdit"][0], {**usual["DiffEdit"][1], "text_scale": SCALE}),
        "Prompt-to-Prompt": usual["Prompt-to-Prompt"],
    }
    places = TEST_SETTINGS[:3]
    before = [scene(native(n), place, n) for n, place in enumerate(places)]
    after = [scene(character(), place, n) for n, place in enumerate(places)]
    tasks = [
        Task(
            picture(source), f"change {NOUN} into {IDENTIFIER} {NOUN}", target,
            seed, key=f"newcomer-{place}", source_caption=caption, words=(NOUN,),
            target_words=(IDENTIFIER, NOUN), mask=region(source, answer),
        )
        for source, answer, place, caption, target in zip(
            before, after, places, prompts(NOUN), prompts(f"{IDENTIFIER} {NOUN}"), strict=False
        )
    ]  # fmt: skip
    columns = {"input": [task.image for task in tasks]}
    for variant in (TRAINED, PRESERVED):
        for name, (method, settings) in methods.items():
            made = METHODS[method](known[variant], tasks, progress=False, **settings)
            columns[f"{name}\n{variant}"] = [one.image for one in made]
    columns["exact answer"] = [picture(one) for one in after]
    fig, axes = figures.grid(len(tasks), len(columns), side=1.3)
    axes = np.atleast_2d(axes)
    pictures = [list(row) for row in zip(*columns.values(), strict=True)]
    figures.image_grid(axes, pictures, columns=list(columns), masks=[task.mask for task in tasks])
    for ax in axes[0]:
        ax.title.set_fontsize(8)
    return fig
