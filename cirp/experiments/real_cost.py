"""What chapters cost with real models on common cards: arithmetic, not a measurement.

Rows that the UNet is given an edit are properties of methods and settings, and stand in the
recorded tables. Operations a row are counted on the real UNet's structure without weights. Only the
share of a card's peak that a run reaches is a guess, `REACHED`.
"""

from functools import cache
from types import MappingProxyType

import pandas as pd
import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from cirp.experiments import results

CHAPTERS = MappingProxyType(
    {
        "4 and 6: the report's table": "main",
        "4: readings of its setting": "readings",
        "5: sweeps": "sweeps",
        "5: numbers of steps": "steps",
        "6: the 2 x 2 x 2": "ablation",
        "11: remap's parts": "remap_ideas",
    }
)
# Peak TFLOP/s in float32, which models are loaded in, from the makers' data sheets; GiB of memory.
CARDS = MappingProxyType(
    {"T4": (8.1, 16), "RTX 3090": (35.6, 24), "A100": (19.5, 40), "H100": (66.9, 80)}
)
REACHED = 0.4  # of the peak


@cache
def operations_a_row() -> float:
    """TFLOP of one row of InstructPix2Pix's UNet at 512 x 512 pixels."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, in_channels=8, cross_attention_dim=768)
        given = torch.empty(1, 8, 64, 64), torch.tensor(1), torch.empty(1, 77, 768)
    with FlopCounterMode(display=False) as counted:
        unet(*given)
    return counted.get_total_flops() / 1e12


def rows_an_edit(name: str) -> float:
    """UNet rows that one edit takes with every setting of a recorded table together."""
    table = results.known(name)
    return float(table.groupby("method")["unet_calls"].mean().sum())


def table() -> pd.DataFrame:
    """Chapters by cards: minutes for ten edits and one seed, as arithmetic."""
    found = {}
    for title, name in CHAPTERS.items():
        rows = rows_an_edit(name)
        minutes = {
            f"{card}, minutes": 10 * rows * operations_a_row() / (REACHED * peak) / 60
            for card, (peak, _) in CARDS.items()
        }
        found[title] = {"UNet rows an edit": rows, **minutes}
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("chapter")
