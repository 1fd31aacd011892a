import pytest

from gateway.quality.entry import entries_of
from gateway.remote.prompt_file import read_prompts
from gateway.remote.wrong_input import WrongInput

TEXT = '{"prompt": "2+2?", "answer": "4"}\n{"prompt": "hi"}\n'


def test_what_has_a_reference_is_graded() -> None:
    first, second = entries_of(read_prompts(TEXT, "f"), "auto", "f")
    assert (first.rule, first.grade("it is 4"), first.grade("5")) == ("numeric", True, False)
    assert (second.rule, second.grade("hello")) == (None, None)


def test_nothing_is_graded_where_that_is_asked_for() -> None:
    assert {one.rule for one in entries_of(read_prompts(TEXT, "f"), "none", "f")} == {None}


def test_keys_follow_from_what_is_asked_and_expected() -> None:
    one, two = (entries_of(read_prompts(text, "f"), "auto", "f") for text in (TEXT, TEXT * 2))
    assert [entry.key for entry in two] == [entry.key for entry in one] * 2
    other = entries_of(read_prompts(TEXT.replace('"4"', '"5"'), "f"), "auto", "f")
    assert other[0].key != one[0].key


def test_a_reference_that_makes_no_sense_is_named() -> None:
    with pytest.raises(WrongInput, match="f prompt 1: answer must be"):
        entries_of(read_prompts('{"prompt": "a", "answer": {}}', "f"), "auto", "f")
