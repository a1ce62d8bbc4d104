"""The peak is that of what was held, even after it was let go."""

import numpy as np
import pytest

from cirp import memory

MIB = 2**20


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="only Linux tells")
def test_the_peak_counts_what_was_let_go_and_is_forgotten_when_asked():
    before = memory.forget_peak()
    held = np.ones(64 * MIB // 8)
    del held
    assert 60 * MIB < memory.peak() - before < 120 * MIB
    before = memory.forget_peak()
    assert memory.peak() - before < 30 * MIB
