import pytest

from gateway.quality.grading import chosen, is_right, number_in, references_of, rule_for
from gateway.remote.wrong_input import WrongInput


def test_references_are_found_under_their_usual_names() -> None:
    assert references_of({"reference": "a"}, "p") == ("a",)
    assert references_of({"answer": 4}, "p") == ("4",)
    assert references_of({"references": ["a", 2]}, "p") == ("a", "2")
    assert references_of({"id": 1, "expected": None}, "p") == ()
    nonsense: tuple[object, ...] = ({}, [], [{}])
    for wrong in nonsense:
        with pytest.raises(WrongInput, match="p: answer must be text"):
            references_of({"answer": wrong}, "p")


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("B", "choice"),
        ("42", "numeric"),
        ("$1,000", "numeric"),
        ("12%", "numeric"),
        ("Paris", "exact"),
        ("room 12", "exact"),
        ("", "exact"),
    ],
)
def test_the_rule_follows_from_the_reference(reference: str, rule: str) -> None:
    assert rule_for([reference], "auto") == rule
    assert rule_for([reference], "exact") == "exact"


@pytest.mark.parametrize(
    ("answer", "is_so"),
    [
        ("Paris", True),
        (' "paris". ', True),
        ("PARIS\n", True),
        ("Paris, France", False),
        ("", False),
    ],
)
def test_exact_forgives_what_does_not_matter(answer: str, is_so: bool) -> None:
    assert is_right(answer, ["Lyon", "Paris"], "exact") is is_so


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B) because A is wrong", "B"),
        ("**C**", "C"),
        ("The answer is (D).", "D"),
        ("Answer: A", "A"),
        ("First option A, but the correct answer is B", "B"),
        ("It could be (A) or (C)", "C"),
        ("I am not sure", None),
        ("A cat sat there", None),
        ("B\nbecause", "B"),
        ("The answer I give is (B)", "B"),
        ("", None),
        ("because", None),
    ],
)
def test_the_letter_an_answer_settles_on(answer: str, letter: str | None) -> None:
    assert chosen(answer) == letter
    assert is_right(answer, ["b"], "choice") is (letter == "B")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42),
        ("so 6 x 7 = 42.", 42),
        ("1,234.5 dollars", 1234.5),
        ("-3e2", -300),
        ("none", None),
        (".5", 0.5),
        ("#### 18", 18),
    ],
)
def test_the_last_number_counts(text: str, number: float | None) -> None:
    assert number_in(text) == number


def test_numbers_are_compared_as_numbers() -> None:
    assert is_right("It is 0.50", ["1/2", "0.5"], "numeric")
    assert is_right("1,000", ["no number", "1000.0"], "numeric")
    assert not is_right("12", ["13", "no number"], "numeric")
    assert not is_right("none", ["13"], "numeric")
