from gateway.launch.restarts import (
    FIRST_PAUSE_S,
    MAX_FALSE_STARTS,
    MAX_PAUSE_S,
    SETTLED_S,
    Restarts,
)


def test_each_pause_is_twice_the_one_before_up_to_a_minute() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_s(1.0) for _ in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 32, MAX_PAUSE_S, MAX_PAUSE_S]


def test_one_that_has_served_for_a_while_begins_anew() -> None:
    restarts = Restarts()
    for _ in range(4):
        restarts.pause_s(1.0)
    assert restarts.pause_s(SETTLED_S) == FIRST_PAUSE_S


def test_one_that_never_was_ready_is_given_up() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_s(None) for _ in range(MAX_FALSE_STARTS)]
    assert None not in pauses[:-1]
    assert pauses[-1] is None


def test_one_that_was_ready_is_never_given_up() -> None:
    restarts = Restarts()
    restarts.pause_s(1.0)
    assert None not in [restarts.pause_s(None) for _ in range(3 * MAX_FALSE_STARTS)]
