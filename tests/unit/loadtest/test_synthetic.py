import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.loadtest.synthetic import Scale, scale_of, words


def test_so_many_words() -> None:
    assert len(words(100, random.Random(1)).split()) == 100
    assert words(50, random.Random(1)) != words(50, random.Random(2))


def test_two_questions_tell_the_scale() -> None:
    scale = scale_of((10, 25), (110, 175))
    assert (scale.tokens_per_word, scale.overhead_tokens) == (1.5, 10)
    assert scale.is_measured


@given(st.floats(0.5, 4), st.integers(0, 50), st.integers(60, 5000))
def test_a_prompt_has_as_many_tokens_as_were_asked_for(
    per_word: float, overhead: int, wanted: int
) -> None:
    def counted(count: int) -> int:
        return overhead + round(count * per_word)

    scale = scale_of((16, counted(16)), (144, counted(144)))
    assert abs(counted(scale.words_for(wanted)) - wanted) <= 3 + 0.02 * wanted


def test_counts_that_make_no_sense_leave_one_token_a_word() -> None:
    assert scale_of((10, 20), (10, 20)) == Scale()
    assert scale_of((10, 20), (20, 20)) == Scale()
    assert scale_of((16, 10), (144, 138)).overhead_tokens == 0


def test_there_is_always_a_word() -> None:
    assert Scale(1.0, 50.0).words_for(3) == 1
