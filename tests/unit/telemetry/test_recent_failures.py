from gateway.telemetry.recent_failures import KEPT, RecentFailures
from tests.support.live import a_line


def test_the_newest_come_first() -> None:
    failures = RecentFailures()
    for time in (1.0, 3.0, 2.0):
        failures.add(a_line(time=time))
    assert [line.time for line in failures.newest()] == [3, 2, 1]


def test_many_of_one_outcome_do_not_push_out_another() -> None:
    failures = RecentFailures()
    failures.add(a_line(time=0.5))
    for number in range(3 * KEPT):
        failures.add(a_line(time=float(number), outcome="client_error"))
    kept = failures.newest()
    assert len(kept) == KEPT + 1
    assert kept[-1].outcome == "engine_error"
    assert kept[0].time == 3 * KEPT - 1
