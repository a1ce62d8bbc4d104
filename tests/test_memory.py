"""The peak is that of what was held at once, even if it was let go."""

import torch

from cirp.experiments import memory

MIB = 2**20


def test_the_peak_is_what_was_held_at_once():
    kept = []

    def run():
        first = torch.ones(8 * MIB // 4)
        del first
        kept.append(torch.ones(2 * MIB // 4))
        second = torch.ones(4 * MIB // 4)
        del second

    assert 8 * MIB <= memory.peak(run) < 8.1 * MIB
    assert memory.peak(lambda: None) < MIB

    def both():
        kept.append(torch.ones(4 * MIB // 4))
        kept.append(torch.ones(8 * MIB // 4))

    assert 12 * MIB <= memory.peak(both) < 12.1 * MIB


def test_what_was_held_before_does_not_count():
    before = torch.ones(16 * MIB // 4)
    assert MIB <= memory.peak(lambda: torch.ones(MIB // 4)) < 1.1 * MIB
    del before
