import random

from gateway.experiment.passage import WORDS, passage
from gateway.simulator.tokens import encode


def test_every_word_is_one_token_of_a_simulated_engine() -> None:
    one = passage(random.Random(0), "user", 300)
    assert len(one.tokens) == 301
    assert encode(" " + one.text) == one.tokens[1:]


def test_the_same_draw_says_the_same_and_another_something_else() -> None:
    assert passage(random.Random(1), "user", 20) == passage(random.Random(1), "user", 20)
    assert passage(random.Random(1), "user", 20).text != passage(random.Random(2), "user", 20).text


def test_no_word_is_there_twice() -> None:
    assert len(set(WORDS)) == len(WORDS)
