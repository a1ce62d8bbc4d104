"""One style for all figures, and drawing onto axes that the caller owns.

    figures.use_style()
    fig, axes = figures.grid(1, 2)
    figures.show(axes[0], source, "input")
    figures.overlay(axes[1], source, heat, "chocolate", mask=mask)
    figures.save(fig, "03_where_chocolate_looks", "_build/figures")

Nothing here computes a result: arrays, images and tables come in, ink goes out.
"""

from cirp.figures.charts import (
    forest,
    number_grid,
    over_time,
    ranks,
    reach,
    trade_off,
)
from cirp.figures.pictures import (
    grid,
    heat_bar,
    image_grid,
    outline,
    overlay,
    point_out,
    row_label,
    show,
)
from cirp.figures.style import (
    BASELINE,
    CONTROL,
    GOOD,
    HEAT,
    MARKERS,
    NOISY,
    PALETTE,
    log_y,
    save,
    use_style,
)
from cirp.figures.text import drawable, fill

__all__ = [
    "BASELINE",
    "CONTROL",
    "GOOD",
    "HEAT",
    "MARKERS",
    "NOISY",
    "PALETTE",
    "drawable",
    "fill",
    "forest",
    "grid",
    "image_grid",
    "log_y",
    "number_grid",
    "heat_bar",
    "outline",
    "point_out",
    "over_time",
    "overlay",
    "ranks",
    "reach",
    "row_label",
    "save",
    "show",
    "trade_off",
    "use_style",
]
