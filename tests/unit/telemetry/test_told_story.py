import pytest

from gateway.telemetry.told_story import Parts, StoryTold, TryTold, parts_of


def a_try(**more: object) -> TryTold:
    known: dict[str, object] = {
        "replica": "r",
        "variant": "v",
        "kind": "first",
        "began_ms": 2.0,
        "took_ms": 100.0,
        "connected_ms": 1.0,
    }
    return TryTold(**(known | more))  # type: ignore[arg-type]


def parts(*tries: TryTold, stream: bool = True, took: float = 110.0, queue: float = 0.0) -> Parts:
    return parts_of(StoryTold(list(tries), queue), stream=stream, duration_ms=took)


def test_a_stream_is_route_connect_first_token_and_stream() -> None:
    assert parts(a_try(first_token_ms=31.0)) == Parts(
        route_ms=2.0, connect_ms=1.0, first_token_ms=30.0, stream_ms=77.0
    )


def test_an_answer_that_is_not_streamed_is_one_wait() -> None:
    assert parts(a_try(), stream=False) == Parts(route_ms=2.0, connect_ms=1.0, answer_ms=99.0)


def test_what_waited_for_a_replica_was_not_routed_yet() -> None:
    told = parts(a_try(began_ms=52.0), queue=50.0, stream=False)
    assert (told.queue_ms, told.route_ms) == (50.0, 2.0)


def test_tries_that_failed_and_waits_between_them_are_retries() -> None:
    failed = a_try(error_code="engine_error")
    again = a_try(kind="retry", began_ms=150.0, took_ms=20.0, first_token_ms=5.0)
    assert parts(failed, again, took=170.0) == Parts(
        route_ms=2.0, retries_ms=148.0, connect_ms=1.0, first_token_ms=4.0, stream_ms=15.0
    )


def test_a_resumed_stream_goes_on_where_it_broke() -> None:
    broken = a_try(first_token_ms=11.0, error_code="stream_broken")
    leg = a_try(kind="resume", began_ms=102.0, first_token_ms=9.0)
    told = parts(broken, leg, took=213.0)
    assert (told.retries_ms, told.first_token_ms, told.stream_ms) == (0.0, 10.0, 200.0)


def test_the_try_that_was_outdone_does_not_count() -> None:
    late = a_try(outdone=True)
    hedge = a_try(kind="hedge", began_ms=60.0, took_ms=40.0)
    told = parts(late, hedge, stream=False, took=100.0)
    assert (told.retries_ms, told.answer_ms) == (58.0, 39.0)


def test_without_a_connection_all_of_it_was_connecting() -> None:
    assert parts(a_try(connected_ms=None, error_code="engine_unreachable")) == Parts(
        route_ms=2.0, connect_ms=100.0
    )


def test_a_stream_without_content_waited_for_it() -> None:
    assert parts(a_try(error_code="engine_silent")).first_token_ms == 99.0


@pytest.mark.parametrize("queue", [0.0, 4.0])
def test_a_call_without_a_try_was_refused_on_its_way(queue: float) -> None:
    assert parts(took=10.0, queue=queue) == Parts(queue_ms=queue, route_ms=10.0 - queue)
