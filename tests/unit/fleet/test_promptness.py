import pytest

from gateway.fleet.promptness import Onset, Promptness
from tests.support.fake_clock import FakeClock


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.variant = Promptness()

    def sent(self) -> Onset:
        return Onset(self.variant, self.clock.now_s)

    def took(self, seconds: float) -> None:
        onset = self.sent()
        self.clock.pass_s(seconds)
        onset.began()

    @property
    def predicted_s(self) -> float | None:
        return self.variant.predicted_s(self.clock.now_s())


def test_nothing_is_known_before_anything_was_seen() -> None:
    bench = Bench()
    assert bench.predicted_s is None
    bench.sent().gone()
    assert bench.predicted_s is None


def test_it_follows_what_is_seen() -> None:
    bench = Bench()
    bench.took(1.0)
    assert bench.predicted_s == 1.0
    for _ in range(60):
        bench.took(0.2)
    assert bench.predicted_s == pytest.approx(0.2, abs=0.02)


def test_who_waits_now_tells_more_than_what_was() -> None:
    bench = Bench()
    bench.took(0.2)
    first, second = bench.sent(), bench.sent()
    bench.clock.pass_s(5)
    assert bench.predicted_s == 5
    first.gone()
    assert bench.predicted_s == 5
    second.gone()
    assert bench.predicted_s == pytest.approx(0.2), "both failed: nothing was learned"


def test_while_calls_wait_nothing_fades() -> None:
    bench = Bench()
    bench.took(3.0)
    bench.sent()
    bench.clock.pass_s(2)
    assert bench.predicted_s == 3


def test_without_calls_it_fades_so_that_it_is_tried_again() -> None:
    bench = Bench()
    bench.took(4.0)
    bench.clock.pass_s(10)
    assert bench.predicted_s == pytest.approx(2)
    bench.clock.pass_s(10)
    assert bench.predicted_s == pytest.approx(1)


def test_an_answer_begins_once() -> None:
    bench = Bench()
    onset = bench.sent()
    onset.began()
    bench.clock.pass_s(9)
    onset.began()
    onset.gone()
    assert bench.predicted_s == 0
