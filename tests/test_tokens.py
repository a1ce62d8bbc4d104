import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirp.attention.tokens import (
    check_length,
    content_words,
    token_positions,
    word_positions,
    words,
)
from cirp.experiments.tiny_editors import WORDS, tiny_tokenizer
from tests.tiny import RARE_WORDS

TOKENIZER = tiny_tokenizer()


def positions(prompt, word, **options):
    return word_positions(TOKENIZER, prompt, word, **options)


def ids(prompt):
    return TOKENIZER(prompt).input_ids


def test_positions_count_from_begin_of_text():
    assert positions("make the cat red", "make") == [1]
    assert positions("make the cat red", "red") == [4]


def test_a_word_of_many_tokens_has_many_positions():
    for word in RARE_WORDS:
        pieces = TOKENIZER(word, add_special_tokens=False).input_ids
        found = positions(f"a {word} on the beach", word)
        assert found == list(range(2, 2 + len(pieces))) and len(pieces) > 1
        assert [ids(f"a {word} on the beach")[i] for i in found] == pieces


def test_a_word_is_not_found_in_the_tail_of_a_longer_one():
    prompt = "the zzhat on the cat"
    assert "hat</w>" in TOKENIZER.tokenize(prompt)  # a token search would find it
    with pytest.raises(ValueError, match="'hat' is not in"):
        positions(prompt, "hat")
    assert positions("the zzhat and the hat", "hat") == [len(ids("the zzhat and the hat")) - 2]


def test_a_word_is_not_found_in_the_head_of_a_longer_one():
    with pytest.raises(ValueError, match="'hot' is not in"):
        positions("a hotdog with ketchup", "hot")


def test_punctuation_and_possessives_do_not_hide_a_word():
    assert positions("the dog's hat, red!", "dog") == [2]
    assert positions("the dog's hat, red!", "hat") == [5]
    assert positions("the dog's hat, red!", "dog's") == [2, 3, 4]


def test_case_and_white_space_do_not_matter():
    assert positions("Make  the CAT\n red", "cat") == [3]
    assert positions("make the red  hat blue", "Red HAT") == [3, 4]


def test_an_occurrence_can_be_chosen_and_all_are_taken_by_default():
    prompt = "the cat and the dog and the cat"
    assert positions(prompt, "cat") == [2, 8]
    assert positions(prompt, "cat", occurrence=0) == [2]
    assert positions(prompt, "cat", occurrence=1) == [8]
    with pytest.raises(ValueError, match="occurrence 2 of 'cat'.* 2 times, so 0 to 1"):
        positions(prompt, "cat", occurrence=2)


def test_accents_are_found_however_they_are_written():
    assert positions("a cafe\u0301 at night", "caf\u00e9") == positions("a caf\u00e9", "caf\u00e9")


def test_a_word_that_is_not_there_is_answered_with_the_words_that_are():
    with pytest.raises(
        ValueError, match="'dog' is not in 'make the cat red'; its words are make, the, cat, red"
    ):
        positions("make the cat red", "dog")
    with pytest.raises(ValueError, match="is not in ''; its words are none"):
        positions("", "dog")


@pytest.mark.parametrize("word", ["", "  "])
def test_no_word_is_in_no_prompt(word):
    with pytest.raises(ValueError, match="is not in"):
        positions("make the cat red", word)


def test_length_counts_begin_and_end_and_names_the_limit():
    assert check_length(TOKENIZER, "make the cat red") == 6
    assert check_length(TOKENIZER, "cat " * 75) == 77
    with pytest.raises(ValueError, match="has 80 tokens.* takes 77; shorten it by 3"):
        check_length(TOKENIZER, "cat " * 78)
    with pytest.raises(ValueError, match="has 80 tokens"):
        positions("cat " * 78, "cat")


def test_the_limit_is_the_tokenizers_own():
    with pytest.raises(ValueError, match="has 17 tokens.* takes 16"):
        check_length(tiny_tokenizer(16), "cat " * 15)


@given(st.lists(st.sampled_from([*WORDS, *RARE_WORDS]), max_size=6))
def test_the_words_of_a_prompt_share_out_its_tokens(chosen):
    prompt = " ".join(chosen)
    found = words(TOKENIZER, prompt)
    assert [word.text for word in found] == chosen
    in_order = [position for word in found for position in word.positions]
    assert in_order == list(range(1, len(ids(prompt)) - 1))
    for word in found:
        assert set(word.positions) <= set(positions(prompt, word.text))


def test_words_leave_punctuation_out():
    found = words(TOKENIZER, "Turn the cat into a Pikachu-like mouse, it's sad.")
    assert [word.text for word in found] == (
        ["Turn", "the", "cat", "into", "a", "Pikachu-like", "mouse", "it's", "sad"]
    )


@pytest.mark.parametrize(
    "instruction, carry",
    [
        ("set the house on fire", ["house", "fire"]),
        ("make the glass full", ["glass", "full"]),
        ("add thick fog", ["thick", "fog"]),
        ("add two cats", ["two", "cats"]),
        ("Turn it into a painting, then remove the third dog", ["painting", "third", "dog"]),
        ("please make the bottom side of the system empty", ["bottom", "side", "system", "empty"]),
        ("add a chess set to the table", ["chess", "set", "table"]),
        ("paint the paint bucket blue", ["paint", "bucket", "blue"]),
        ("take the hat away and let the cat look happy", ["hat", "cat", "happy"]),
        ("make it", ["make", "it"]),
    ],
)
def test_words_that_carry_the_edit(instruction, carry):
    assert content_words(TOKENIZER, instruction) == carry


def test_tokens_that_are_no_words_have_names_unless_the_prompt_has_the_word():
    prompt = "make the cat red"
    end = len(ids(prompt)) - 1
    assert token_positions(TOKENIZER, prompt, "end") == [end]
    assert token_positions(TOKENIZER, prompt, "begin") == [0]
    behind = list(range(end + 1, TOKENIZER.model_max_length))
    assert token_positions(TOKENIZER, prompt, "padding") == behind
    said = "the end of the cat"
    assert token_positions(TOKENIZER, said, "end") == positions(said, "end")
    assert token_positions(TOKENIZER, said, "cat") == positions(said, "cat")
    with pytest.raises(ValueError, match="'dog' is not in"):
        token_positions(TOKENIZER, said, "dog")
    with pytest.raises(ValueError, match="no padding"):
        token_positions(TOKENIZER, "cat " * (TOKENIZER.model_max_length - 2), "padding")
