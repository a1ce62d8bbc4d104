"""Pictures of the world itself, for the book."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirp import figures
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.pairs import KNOWN, Pair, pair
from cirp.miniature.scene import Scene, Thing, region, render
from cirp.miniature.styles import STYLES
from cirp.miniature.svg import Variation, document, pixels

SIDE = 192  # pixels of a drawn picture in these figures
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


def kinds(columns: int = 11) -> Figure:
    """Every kind that pairs are made of."""
    rows = -(-len(KNOWN) // columns)
    fig, axes = figures.grid(rows, columns, side=0.92)
    for ax, name in zip(np.ravel(axes), KNOWN, strict=False):
        figures.show(ax, _thing(name))
        ax.set_title(name, fontsize=7.5, loc="center", pad=2)
    return fig


def settings_and_styles() -> Figure:
    """The settings, then one scene in every style."""
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
    pairs = [pair(seed, "test", kind=kind) for kind in EDIT_KINDS]
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
        quiet, loud = pair(seed, "train"), pair(seed, "train", leak=1.0)
        if quiet.kind not in ("restyle", "change setting"):
            found.append((quiet, loud))
    return found


def leaks(count: int = 4) -> Figure:
    """Training pairs without and with a leak."""
    fig, axes = figures.grid(3, count, side=1.7)
    for column, (quiet, loud) in enumerate(_leaking(count)):
        figures.show(axes[0, column], render(quiet.source, SIDE), f"“{quiet.instruction}”")
        figures.show(axes[1, column], render(quiet.target, SIDE), "clean target")
        figures.show(
            axes[2, column], render(loud.target, SIDE), "leak: " + " and ".join(loud.leaked)
        )
        for row in range(3):
            axes[row, column].title.set_fontsize(8)
    return fig


def bars(table: pd.DataFrame) -> pd.DataFrame:
    """What was wanted and what was reached."""
    some = table[table["wanted"].notna()]
    return pd.DataFrame(
        {
            "bar": some["bar"],
            "wanted": [f"≥ {w:g}" for w in some["wanted"]],
            "reached [95 %]": [
                f"{m:.3g} [{a:.3g}, {b:.3g}]"
                for m, a, b in zip(some["mean"], some["low"], some["high"], strict=True)
            ],
            "edits": some["n"],
            "": np.where(some["mean"] >= some["wanted"], "reached", "missed"),
        }
    ).set_index("bar")


def leak_table(table: pd.DataFrame) -> pd.DataFrame:
    """Outside change and success by the share of leaking pairs in training."""
    some = table[table["note"].astype(str).str.startswith("leak")]
    return pd.DataFrame(
        {
            "trained on": some["note"],
            "measured": some["bar"],
            "mean [95 %]": [
                f"{m:.4f} [{a:.4f}, {b:.4f}]"
                for m, a, b in zip(some["mean"], some["low"], some["high"], strict=True)
            ],
        }
    ).set_index("trained on")


def curves(folder: Path) -> Figure:
    """The loss of each stage as it was logged."""
    logs = sorted(Path(folder).glob("*.csv"))
    columns = min(4, len(logs))
    rows = -(-len(logs) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(2.3 * columns, 1.9 * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, log in zip(axes.flat, logs, strict=False):
        curve = pd.read_csv(log)
        ax.set_axis_on()
        ax.plot(curve["minutes"], curve["loss"], color=figures.BASELINE)
        figures.log_y(ax)
        ax.set_title(log.stem, fontsize=9)
        ax.set_xlabel("minutes", fontsize=8)
        ax.tick_params(labelsize=7, which="both")
    return fig
