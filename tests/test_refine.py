"""Refined prompts by rule."""

import pytest

from cirp.refine import refine


@pytest.mark.parametrize(
    "instruction, source, target",
    [
        ("change peach into strawberry", "a fox holding a peach", "a fox holding a strawberry"),
        ("replace the dog with a cat", "a dog on the beach", "a cat on the beach"),
        ("Turn the car into an apple.", "a car in the snow", "an apple in the snow"),
        ("make the dog happy", "a dog on the grass", "a happy dog on the grass"),
        ("paint the car blue", "a car and a tree", "a blue car and a tree"),
        ("add an owl", "a tree on the grass", "a tree and an owl on the grass"),
        ("remove the owl", "a tree and an owl on the grass", "a tree on the grass"),
        ("remove the owl", "an owl and a tree on the grass", "a tree on the grass"),
        ("put it on the beach", "a cat in the snow", "a cat on the beach"),
    ],
)  # fmt: skip
def test_the_plain_cases(instruction, source, target):
    assert refine(instruction, source) == target


@pytest.mark.parametrize("instruction", ["surprise me", "replace the fox with a bear"])
def test_what_no_rule_fits_is_refused(instruction):
    with pytest.raises(ValueError, match="write target_caption"):
        refine(instruction, "a dog on the beach")
