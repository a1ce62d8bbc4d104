"""A character that no model here has seen, learnt from five pictures and then edited into others.

A teddy bear: its drawing was kept from training, while bears were trained on. How it is learnt is
in `cirp.diffusion.dreambooth`.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from cirp import figures
from cirp.diffusion import dreambooth
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import captions_to_images
from cirp.diffusion.tasks import Task
from cirp.experiments import configurations, records
from cirp.experiments.needs import LeftOut
from cirp.experiments.study import Study
from cirp.methods import METHODS
from cirp.metrics.features import Features
from cirp.miniature.kinds import SETTINGS
from cirp.miniature.pairs import thing
from cirp.miniature.scene import Scene, Thing, region, render

KIND, NOUN, IDENTIFIER = "teddy bear", "bear", "zyz"
SEEN = ("grass", "kitchen", "beach", "wooden table", "snow")  # where its pictures show it
ASKED = ("beach", "grass", "snow", "kitchen")  # where it is asked for
SCALE = 3.0  # text guidance; at the usual 7.5 the miniature's own pictures burn out as it is tuned
# The paper's rate is for a model a thousand times larger, whose every step moves far more.
TUNING = dict(rate=1e-3, batch_size=4, class_images=16, class_steps=20, class_scale=SCALE)
TRAINED, ALONE, PRESERVED = "as trained", "tuned, no prior", "tuned, prior preserved"
BYTES_A_WEIGHT = 16  # in float32: itself, its gradient, Adam's two moments
CODE = "subject 1"  # raise it when learning or likeness changes
STEPS = {"quick": 80, "full": 400}


def character() -> Thing:
    """The newcomer; its seed fixes its looks."""
    return thing(KIND, random.Random(3), x=50, y=80, size=60)


def native(seed: int) -> Thing:
    """A bear as the models know them, each another."""
    return thing(NOUN, random.Random(seed), x=50, y=80, size=60)


def scene(one: Thing, place: str, seed: int, *, x: float = 50, size: float = 60) -> Scene:
    """It alone, standing in a place; `seed` is the place's."""
    ground = sum(SETTINGS[place].ground) / 2
    return Scene(place, seed, (replace(one, x=x, y=ground, size=size),))


def picture(one: Scene) -> Image.Image:
    """The scene as it is drawn."""
    return Image.fromarray(render(one))


def portraits() -> list[Image.Image]:
    """The five pictures it is learnt from."""
    scenes = [
        scene(character(), place, n, x=44 + 3 * n, size=54 + 3 * n) for n, place in enumerate(SEEN)
    ]
    return [picture(one) for one in scenes]


def prompts(words: str) -> list[str]:
    """What is asked for, in each place."""
    return [f"a {words} {SETTINGS[place].phrase}" for place in ASKED]


def tuned(models: Models, *, steps: int, seed: int, prior_weight: float) -> Models:
    """The text-to-image model that knows "a zyz bear"."""
    return dreambooth.tune(
        models, portraits(), identifier=IDENTIFIER, noun=NOUN, seed=seed, steps=steps,
        prior_weight=prior_weight, progress=False, **TUNING,
    )  # fmt: skip


def variants(models: Models, *, steps: int, seed: int) -> dict[str, Models]:
    """The model as it was, and tuned without and with the loss on the class's own pictures.

    Raises `LeftOut` for other models than a miniature: they would learn a drawing of its world.
    """
    if not models.is_miniature:
        weights = sum(weight.numel() for weight in models.text.unet.parameters())
        raise LeftOut(
            "this chapter teaches the miniature a character of its own world; with other models it "
            f"is left out. cirp.diffusion.dreambooth.tune teaches {models.name} a subject of five "
            f"pictures; the UNet's {weights / 1e6:.0f} million weights, their gradients and Adam's "
            f"moments alone take {weights * BYTES_A_WEIGHT / 2**30:.1f} GiB"
        )
    return {
        TRAINED: models,
        ALONE: tuned(models, steps=steps, seed=seed, prior_weight=0.0),
        PRESERVED: tuned(models, steps=steps, seed=seed, prior_weight=1.0),
    }


def samples(models: Models, words: str, *, seed: int, steps: int) -> list[Image.Image]:
    """A picture for each place."""
    return captions_to_images(models, prompts(words), seed=seed, steps=steps, text_scale=SCALE)


def likeness(pictures: Sequence[Image.Image], features: Features, *, seed: int) -> pd.DataFrame:
    """A row a place: how like the newcomer, and how like a bear, both drawn in that very place.

    Without the place the scores would mostly say whether places are alike.
    """
    drawn = {
        "subject": [scene(character(), place, seed) for place in ASKED],
        "class": [scene(native(seed), place, seed) for place in ASKED],
    }
    rows = {"id": list(ASKED)}
    for name, encode in (("clip_i", features.clip_image), ("dinov2", features.dinov2)):
        mine = encode(pictures)
        for whom, scenes in drawn.items():
            other = encode([picture(one) for one in scenes])
            rows[f"{name}_{whom}"] = (mine * other).sum(axis=1)
    return pd.DataFrame(rows)


def measured(
    s: Study, known: Mapping[str, Models], *, tuning_steps: int, draws: int
) -> pd.DataFrame:
    """`likeness` of what each variant draws, asked for the newcomer and for its class."""
    parts = []
    for variant, models in known.items():
        for words in (f"{IDENTIFIER} {NOUN}", NOUN):
            for seed in range(s.seeds[0], s.seeds[0] + draws):
                rows = likeness(
                    samples(models, words, seed=seed, steps=s.steps), s.features, seed=seed
                )
                parts.append(rows.assign(method=f"{variant}, “a {words}”", seed=seed))
    settings = {**TUNING, "steps": tuning_steps}
    tied = records.provenance(s.models, settings=settings, seed=0, code=CODE, features=s.features)
    every = pd.concat(parts, ignore_index=True)
    return every.assign(**{name: value for name, value in tied.items() if name != "seed"})


def measured_again(s: Study, known: Mapping[str, Models]) -> pd.DataFrame:
    """The full run's table; a quick run measures the model as it was again. See `Study.kept`."""
    some = known if s.profile == "full" else {TRAINED: known[TRAINED]}
    draws = 4 if s.profile == "full" else 1
    rows = measured(s, some, tuning_steps=STEPS["full"], draws=draws)
    return s.kept("subject", rows, checked=["clip_i_subject", "dinov2_subject"])


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
    usual = configurations.found(steps)
    methods = {
        "noisy input": ("noisy", dict(steps=steps, strength=0.7, text_scale=SCALE)),
        "DiffEdit": (usual["DiffEdit"][0], {**usual["DiffEdit"][1], "text_scale": SCALE}),
        "Prompt-to-Prompt": usual["Prompt-to-Prompt"],
    }
    places = ASKED[:3]
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
