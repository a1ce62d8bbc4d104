"""The arithmetic of what real models cost."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from cirp.experiments import real_cost


def test_operations_are_those_of_the_real_structure():
    """859 million weights: each is used at least at 8 x 8 and at most at 64 x 64 places, twice."""
    found = real_cost.operations_a_row() * 1e12
    assert 2 * 8.6e8 * 64 < found < 2 * 8.6e8 * 4096
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, block_out_channels=(32, 64), cross_attention_dim=16,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    with FlopCounterMode(display=False) as counted:
        unet(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 4, 16))
    assert counted.get_total_flops() > 2 * unet.conv_in.weight.numel() * 64


def test_an_edit_takes_the_rows_of_every_setting():
    """Three rows a step for the baseline: 150 of them at the report's setting, twice."""
    rows = real_cost.rows_an_edit("main")
    assert 2 * 450 + 2 * 75 == pytest.approx(rows)


def test_a_card_twice_as_fast_takes_half_the_time():
    table = real_cost.table()
    ratio = table["T4, minutes"] / table["H100, minutes"]
    assert ratio.to_numpy() == pytest.approx(66.9 / 8.1)
    assert (table["UNet rows an edit"] > 0).all()
