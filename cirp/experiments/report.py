"""The report's two systems, and one dial of them after the other."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from cirp.experiments import cache, configurations
from cirp.experiments.configurations import Methods
from cirp.experiments.drawn import right_answers
from cirp.experiments.engine import AT_ONCE, Cell, Experiment, Job, cells_of
from cirp.methods.references import blend
from cirp.metrics.scores import score_all

BASELINE, NOISY = configurations.BASELINE, configurations.NOISY
GENTLE = f"{BASELINE}, text {configurations.TEXT_SCALE:g}"  # where the miniature is at its best
NOTHING, TRIP = "do nothing", "autoencoder alone"
BLENDED = (0.0, 0.25, 0.5, 0.75)  # share of the input
SWEEP_STEPS = 20  # what that costs against 150 is shown in the chapter on sweeps


def main_methods(steps: int) -> Methods:
    """The report's two systems as it set them, the baseline at its own best scales, controls."""
    return {
        BASELINE: ("ip2p", dict(steps=steps, text_scale=7.5, image_scale=1.5)),
        GENTLE: (
            "ip2p",
            dict(
                steps=steps,
                text_scale=configurations.TEXT_SCALE,
                image_scale=configurations.IMAGE_SCALE,
            ),
        ),
        NOISY: (
            "noisy",
            dict(variant="text-to-image", steps=steps, strength=0.5, text_scale=12.0),
        ),
        NOTHING: ("nothing", {}),
        TRIP: ("round trip", {}),
    }


def sweep_methods(steps: int = SWEEP_STEPS) -> Methods:
    """Guidance and strength, one dial at a time around the report's settings."""
    found: dict[str, tuple[str, Mapping]] = {}
    for text in (2.0, 4.0, 7.5, 12.0):
        found[f"baseline: text {text:g}, image 1.5"] = (
            "ip2p",
            dict(steps=steps, text_scale=text, image_scale=1.5),
        )
    for image in (1.0, 2.0, 3.0):
        found[f"baseline: text 7.5, image {image:g}"] = (
            "ip2p",
            dict(steps=steps, text_scale=7.5, image_scale=image),
        )
    for text in (12.0, 15.0):
        for strength in (0.4, 0.5, 0.55, 0.7, 0.9):
            found[f"noisy: strength {strength:g}, text {text:g}"] = (
                "noisy",
                dict(variant="text-to-image", steps=steps, strength=strength, text_scale=text),
            )
    return found


def ablation_methods(steps: int = SWEEP_STEPS) -> Methods:
    """2 x 2 x 2: what the report changed at once, on one and the same InstructPix2Pix UNet."""
    found: dict[str, tuple[str, Mapping]] = {}
    for text in (7.5, 12.0):
        for prompt in ("instruction", "caption"):
            found[f"concatenated, text {text:g}, {prompt}"] = (
                "ip2p",
                dict(steps=steps, text_scale=text, image_scale=1.5, prompt=prompt),
            )
            found[f"noised, text {text:g}, {prompt}"] = (
                "noisy",
                dict(
                    variant="instruct-pix2pix",
                    steps=steps,
                    strength=0.5,
                    text_scale=text,
                    prompt=prompt,
                ),
            )
    return found


def reading_methods(steps: int = SWEEP_STEPS) -> Methods:
    """Every reading of the report's "image 0.4-0.55, text guidance 12-15"."""
    noisy = dict(steps=steps, text_scale=12.0)
    return {
        "baseline 7.5 / 1.5": ("ip2p", dict(steps=steps, text_scale=7.5, image_scale=1.5)),
        "strength 0.5, text-to-image UNet, caption": (
            "noisy",
            dict(variant="text-to-image", strength=0.5, **noisy),
        ),
        "strength 0.5, InstructPix2Pix UNet, instruction": (
            "noisy",
            dict(variant="instruct-pix2pix", strength=0.5, prompt="instruction", **noisy),
        ),
        "image scale 0.5, applied literally": (
            "ip2p",
            dict(steps=steps, text_scale=12.0, image_scale=0.5),
        ),
        "image scale 0.5, as diffusers runs it: 1 / 1": (
            "ip2p",
            dict(steps=steps, text_scale=1.0, image_scale=1.0),
        ),
    }


def step_methods(most: int = 150) -> Methods:
    """Return the baseline and our own with fewer and more steps: when does it stop to matter?

    `most` is the largest number that is tried.
    """
    baseline, ours = (
        [count for count in counts if count <= most] or [most]
        for counts in ((5, 10, 20, 50, 150), (5, 10, 20, 50))
    )
    method, own = configurations.automatic()[configurations.OURS]
    _, base = configurations.automatic()[BASELINE]
    return {f"{steps} steps": ("ip2p", {**base, "steps": steps}) for steps in baseline} | {
        f"{configurations.OURS}, {steps} steps": (method, {**own, "steps": steps}) for steps in ours
    }


def blended(job: Job, cell: Cell) -> pd.DataFrame:
    """Score the baseline's edits mixed with their inputs: a control every method has to beat."""
    items = cache.fitted(job.items, job.models)
    made, trips = (
        cache.edits(
            job.models, items, method, seeds=job.seeds, settings=how, batch_size=AT_ONCE,
            progress=False,
        )
        for method, how in ((cell.method, cell.settings), ("round trip", {}))
    )  # fmt: skip
    if job.features is None:
        return pd.DataFrame()
    alpha = cell.columns["alpha"]
    mixed = [blend(e.image, i.source(), alpha=alpha) for e, i in zip(made, items, strict=True)]
    return score_all(
        items, mixed, job.features, round_trips=[one.image for one in trips],
        answers=right_answers(items),
    )  # fmt: skip


def _blends(steps: int) -> list[Cell]:
    method, settings = main_methods(steps)[BASELINE]
    return [Cell("blend", method, settings, {"alpha": alpha}) for alpha in BLENDED]


def _few(methods, steps: int) -> list[Cell]:
    return cells_of(methods(min(SWEEP_STEPS, steps)))


EXPERIMENTS = (
    Experiment("main", lambda steps: cells_of(main_methods(steps)), seeds=2, steps=150),
    Experiment("blends", _blends, steps=150, measure=blended),
    Experiment("readings", partial(_few, reading_methods), steps=150),
    Experiment("ablation", partial(_few, ablation_methods), steps=150),
    Experiment("sweeps", partial(_few, sweep_methods), steps=150),
    Experiment("steps", lambda steps: cells_of(step_methods(steps)), steps=150),
    Experiment("remap_ideas", lambda steps: cells_of(configurations.ideas(steps))),
)
