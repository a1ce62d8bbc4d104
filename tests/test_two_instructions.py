"""Two edits of one scene: two different things, both wanted, the same noise for all."""

import numpy as np
import pytest

from cirp.experiments import two_instructions
from cirp.methods.foi import instructions
from cirp.miniature.draw_pairs import draw_two
from cirp.miniature.pairs import belongs
from cirp.miniature.scene import region


@pytest.mark.parametrize("seed", range(6))
def test_two_things_change_one_after_the_other(seed):
    first, second = draw_two(seed)
    assert first.target == second.source
    wheres = [region(p.source, p.target) for p in (first, second)]
    assert all(where.any() for where in wheres)
    assert (wheres[0] & wheres[1]).sum() < 0.1 * min(where.sum() for where in wheres)
    assert all(belongs(p.source, p.target, "test") for p in (first, second))
    assert draw_two(seed) == (first, second)


def test_the_joint_instruction_is_parted_again_into_the_two():
    pair = draw_two(3)
    one, two, both = two_instructions.tasks(*pair, seed=0)
    assert instructions(both, two_instructions.SEPARATOR) == [one.instruction, two.instruction]
    assert one.key == two.key == both.key and set(both.words) == {*one.words, *two.words}
    assert np.array_equal(np.asarray(one.image), np.asarray(both.image))
