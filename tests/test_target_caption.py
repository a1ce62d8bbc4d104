"""Refined prompts by rule."""

import time
from contextlib import suppress

import pytest

from cirp.data.edits import load_edits
from cirp.data.target_caption import refine
from cirp.paths import EDITS


@pytest.mark.parametrize(
    "instruction, source, target",
    [
        ("change peach into strawberry", "a fox holding a peach", "a fox holding a strawberry"),
        ("replace the dog with a cat", "a dog on the beach", "a cat on the beach"),
        ("swap the dog for a cat", "dog on the beach", "cat on the beach"),
        ("Turn the car into an apple.", "a car in the snow", "an apple in the snow"),
        ("turn the horse into a zebra", "a man riding a brown horse", "a man riding a zebra"),
        ("replace the donut with a cat", "a donut with mint topping", "a cat"),
        ("make the dog happy", "a dog on the grass", "a happy dog on the grass"),
        ("make the sad dog happy", "a sad dog on the grass", "a happy dog on the grass"),
        ("make the dog look happy", "a sad brown dog and a cat", "a happy brown dog and a cat"),
        ("change the dog from sad to angry", "a sad dog", "an angry dog"),
        ("paint the car blue", "a red car and a tree", "a blue car and a tree"),
        ("change the red car to yellow", "a red car and a tree", "a yellow car and a tree"),
        ("change the colour of the car to yellow", "the red car", "the yellow car"),
        ("change donut topping to chocolate", "a donut with mint topping on a table",
         "a donut with chocolate topping on a table"),
        ("change mayonnaise dip to ketchup", "a burger with mayonnaise dip in a kitchen",
         "a burger with ketchup dip in a kitchen"),
        ("replace the mint topping with lemon topping", "a donut with mint topping",
         "a donut with lemon topping"),
        ("make the topping of the donut chocolate", "a cake with mint topping and a donut with "
         "mint topping", "a cake with mint topping and a donut with chocolate topping"),
        ("add an owl", "a tree on the grass", "a tree and an owl on the grass"),
        ("add an owl", "a tree and a cat on the grass", "a tree, a cat and an owl on the grass"),
        ("put an owl into the picture", "a tree", "a tree and an owl"),
        ("add a hat to the dog", "a dog and a cat in the snow",
         "a dog with a hat and a cat in the snow"),
        ("remove the owl", "a tree and an owl on the grass", "a tree on the grass"),
        ("remove the owl", "an owl and a tree on the grass", "a tree on the grass"),
        ("delete the box", "a red box with a gold ribbon, a cat and a dog", "a cat and a dog"),
        ("erase the peach", "a fox holding a peach and a dog", "a fox and a dog"),
        ("put it on the beach", "a cat in the snow", "a cat on the beach"),
        ("move it under a night sky", "a cat in a kitchen, as a sketch",
         "a cat under a night sky, as a sketch"),
        ("change the background to a brick wall", "a cat in the snow",
         "a cat in front of a brick wall"),
        ("make it a watercolour", "a cat in the snow", "a cat in the snow, as a watercolour"),
        ("turn it into a sepia photo", "a cat, as a sketch", "a cat, as a sepia photo"),
    ],
)  # fmt: skip
def test_the_plain_cases(instruction, source, target):
    assert refine(instruction, source) == target


@pytest.mark.parametrize(
    "instruction, source",
    [
        ("surprise me", "a dog on the beach"),
        ("replace the fox with a bear", "a dog on the beach"),
        ("paint the car blue", "a red car and a green car"),  # which?
        ("remove the dog", "a dog on the beach"),  # nothing would be left to name
        ("turn it into a cat", "a dog on the beach"),
        ("add a hat on the dog", "a dog and a cat on the grass"),
        ("make the dog wear a hat", "a dog"),
        ("change the hot dog to dog", "a dog on the beach"),
        ("change the dog with a hat to a cat", "a dog on the beach"),
        ("make the dog happy", "a happy dog"),
        ("make the dog happy", ""),
    ],
)
def test_what_is_not_certain_is_refused(instruction, source):
    with pytest.raises(ValueError, match="write target_caption"):
        refine(instruction, source)


def test_most_of_the_books_instructions_are_refined_as_the_world_says_it():
    records = [item.record for item in load_edits(EDITS)]
    same = refused = 0
    for record in records:
        try:
            same += refine(record.instruction, record.source_caption) == record.target_caption
        except ValueError:
            refused += 1
    assert same >= 0.85 * len(records)
    assert same + refused >= 0.9 * len(records)  # it would rather refuse than be wrong


@pytest.mark.parametrize(
    ("said", "caption", "expected"),
    [
        ("dye the mug on the left blue", "a red mug and a red mug on the grass",
         "a blue mug and a red mug on the grass"),
        ("show the dog with a happy face", "a sad dog in a kitchen", "a happy dog in a kitchen"),
        ("instead of the car show a boat", "a red car on the beach", "a boat on the beach"),
        ("put an owl where the fox is", "a fox and a cat in the snow",
         "an owl and a cat in the snow"),
        ("make the right frog disappear", "a frog and a frog on the grass", "a frog on the grass"),
        ("show it without the cat", "a dog and a cat on the grass", "a dog on the grass"),
        ("draw an owl on the left", "a fox in the snow", "an owl and a fox in the snow"),
        ("render it as pixel art", "a fox in the snow", "a fox in the snow, as pixel art"),
        ("use the snow as the background", "a fox in a kitchen", "a fox in the snow"),
        ("change the topping of the donut to mint", "a donut with plain topping on a plate",
         "a donut with mint topping on a plate"),
        ("give the box gold ribbon", "a box with a red ribbon on a table",
         "a box with a gold ribbon on a table"),
    ],
)  # fmt: skip
def test_the_same_thing_said_otherwise(said, caption, expected):
    assert refine(said, caption) == expected


@pytest.mark.parametrize(
    ("said", "caption"),
    [
        ("dye the mug blue", "a red mug and a green mug"),  # which?
        ("dye the middle mug blue", "a red mug and a green mug"),  # there is none
        ("draw an owl in the middle", "a fox in the snow"),  # of what?
    ],
)
def test_one_of_two_that_nobody_named_is_refused(said, caption):
    with pytest.raises(ValueError, match="write target_caption"):
        refine(said, caption)


def ordinary_captions():
    """Two hundred captions as people write them, with and without what the rules can read."""
    who = ("a man in sunglasses", "an old woman", "two dogs", "a boy with a kite", "a red car")
    does = ("walking through", "standing in", "next to", "waiting at", "running along")
    where = (
        "the crowded railway station",
        "a quiet street in the old town",
        "the very long wooden pier by the sea",
        "a field of tall yellow sunflowers",
    )
    when = ("; morning", " (film photo)")
    return [f"{a} {b} {c}{d}" for a in who for b in does for c in where for d in when]


def test_ordinary_captions_take_milliseconds():
    captions = ordinary_captions()
    assert len(captions) == 200
    for instruction in ("add a hat", "remove the hat", "put it on the moon"):
        for caption in captions:
            began = time.perf_counter()
            with suppress(ValueError):
                refine(instruction, caption)
            assert time.perf_counter() - began < 0.02, (instruction, caption)


@pytest.mark.parametrize("unit", ["in the very old station ", "a ", "with mint ", "on ", "and a "])
def test_time_grows_with_a_caption_and_not_with_its_square(unit):
    began = time.perf_counter()
    for instruction in ("add a hat", "remove the hat", "change the hat to red", "make it a sketch"):
        with suppress(ValueError):
            refine(instruction, f"a man {unit * 2000}; morning".replace(";", ""))
    assert time.perf_counter() - began < 2


def test_a_caption_that_no_rule_can_read_is_refused():
    with pytest.raises(ValueError, match="write target_caption"):
        refine("add a hat", "a man at the railway station; morning")
