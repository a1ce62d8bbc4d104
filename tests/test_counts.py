"""What pages count in words is what there is: methods, edits, turns, drawn rows."""

import ast
import re
from pathlib import Path

import pytest

from cirp.data.edits import load_edits
from cirp.experiments import configurations, turns
from cirp.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.stem[:2]: path.read_text() for path in (ROOT / "notebooks").glob("[0-9]*.py")}
WORDS = dict(two=2, three=3, four=4, five=5, six=6, seven=7, eight=8, nine=9, ten=10)


def family(page: str) -> list[str]:
    """The methods that a chapter's answer is about."""
    called = re.search(r"methods\.family_finding\(table, (\[.*?\])\)", page)
    return ast.literal_eval(called[1])


@pytest.mark.parametrize("number", ["14", "16"])
def test_a_chapter_counts_its_methods(number):
    said = re.search(r"^# (\w+) methods", PAGES[number], re.MULTILINE)
    assert WORDS[said[1].lower()] == len(family(PAGES[number]))


def test_every_method_that_finds_or_reads_is_in_one_chapter():
    told = [name for number in ("14", "15", "16") for name in family(PAGES[number])]
    apart = {configurations.BASELINE, configurations.NOISY, configurations.OURS}
    assert sorted(told) == sorted(set(configurations.dials()) - apart)


def test_an_edit_in_words_is_an_edit_in_data():
    edits = load_edits(ROOT / "data" / "edits")
    (number,) = set(re.findall(r"[Tt]he (\d+) edits of this book", PAGES["02"]))
    assert int(number) == len(edits)
    examples = sum(one.record.example for one in edits)
    ten, five = re.search(r"# (\w+) stand in .* and (\w+) are drawn of each", PAGES["02"]).groups()
    assert WORDS[ten.lower()] == examples
    kinds = {one.record.edit_type for one in edits if one.record.split}
    assert WORDS[five] * len(kinds) == len(edits) - examples


def test_turns_are_counted_as_they_are_run():
    said = re.search(r"^# # (\w+) edits in a row", PAGES["13"], re.MULTILINE)
    assert WORDS[said[1].lower()] == turns.TURNS


def test_rows_of_a_caption_are_the_rows_that_are_drawn():
    for page in PAGES.values():
        for caption, code in re.findall(r'"image": \{"alt": "([^"]*)"\}\}\n((?:[^#].*\n)+)', page):
            said = re.search(r"for (\w+) (?:edits|pictures)", caption)
            taken = re.search(r"\[:(\d+)\]", code)
            if said and taken:
                assert WORDS[said[1]] == int(taken[1]), caption


def test_a_method_has_one_long_name():
    """ASG is attention-scoped guidance; self-attention guidance is another paper's."""
    assert "attention-scoped guidance" in METHODS["asg"].summary.lower()
    for page in [*PAGES.values(), (ROOT / "book" / "glossary.md").read_text()]:
        assert "self-attention guidance" not in page.lower()
