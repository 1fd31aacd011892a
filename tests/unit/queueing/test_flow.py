import pytest

from gateway.queueing.flow import Flow


def wait_s(flow: Flow, ahead: float, now_s: float) -> float | None:
    return flow.wait_s(ahead, now_s, places=4, usual_s=None)


def steady(flow: Flow, places: int, every_s: float, since_s: float = 0.0) -> float:
    now_s = since_s
    flow.begin(now_s)
    for _ in range(places):
        now_s += every_s
        flow.given(now_s)
    return now_s


@pytest.mark.parametrize("every_s", [0.01, 0.5, 30.0])
def test_the_wait_is_the_places_before_at_their_pace(every_s: float) -> None:
    flow = Flow()
    now_s = steady(flow, 50, every_s)
    assert wait_s(flow, 9, now_s) == pytest.approx(10 * every_s, rel=0.01)


def test_nobody_knows_before_a_few_places_were_given() -> None:
    flow = Flow()
    flow.begin(0)
    assert wait_s(flow, 3, 10.0) is None
    flow.given(1.0)
    assert wait_s(flow, 3, 10.0) is None


def test_time_without_waiting_calls_does_not_count() -> None:
    flow = Flow()
    now_s = steady(flow, 50, 0.1)
    flow.end(now_s)
    flow.end(now_s + 50)
    assert wait_s(flow, 0, now_s + 100) == pytest.approx(0.1, rel=0.01)
    now_s = steady(flow, 5, 0.1, since_s=now_s + 1000)
    assert wait_s(flow, 0, now_s) == pytest.approx(0.1, rel=0.01)


def test_an_engine_that_hangs_makes_the_wait_longer() -> None:
    flow = Flow()
    now_s = steady(flow, 50, 0.1)
    before_s, after_s = wait_s(flow, 0, now_s), wait_s(flow, 0, now_s + 60)
    assert before_s is not None
    assert after_s is not None
    assert after_s > 10 * before_s


def test_another_pace_is_followed_within_seconds() -> None:
    flow = Flow()
    now_s = steady(flow, 200, 0.1)
    now_s = steady(flow, 30, 1.0, since_s=now_s)
    assert wait_s(flow, 0, now_s) == pytest.approx(1.0, rel=0.5)


def test_until_then_what_is_known_of_answers_must_do() -> None:
    flow = Flow()
    flow.begin(0)
    assert flow.wait_s(11, 5.0, places=4, usual_s=2.0) == 6
    assert flow.wait_s(11, 5.0, places=0, usual_s=2.0) == 24
    now_s = steady(flow, 50, 0.1)
    assert flow.wait_s(9, now_s, places=4, usual_s=99.0) == pytest.approx(1.0, rel=0.01)
