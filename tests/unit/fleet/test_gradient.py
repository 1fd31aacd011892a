from gateway.fleet.gradient import LEAST, MOST, START, Gradient, Signal

FIRST, TOKEN = Signal.FIRST_TOKEN, Signal.PER_TOKEN


def windows(
    gradient: Gradient,
    count: int,
    took_s: float,
    in_flight: int | None = None,
    since_s: float = 0.0,
    signal: Signal = FIRST,
) -> float:
    """So many windows of ten answers each; the time after them."""
    now_s = since_s
    for _ in range(count):
        for _ in range(10):
            busy = gradient.limit if in_flight is None else in_flight
            gradient.measured(signal, took_s, busy, now_s)
            now_s += 0.12
        now_s += 1
    return now_s


def test_it_grows_while_answers_come_as_fast_as_ever() -> None:
    gradient = Gradient()
    windows(gradient, 20, 0.1)
    assert START < gradient.limit < 2 * START


def test_it_shrinks_when_answers_take_longer_and_not_by_more_than_a_tenth_at_once() -> None:
    gradient = Gradient()
    now_s = windows(gradient, 5, 0.1)
    before = gradient.limit
    now_s = windows(gradient, 1, 10.0, since_s=now_s)
    assert 0.9 * before <= gradient.limit < before + 3
    windows(gradient, 40, 10.0, since_s=now_s)
    assert gradient.limit <= 8


def test_twice_the_least_latency_is_no_reason_yet() -> None:
    gradient = Gradient()
    now_s = windows(gradient, 5, 0.1)
    before = gradient.limit
    windows(gradient, 5, 0.19, since_s=now_s)
    assert gradient.limit > before


def test_what_nobody_needs_does_not_change() -> None:
    gradient = Gradient()
    now_s = windows(gradient, 20, 0.1, in_flight=3)
    windows(gradient, 20, 9.0, in_flight=3, since_s=now_s)
    assert gradient.limit == START


def test_it_has_bounds() -> None:
    gradient = Gradient(start=1000)
    now_s = windows(gradient, 30, 0.1)
    assert gradient.limit == MOST
    windows(gradient, 200, 50.0, since_s=now_s)
    assert gradient.limit >= LEAST


def test_a_window_closes_after_a_second_and_ten_answers() -> None:
    gradient = Gradient()
    for number in range(9):
        gradient.measured(FIRST, 0.1, 64, number * 1.0)
    assert gradient.limit == START
    gradient.measured(FIRST, 0.1, 64, 9.0)
    assert gradient.limit > START


def test_signals_are_measured_against_their_own_past() -> None:
    gradient = Gradient()
    now_s = 0.0
    for _ in range(5):
        now_s = windows(gradient, 1, 2.0, since_s=now_s)
        now_s = windows(gradient, 1, 0.02, since_s=now_s, signal=TOKEN)
    assert gradient.limit > START


def test_answers_in_no_time_do_no_harm() -> None:
    gradient = Gradient()
    windows(gradient, 3, 0.0)
    assert gradient.limit > START


def test_a_model_that_is_slower_for_good_recovers() -> None:
    gradient = Gradient()
    now_s = windows(gradient, 5, 0.1)
    now_s = windows(gradient, 50, 0.3, since_s=now_s)
    low = gradient.limit
    windows(gradient, 600, 0.3, since_s=now_s)
    assert gradient.limit > low


def test_a_refusal_bounds_it() -> None:
    gradient = Gradient()
    gradient.refused(20)
    assert gradient.limit == 20
    gradient.refused(0)
    assert gradient.limit == LEAST
