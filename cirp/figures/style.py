"""The one style of all figures, and how they are saved."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cirp.figures.text import families

# Okabe and Ito's palette: told apart with any colour vision, and in print.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B")
BASELINE, NOISY, GOOD, *_, CONTROL = PALETTE
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # colour is never the only sign
HEAT = "inferno"


def use_style() -> None:
    """Sets matplotlib's defaults for this process, sharp figures in notebooks, and whole tables."""
    pd.set_option("display.max_colwidth", None)  # no text of a table is cut short
    sns.set_theme(context="notebook", style="whitegrid", palette=list(PALETTE))
    mpl.rcParams.update(
        {
            "axes.edgecolor": "#444444",
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "figure.facecolor": "white",  # so that labels can be read in dark mode, too
            "figure.figsize": (6.4, 4.0),
            "font.family": list(families()),
            "font.size": 11,
            "grid.color": "#e6e6e6",
            "image.cmap": HEAT,
            "legend.frameon": False,
            "savefig.dpi": 160,
            "svg.fonttype": "path",
            "text.parse_math": False,  # an instruction may speak of $5 and \\alpha
            "svg.hashsalt": "cirp",  # the same ids in the same figure
        }
    )
    _sharp_in_notebooks()


def _sharp_in_notebooks() -> None:
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("retina")


def log_y(ax: Axes) -> None:
    """A logarithmic axis whose numbers are written plainly: mathematics is not parsed here."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


LOSSLESS = {"lossless": True, "exact": True, "method": 4}  # of WebP


def save(fig: Figure | None, name: str, folder: Path | str) -> None:
    """Write `name`.svg, or `name`.webp if it holds a picture; the same figure, the same bytes.

    Pictures of pixels are a hundred times as large in an SVG, and no sharper; WebP is lossless.
    None: nothing is saved; the caller has printed why.

    Raises `ValueError` for a name that is not a plain file name.
    """
    if not name or Path(name).name != name or name.endswith((".svg", ".png", ".webp")):
        raise ValueError(f"name={name!r}; give a plain name without folder or ending, 03_maps say")
    if fig is None:
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # a bar of colours is drawn as a picture, too
    if any(ax.images or ax.get_label() == "<colorbar>" for ax in fig.axes):
        fig.savefig(folder / f"{name}.webp", pil_kwargs=LOSSLESS)
    else:
        fig.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
