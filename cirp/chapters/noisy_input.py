"""The chapter on the baseline and noisy input: side by side, and every reading of the report."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.tasks import Edit
from cirp.experiments import cache, report
from cirp.experiments.needs import REQUIREMENTS, possible
from cirp.experiments.report import BASELINE, NOISY
from cirp.explorer.captions import CaptionEditor
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.figures.tables import ANSWERS, known_best, named, points
from cirp.metrics import similarity
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, compare

PLACES = ((-8, -6), (8, 6), (8, 6), (8, -6), (8, 8))  # of the readings' names at their points
LESS = ": noisy input minus baseline"


def finding(table: pd.DataFrame) -> Paragraph:
    """Noisy input minus baseline, paired by image: what is kept, and what is done."""
    if NOISY not in set(table["method"]):
        return say(
            "**These edits have no target captions, which the noisy input is told: here the "
            "baseline stands alone.** `cirp refine` writes them (data/README.md)."
        )
    said, number = {}, Numbers()
    for metric in ("clip_i_source", "dinov2_source", SUCCESS, PRIMARY):
        said[metric] = compare(table, NOISY, BASELINE, metric)
    done, out = said[SUCCESS], said[PRIMARY]
    clip, dino = (
        number(f"{named(metric)}{LESS}", said[metric], "+.3f")
        for metric in ("clip_i_source", "dinov2_source")
    )
    similar = (
        f"CLIP-I to the input differs by {clip}, DINOv2 by {dino}. In the report, on real models "
        "and ten photographs, both were higher (+0.023 and +0.009)."
    )
    if not np.isfinite([done.mean, out.mean]).all():
        return say(
            f"**{similar}**",
            "Whether the edits happened, and what changed outside, is not known of these pictures.",
            numbers=number.table,
        )
    success = number(f"edit success{LESS}", done, "+.2f")
    outside = number(f"outside change{LESS}", out, "+.4f")
    return say(
        "**The noisy input succeeds "
        + done.says(above="more often than the baseline",
                      below="less often than the baseline", open="about as often as the baseline")
        + f" ({success}) and changes "
        + out.says(above="more", below="less", open="about as much")
        + f" outside the region ({outside}).**",
        similar,
        numbers=number.table,
    )  # fmt: skip


def captions(items: Sequence[EditItem]) -> pd.DataFrame | None:
    """The report's own edits: instruction, what the picture shows, and the refined caption."""
    rows = {}
    for item in items:
        record, written = item.record, cache.target_caption(item.record)
        if record.source_caption is None or written is None:
            continue
        rows[record.instruction] = {
            "the picture shows": record.source_caption,
            "refined caption": written,
            "words that are new": " ".join(
                word for word in written.split() if word not in record.source_caption.split()
            ),
        }
    if not rows:
        print("left out: captions. No source caption here can be refined by rule (data/README.md).")
        return None
    return pd.DataFrame(rows.values(), index=pd.Index(rows, name="instruction"))


def caption_editor(study, items: Sequence[EditItem]) -> CaptionEditor | None:
    """The same captions to change: which words differ, and with a kernel what becomes of it."""
    able = [
        one for one in items if one.record.source_caption and REQUIREMENTS["target caption"](one)
    ]
    if not able:
        return None  # `captions` has said why
    both = possible(report.main_methods(study.sweep_steps), able)  # says why, if it cannot be run
    if NOISY not in both:
        return None
    _, settings = both[NOISY]
    return CaptionEditor(study.models, able, study.features, seed=study.seeds[0], settings=settings)


def side_by_side(
    items: Sequence[EditItem], made: Mapping[str, Sequence[Edit]], table: pd.DataFrame, seed: int
) -> Figure:
    """The report's table as pictures: input, both outputs with their similarities, the answer.

    Of edits with the same instruction the first one is shown.
    """
    first = {item.record.instruction: i for i, item in reversed(list(enumerate(items)))}
    made = {name: [edits[i] for i in sorted(first.values())] for name, edits in made.items()}
    items = [items[i] for i in sorted(first.values())]
    names, answers = list(made), [item.target() for item in items]
    last = ["exact answer"] * any(answer is not None for answer in answers)
    scores = table[table["seed"] == seed].set_index(["method", "id"])
    pictures, captions = [], []
    for i, item in enumerate(items):
        row = [item.source(), *(made[n][i].image for n in names)]
        pictures.append([*row, answers[i]] if last else row)
        said = []
        for name in names:
            row = scores.loc[(name, item.id)]
            said.append(
                f"CLIP-I {100 * row['clip_i_source']:.1f}  "
                f"DINOv2 {100 * row['dinov2_source']:.1f}\n"
                + figures.fill(similarity.outcome(row), 24)
            )
        captions.append(["", *said, *[""] * len(last)])
    fig, axes = figures.grid(len(items), len(names) + 1 + len(last), side=1.7)
    figures.image_grid(
        axes,
        pictures,
        columns=["input", *names, *last],
        rows=[figures.fill(item.record.instruction, 18) for item in items],
        captions=captions,
    )
    for ax, item in zip(np.atleast_2d(axes)[:, 0], items, strict=True):
        if (mask := item.mask()) is not None:
            figures.outline(ax, mask, size=item.size)
    return fig


def readings_figure(table: pd.DataFrame) -> Figure | None:
    """Each reading of the report's setting as one point: success against CLIP-I."""
    x = known_best(table, ANSWERS)
    if x is None:
        return None
    fig, ax = plt.subplots(figsize=(7.2, 4.0))
    figures.trade_off(
        ax,
        points(table, (x, "clip_i_source")),
        x=x,
        y="clip_i_source",
        labels=(named(x), named("clip_i_source")),
        beside=dict(zip(report.reading_methods(), PLACES, strict=True)),
        wrap=24,
    )
    ax.margins(x=0.12)
    return fig


def gate(
    models, item: EditItem, settings: Sequence[tuple[float, float]], *, steps: int = 10
) -> pd.DataFrame:
    """diffusers' own pipeline at (text, image) scales, each against the first: are they equal?"""
    first, rows = None, []
    for text, image in settings:
        made = models.instruct(
            item.record.instruction,
            image=item.source(),
            num_inference_steps=steps,
            guidance_scale=text,
            image_guidance_scale=image,
            generator=torch.Generator().manual_seed(0),
        ).images[0]
        pixels = similarity.to_array(made)
        first = pixels if first is None else first
        rows.append(
            {
                "text guidance": text,
                "image guidance": image,
                "largest difference from the first row (of 255)": round(
                    255 * float(np.abs(pixels - first).max())
                ),
            }
        )
    return pd.DataFrame(rows).set_index(["text guidance", "image guidance"])
