"""Does leaking training data make an editor over-edit? Three editors that differ in nothing else.

From one start (the joint stage), on the same pairs in the same order with the same noise, an
InstructPix2Pix was trained on edits of which none, half, or all leak: something else changes, too.
And once more with another seed of training: another order, another noise. Each is run at the
baseline's points on the local test edits, and compared at equal success.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from cirp.diffusion.pipelines import Models, load
from cirp.diffusion.variants import load_variant, save_difference
from cirp.experiments import configurations, records
from cirp.experiments.configurations import STEPS
from cirp.experiments.engine import Cell, Experiment, planned
from cirp.experiments.plan import plan
from cirp.paths import MODELS
from cirp.statistics import frontier
from cirp.statistics.bootstrap import PRIMARY

LEAKS = (0.0, 0.5, 1.0)  # share of training pairs that leak
SHIPPED = 0.5  # of the editor that is shipped
START = "leak/start.safetensors"  # the joint stage, as a difference from the shipped editor
TRAININGS = tuple(plan().seeds.training)
COLUMNS = (
    "id", "edit_type", "training_seed", "leak", "text_scale", "image_scale", "method",
    *records.PROVENANCE, "success", "success_soft", "kept_seen", "nearer", "answer_distance",
    PRIMARY, "l1_source", "clip_i_source", "dinov2_source",
)  # fmt: skip


def editors(models: Models, training_seed: int = TRAININGS[0]) -> dict[float, Models]:
    """Return the three editors of one seed of training, by the share of their pairs that leaked."""
    return {leak: _editor(models, file_of(leak, training_seed)) for leak in LEAKS}


def file_of(leak: float, training_seed: int) -> str:
    """Where the difference of this editor from `START` lies, in the models' folder."""
    seed = f"-seed-{training_seed}" if training_seed else ""
    return f"leak/leak-{leak:g}{seed}.safetensors"


@lru_cache(maxsize=len(LEAKS) * len(TRAININGS))
def _editor(models: Models, name: str) -> Models:
    return load_variant(_start(models), MODELS / name)


@lru_cache(maxsize=1)
def _start(models: Models) -> Models:
    return load_variant(models, MODELS / START)


def write(folder: Path) -> list[Path]:
    """Write the trained editors of a models folder as differences, as `data/models/leak` has them.

    `folder` is what `cirp miniature train` leaves: the joint stage, the shipped editor (which is
    the one of half leaking pairs) and each variant.
    """
    base, joint = load(str(folder)), folder / "joint"
    parts = {
        "unet": UNet2DConditionModel.from_pretrained(joint / "unet"),
        "text_encoder": CLIPTextModel.from_pretrained(joint / "text_encoder"),
    }
    save_difference(base, parts, folder / START)
    start, written = load_variant(base, folder / START), [folder / START]
    for seed in TRAININGS:
        for leak in LEAKS:
            own = f"-leak-{leak:g}" * (leak != SHIPPED) + f"-seed-{seed}" * bool(seed)
            place = folder / f"instruct-pix2pix{own}"
            parts = {
                "unet": UNet2DConditionModel.from_pretrained(place / "unet"),
                "text_encoder": CLIPTextModel.from_pretrained(place / "text_encoder"),
            }
            written.append(folder / file_of(leak, seed))
            save_difference(start, parts, written[-1])
    return written


def cells(steps: int = STEPS) -> Iterator[Cell]:
    """Yield each editor at each of the baseline's points."""
    for seed in TRAININGS:
        for leak in LEAKS:
            for point, (text, image) in enumerate(configurations.SCALES):
                scales = dict(text_scale=text, image_scale=image)
                yield Cell(
                    f"leak {leak:g}", "ip2p", dict(steps=steps, **scales),
                    dict(training_seed=seed, leak=leak, **scales),
                    models=partial(_editor, name=file_of(leak, seed)), in_slice=point == 1,
                )  # fmt: skip


EXPERIMENT = Experiment(
    "leak", cells, planned("test", local=True), columns=COLUMNS, checked=("success", PRIMARY)
)


def values(table: pd.DataFrame, leak: float) -> tuple[np.ndarray, np.ndarray]:
    """Success and outside change of one editor, (point, image); `table` is of one training."""
    mine = table[table["leak"] == leak]
    mine = mine.assign(point=mine.groupby(["text_scale", "image_scale"]).ngroup())
    wide = mine.pivot_table(
        index="point", columns="id", values=["success", PRIMARY],
        dropna=False,
    )  # fmt: skip
    return wide["success"].to_numpy(dtype=float), wide[PRIMARY].to_numpy(dtype=float)


def level(table: pd.DataFrame) -> float:
    """Return the success at which all are compared: nine tenths of the least able editor's most."""
    most = [
        frontier.edge_of(*values(mine, leak))[-1][0]
        for _, mine in table.groupby("training_seed")
        for leak in LEAKS
    ]
    return 0.9 * min(most)


def at_equal_success(table: pd.DataFrame, *, resamples: int = 2000) -> pd.DataFrame:
    """One row per editor: most success, and the least outside change at equal success.

    Intervals are over images; the differences from the editor without leaks are paired, each with
    that of its own training.
    """
    wanted, rows = level(table), []
    for seed, mine in table.groupby("training_seed"):
        edges = frontier.resampled([values(mine, leak) for leak in LEAKS], resamples=resamples)
        for place, leak in enumerate(LEAKS):
            own = [(edge[place], edge[0]) for edge in edges]
            found = {
                "most success": lambda one, _: one[-1][0],
                "outside": lambda one, _: frontier.outside_at(wanted, one),
                "outside - leak 0": lambda one, clean: (
                    frontier.outside_at(wanted, one) - frontier.outside_at(wanted, clean)
                ),
            }
            row: dict[str, object] = {"training seed": seed, "leak": leak, "level": wanted}
            rows.append(row | {name: frontier.interval(of, own) for name, of in found.items()})
    return pd.DataFrame(rows)
