"""Pictures of the world itself, and how good its models are, for the book."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import load
from cirp.diffusion.tasks import Edit
from cirp.experiments import cache, configurations, frontiers
from cirp.experiments.drawn import load_miniature_edits, right_answers
from cirp.metrics.answers import by_count
from cirp.metrics.scores import JUDGED
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.pairs import KNOWN, Pair
from cirp.miniature.scene import Scene, Thing, region, render
from cirp.miniature.styles import STYLES
from cirp.miniature.svg import Variation, document, pixels
from cirp.statistics.bootstrap import Interval

SIDE = 192  # pixels of a drawn picture in these figures
CONTROL = "control succeeds"  # of `bars`: one line for each control and kind of edit
COUNTS = (1, 2, 4, 8, 16, 32)  # right answers that an edit is compared with
PAPER = np.array([246, 241, 230])


def _thing(name: str, seed: int = 4) -> np.ndarray:
    """One thing on plain paper; its state is as the seed says."""
    kind = KINDS[name]
    v = Variation(seed, name.replace(" ", "-"))
    states = {a.name: a.states[seed % len(a.states)] for a in kind.attributes}
    drawn = pixels(
        document("".join(layer.svg for layer in kind.draw(v, **states)), v.defs), SIDE
    ).astype(float)
    alpha = drawn[..., 3:] / 255
    return np.round(drawn[..., :3] * alpha + PAPER * (1 - alpha)).astype(np.uint8)


def kinds(columns: int = 9) -> Figure:
    """Every kind that pairs are made of."""
    rows = -(-len(KNOWN) // columns)
    fig, axes = figures.grid(rows, columns, side=0.92)
    for ax, name in zip(np.ravel(axes), KNOWN, strict=False):
        figures.show(ax, _thing(name))
        ax.set_title(name, fontsize=7.5, loc="center", pad=2)
    return fig


def settings_and_styles() -> Figure:
    """Return the settings, then one scene in every style."""
    scene = Scene("grass", 3, (Thing("fox", (), 50, 88, 58, False, 2),))
    pictures = [(name, render(Scene(name, 3, ()), SIDE)) for name in SETTINGS]
    pictures += [
        (name, render(Scene("grass", 3, scene.things, style=name), SIDE)) for name in STYLES
    ]
    fig, axes = figures.grid(-(-len(pictures) // 6), 6, side=1.35)
    for ax, (name, picture) in zip(np.ravel(axes), pictures, strict=False):
        figures.show(ax, picture, name)
        ax.title.set_fontsize(9)
    return fig


def edit_kinds(seed: int = 40) -> Figure:
    """One test edit of each kind: source, target, mask; two kinds a row."""
    pairs = [draw_pair(seed, "test", kind=kind) for kind in EDIT_KINDS]
    fig, axes = figures.grid(4, 6, side=1.4)
    for i, p in enumerate(pairs):
        row, left = i // 2, 3 * (i % 2)
        figures.show(axes[row, left], render(p.source, SIDE))
        figures.show(axes[row, left + 1], render(p.target, SIDE), f"{p.kind}: “{p.instruction}”")
        figures.show(axes[row, left + 2], region(p.source, p.target).astype(np.uint8) * 255)
        axes[row, left + 1].title.set_fontsize(8)
    return fig


def _leaking(count: int) -> list[tuple[Pair, Pair]]:
    found, seed = [], 0
    while len(found) < count:
        seed += 1
        quiet, loud = draw_pair(seed, "train"), draw_pair(seed, "train", leak=1.0)
        if quiet.kind not in ("restyle", "change setting"):
            found.append((quiet, loud))
    return found


def leaks(count: int = 4) -> Figure:
    """Training pairs without and with a leak."""
    fig, axes = figures.grid(3, count, side=1.7)
    for column, (quiet, loud) in enumerate(_leaking(count)):
        said = figures.fill(f"“{quiet.instruction}”", 24)
        figures.show(axes[0, column], render(quiet.source, SIDE), said)
        figures.show(axes[1, column], render(quiet.target, SIDE), "clean target")
        figures.show(
            axes[2, column], render(loud.target, SIDE), "leak: " + " and ".join(loud.leaked)
        )
        for row in range(3):
            axes[row, column].title.set_fontsize(9)
    return fig


def bars(table: pd.DataFrame) -> pd.DataFrame:
    """Return what was wanted and what was reached, without the controls."""
    some = table[table["wanted"].notna() & (table["bar"] != CONTROL)]
    some = some.fillna({"kind": "", "part": ""})
    verdicts = {"yes": "reached", "no": "missed", "open": "open"}
    return pd.DataFrame(
        {
            "bar": some["bar"],
            "of": [
                ", ".join(filter(None, one)) for one in zip(some["kind"], some["part"], strict=True)
            ],
            "wanted": [f"{s} {w:g}" for s, w in zip(some["sense"], some["wanted"], strict=True)],
            "reached [95 %]": _spans(some),
            "n": some["n"],
            "": some["reached"].map(verdicts),
        }
    ).set_index("bar")


def _spans(some: pd.DataFrame) -> list[str]:
    ends = zip(some["mean"], some["low"], some["high"], strict=True)
    return [f"{Interval(*end, 0, 0, ''):.3g}" for end in ends]


def _first(count: int) -> tuple[list[EditItem], list[Edit]]:
    """Return the first validation edits, and what the book's editor makes of them."""
    models = load("miniature")
    items = cache.fitted(load_miniature_edits("validation", -(-count // 8) * 8), models)[:count]
    method, settings = configurations.automatic()[configurations.BASELINE]
    return items, cache.edits(models, items, method, settings=settings, progress=False)


def nearest_by_count(count: int) -> pd.DataFrame:
    """Mean distance to the nearest of so many right answers, of edits that have more than one."""
    items, made = _first(count)
    rows = {}
    for item, edit, answers in zip(items, made, right_answers(items), strict=True):
        if len(answers) > 1:
            distance = by_count(np.asarray(edit.image), np.asarray(item.source()), answers, COUNTS)
            rows[item.id] = distance | {"kind": item.record.edit_type}
    found = pd.DataFrame.from_dict(rows, orient="index")
    return found.groupby("kind").mean().rename_axis(columns="right answers")


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """The judge's verdict against the nearest right answer's, over the baseline's test edits."""
    base = frontiers.at_shown(frontiers.local(table))
    base = base[base["method"] == configurations.BASELINE]
    says = (
        (base[list(JUDGED)].fillna(1.0) >= 1.0).all(axis=1).map({True: "done", False: "not done"})
    )
    near = (base["nearer"] >= 1.0).map({True: "nearer", False: "not nearer"})
    return pd.crosstab(says.rename("the judge"), near.rename("to a right answer than the source"))


def first_edits(count: int) -> Figure:
    """Return the first validation edits as triples: source, the book's editor, exact answer."""
    items, made = _first(count)
    across = 3
    rows = -(-count // across)
    fig, axes = figures.grid(rows, 3 * across, side=1.05)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (item, edit) in enumerate(zip(items, made, strict=True)):
        row, left = divmod(i, across)
        for column, picture in enumerate((item.source(), edit.image, item.target())):
            figures.show(axes[row, 3 * left + column], picture)
        axes[row, 3 * left + 1].set_title(
            figures.fill(item.record.instruction, 32), fontsize=8.5, loc="center", pad=3
        )
    return fig


def training(folder: Path) -> pd.DataFrame:
    """Return what each stage saw, and where it ran, from its own log."""
    rows = []
    for log in sorted(Path(folder).glob("*.json")):
        record = json.loads(log.read_text(encoding="utf-8"))
        minutes = record.get("minutes")
        rows.append(
            {
                "stage": log.stem,
                "samples": f"{record['samples']:,}",
                "minutes": "" if minutes is None else f"{minutes:.1f}",
                "machine": record["machine"],
                "arithmetic": record["arithmetic"],
                "then": "; ".join(
                    f"{more['samples']:,} samples more ({more['what']}; {more['device']})"
                    for more in record.get("afterwards", [])
                ),
            }
        )
    return pd.DataFrame(rows).set_index("stage")


def curves(folder: Path) -> Figure:
    """Return the loss of each stage as it was logged."""
    logs = sorted(Path(folder).glob("*.csv"))
    columns = min(4, len(logs))
    rows = -(-len(logs) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(2.2 * columns, 1.9 * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, log in zip(axes.flat, logs, strict=False):
        curve = pd.read_csv(log)
        ax.set_axis_on()
        ax.plot(curve["minutes"], curve["loss"], color=figures.BASELINE)
        figures.log_y(ax)
        ax.set_title(log.stem, fontsize=9)
        ax.set_xlabel("minutes", fontsize=8.5)
        ax.tick_params(labelsize=8.5, which="both")
    return fig
