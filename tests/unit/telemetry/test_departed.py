from gateway.telemetry.departed import Departed

A, B, C = ("m", "v", "a"), ("m", "v", "b"), ("m", "v", "c")


def test_the_series_of_a_replica_are_kept_for_a_while_after_it_has_gone() -> None:
    departed = Departed(keep_s=10)
    assert departed.due([A, B], [A], 0) == set()
    assert departed.due([A, B], [A], 9) == set()
    assert departed.due([A, B], [A], 10) == {B}


def test_one_that_comes_back_is_not_gone() -> None:
    departed = Departed(keep_s=10)
    departed.due([A], [], 0)
    departed.due([A], [A], 9)
    assert departed.due([A], [], 12) == set()
    assert departed.due([A], [], 22) == {A}


def test_of_too_many_the_longest_gone_are_given_up() -> None:
    departed = Departed(keep_s=10, most=1)
    assert departed.due([A], [], 0) == set()
    assert departed.due([A, B], [], 1) == {A}
    assert departed.due([B, C], [C], 2) == set()
