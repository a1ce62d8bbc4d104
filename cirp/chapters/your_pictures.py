"""The chapter on one's own pictures: what is known of them, from an instruction alone upwards."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.tasks import Edit
from cirp.experiments import configurations, report
from cirp.experiments.configurations import Methods
from cirp.experiments.engine import score_methods
from cirp.experiments.needs import REQUIREMENTS
from cirp.experiments.study import Study
from cirp.experiments.word_maps import Watched, watch, with_words
from cirp.figures.sentences import Numbers, Paragraph, say
from cirp.figures.tables import named, wide
from cirp.metrics import similarity
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, compare, mean_of

OURS = configurations.OURS
PAPER = 7.5  # text guidance of InstructPix2Pix where nobody has looked for a better one
TOTAL = "l1_source"
COLUMNS = (
    SUCCESS, PRIMARY, TOTAL, "l1_source_inside", "clip_i_source", "dinov2_source", "clip_t",
    "region_iou",
)  # fmt: skip
FEW = 5  # pictures; of fewer an interval says nothing


def pictures(s: Study) -> list[EditItem]:
    """All of one's own pictures, however quick the run; of the book's the ten examples."""
    return s.items if s.is_default else s.everything


def methods(s: Study) -> Methods:
    """Return what is run on the pictures of a study."""
    return chosen(pictures(s), steps=s.steps, miniature=s.models.is_miniature)


def chosen(items: Sequence[EditItem], *, steps: int, miniature: bool) -> Methods:
    """The baseline, remap at the same scales, the noisy input if there are captions, controls."""
    text = configurations.TEXT_SCALE if miniature else PAPER
    scales = dict(steps=steps, text_scale=text, image_scale=configurations.IMAGE_SCALE)
    known, settings = configurations.automatic(steps)[OURS]
    known_ones = report.main_methods(steps)
    found: dict[str, tuple[str, Mapping]] = {
        report.BASELINE: ("ip2p", scales), OURS: (known, {**settings, **scales}),
    }  # fmt: skip
    captioned = all(REQUIREMENTS["target caption"](item) for item in items)
    for name in (*[report.NOISY] * captioned, report.NOTHING, report.TRIP):
        found[name] = known_ones[name]
    return found


def scores(s: Study, chosen: Methods) -> pd.DataFrame:
    """Return a row per picture and method, computed here and now; nothing of it is recorded."""
    return score_methods(s.models, s.features, pictures(s), chosen, seeds=s.seeds[:1])


def finding(table: pd.DataFrame) -> Paragraph:
    """Remap minus baseline: how much of the picture changes, and how similar it stays."""
    count = table["id"].nunique()
    if count < FEW:
        ours, base = (mean_of(table, name, TOTAL).mean for name in (OURS, report.BASELINE))
        return say(
            f"**On {count} picture{'s' * (count > 1)} remap changes {ours:.3f} of the "
            f"picture, InstructPix2Pix {base:.3f} (mean absolute change of a pixel, 0 to "
            "1).** Of so few no interval is given."
        )
    number, less = Numbers(), "remap minus InstructPix2Pix"
    change, clip, dino = (
        compare(table, OURS, report.BASELINE, metric)
        for metric in (TOTAL, "clip_i_source", "dinov2_source")
    )
    much, likeness, looks = (
        number(f"{what}: {less}", found, "+.3f")
        for what, found in (("change of the picture (L1)", change),
                            ("CLIP-I to source", clip), ("DINOv2 to source", dino))
    )  # fmt: skip
    return say(
        f"**On {count} pictures remap changes "
        + change.says(above="more", below="less", open="about as much")
        + f" of the picture than InstructPix2Pix does ({much}).**",
        f"CLIP-I to the input differs by {likeness}, DINOv2 by {looks}. Less change is not yet a "
        "better edit: look.",
        numbers=number.table,
    )  # fmt: skip


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Methods by what can be known of these pictures; says what cannot, and why."""
    return wide(table, COLUMNS).T.rename(index={named(TOTAL): "change of the picture (L1)"})


def side_by_side(items: Sequence[EditItem], made: Mapping[str, Sequence[Edit]]) -> Figure:
    """Return a row per picture: input, each output, and what the first two change, on one scale."""
    names, both = list(made), list(made)[:2]
    fig, axes = figures.grid(len(items), 1 + len(names) + len(both), side=1.7)
    axes = np.atleast_2d(axes)
    pictures = [
        [item.source(), *(made[name][row].image for name in names), *[None] * len(both)]
        for row, item in enumerate(items)
    ]
    heads = ["input", *names, *(f"changed by\n{name}" for name in both)]
    figures.image_grid(
        axes, pictures, columns=heads,
        rows=[figures.fill(item.record.instruction, 20) for item in items],
    )  # fmt: skip
    for row, item in enumerate(items):
        source = similarity.to_array(item.source())
        changes = [
            similarity.change(similarity.to_array(made[name][row].image), source) for name in both
        ]
        peak = max(float(np.quantile(change, 0.995)) for change in changes)
        for column, (name, change) in enumerate(zip(both, changes, strict=True)):
            edit = made[name][row]
            found = None if edit.mask is None else np.asarray(edit.mask) >= 128
            ax = axes[row, 1 + len(names) + column]
            title = heads[1 + len(names) + column] if row == 0 else ""
            figures.overlay(ax, edit.image, change, title, mask=found, peak=peak, opacity=0.85)
    return fig


def save_first(s: Study, items: Sequence[EditItem], made: Mapping[str, Sequence[Edit]]) -> None:
    """Save the first picture's row for the front page of a book of one's own."""
    if not s.is_default:
        first = {name: edits[:1] for name, edits in made.items()}
        fig = side_by_side(items[:1], first)
        s.save(fig, "19_first_picture")
        plt.close(fig)


def watched(s: Study, items: Sequence[EditItem], chosen: Methods) -> list[Watched]:
    """The baseline's attention on each, for the words that carry the edit or all content words."""
    name, settings = chosen[report.BASELINE]
    return [
        watch(s.models, with_words(item, s.models), name, seed=s.seeds[0], settings=settings)
        for item in items
    ]
