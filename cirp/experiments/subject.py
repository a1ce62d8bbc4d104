"""A character that no model here has seen, learnt from five pictures: does it look like itself?

A teddy bear: its drawing was kept from training, while bears were trained on. How it is learnt is
in `cirp.diffusion.dreambooth`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import pandas as pd
from PIL import Image

from cirp.diffusion import dreambooth
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import captions_to_images
from cirp.experiments import configurations
from cirp.experiments.engine import Cell, Experiment, Job
from cirp.experiments.needs import LeftOut
from cirp.metrics.features import Features
from cirp.miniature.kinds import SETTINGS
from cirp.miniature.pairs import thing
from cirp.miniature.scene import Scene, Thing, render

KIND, NOUN, IDENTIFIER = "teddy bear", "bear", "zyz"
SEEN = ("grass", "kitchen", "beach", "wooden table", "snow")  # where its pictures show it
TEST_SETTINGS = ("beach", "grass", "snow", "kitchen")  # where samples are asked for
SCALE = 3.0  # text guidance; at the usual 7.5 the miniature's own pictures burn out as it is tuned
# The paper's rate is for a model a thousand times larger, whose every step moves far more.
TUNING = dict(rate=1e-3, batch_size=4, class_images=16, class_steps=20, class_scale=SCALE)
TRAINED, ALONE, PRESERVED = "as trained", "tuned, no prior", "tuned, prior preserved"
BYTES_A_WEIGHT = 16  # in float32: itself, its gradient, Adam's two moments
STEPS = {"quick": 80, "full": 400}


def character() -> Thing:
    """Return the newcomer; its seed fixes its looks."""
    return thing(KIND, random.Random(3), x=50, y=80, size=60)


def native(seed: int) -> Thing:
    """Return a bear as the models know them, each another."""
    return thing(NOUN, random.Random(seed), x=50, y=80, size=60)


def scene(one: Thing, place: str, seed: int, *, x: float = 50, size: float = 60) -> Scene:
    """It alone, standing in a place; `seed` is the place's."""
    ground = sum(SETTINGS[place].ground) / 2
    return Scene(place, seed, (replace(one, x=x, y=ground, size=size),))


def picture(one: Scene) -> Image.Image:
    """Return the scene as it is drawn."""
    return Image.fromarray(render(one))


def portraits() -> list[Image.Image]:
    """Return the five pictures it is learnt from."""
    scenes = [
        scene(character(), place, n, x=44 + 3 * n, size=54 + 3 * n) for n, place in enumerate(SEEN)
    ]
    return [picture(one) for one in scenes]


def prompts(words: str) -> list[str]:
    """Return what is asked for, in each place."""
    return [f"a {words} {SETTINGS[place].phrase}" for place in TEST_SETTINGS]


def tuned(models: Models, *, steps: int, seed: int, prior_weight: float) -> Models:
    """Return the text-to-image model that knows "a zyz bear"."""
    return dreambooth.tune(
        models, portraits(), identifier=IDENTIFIER, noun=NOUN, seed=seed, steps=steps,
        prior_weight=prior_weight, progress=False, **TUNING,
    )  # fmt: skip


def variants(models: Models, *, steps: int, seed: int) -> dict[str, Models]:
    """Return the model as it was, and tuned without and with the loss on the class's own pictures.

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
    """Return a picture for each place."""
    return captions_to_images(models, prompts(words), seed=seed, steps=steps, text_scale=SCALE)


def likeness(pictures: Sequence[Image.Image], features: Features, *, seed: int) -> pd.DataFrame:
    """A row a place: how like the newcomer, and how like a bear, both drawn in that very place.

    Without the place the scores would mostly say whether places are alike.
    """
    drawn = {
        "subject": [scene(character(), place, seed) for place in TEST_SETTINGS],
        "class": [scene(native(seed), place, seed) for place in TEST_SETTINGS],
    }
    rows = {"id": list(TEST_SETTINGS)}
    for name, encode in (("clip_i", features.clip_image), ("dinov2", features.dinov2)):
        mine = encode(pictures)
        for whom, scenes in drawn.items():
            other = encode([picture(one) for one in scenes])
            rows[f"{name}_{whom}"] = (mine * other).sum(axis=1)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Place:
    """Where the newcomer is asked for: what a row of the table is of."""

    id: str


LABELS = {
    f"{variant}, “a {words}”": (variant, words)
    for variant in (TRAINED, ALONE, PRESERVED)
    for words in (f"{IDENTIFIER} {NOUN}", NOUN)
}


@lru_cache(maxsize=1)
def _taught(models: Models) -> dict[str, Models]:
    return variants(models, steps=STEPS["full"], seed=0)


def measure(job: Job, cell: Cell) -> pd.DataFrame:
    """Measure the likeness of what one variant draws: a row a seed and place."""
    variant, words = LABELS[cell.label]
    models = job.models if variant == TRAINED else _taught(job.models)[variant]
    parts = []
    for seed in job.seeds:
        drawn = samples(models, words, seed=seed, steps=configurations.STEPS)
        parts.append(likeness(drawn, job.features, seed=seed).assign(seed=seed))
    return pd.concat(parts, ignore_index=True)


def cells(_: int = 0) -> list[Cell]:
    """Return each variant, asked for the newcomer and for its class."""
    how = {**TUNING, "steps": STEPS["full"]}
    return [
        Cell(label, "", how, in_slice=variant == TRAINED) for label, (variant, _) in LABELS.items()
    ]


PLACES = [Place(name) for name in TEST_SETTINGS]
EXPERIMENT = Experiment(
    "subject", cells, lambda: PLACES, seeds=4, measure=measure, code="subject 1",
    sample=lambda: PLACES, hash=lambda place: "", checked=("clip_i_subject", "dinov2_subject"),
)  # fmt: skip
