import pytest

from gateway.errors import EngineFault, InvalidRequest
from gateway.fleet.state import FleetState
from gateway.proxy.story import FIRST, RETRY, Story
from gateway.telemetry.tracing import Context
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock

(STATE,) = FleetState(a_catalog())


def a_story(clock: FakeClock) -> Story:
    ids = iter(range(1, 100))
    context = Context(7, 0, b"", is_sampled=True)
    return Story(clock.now_s(), clock.now_s, context, lambda: next(ids))


def test_a_try_is_told_in_milliseconds_since_the_call() -> None:
    clock = FakeClock()
    story = a_story(clock)
    clock.pass_s(0.002)
    one = story.begin(STATE, FIRST)
    clock.pass_s(0.001)
    one.connected()
    clock.pass_s(0.030)
    one.first_content_s = clock.now_s()
    clock.pass_s(0.5)
    one.end()
    clock.pass_s(9)
    (told,) = story.told(clock.now_s()).tries
    assert told.began_ms == pytest.approx(2)
    assert told.connected_ms == pytest.approx(1)
    assert told.first_token_ms == pytest.approx(31)
    assert told.took_ms == pytest.approx(531)
    assert (told.replica, told.variant, told.kind) == (STATE.name, "m", "first")
    assert told.span_id == "0000000000000001"


def test_a_try_that_runs_has_taken_until_now() -> None:
    clock = FakeClock()
    story = a_story(clock)
    story.begin(STATE, FIRST)
    clock.pass_s(0.25)
    (told,) = story.told(clock.now_s()).tries
    assert told.took_ms == pytest.approx(250)
    assert told.connected_ms is told.first_token_ms is None


def test_only_the_first_end_of_a_try_counts() -> None:
    clock = FakeClock()
    one = a_story(clock).begin(STATE, RETRY)
    failure = EngineFault("broke")
    one.end(failure)
    clock.pass_s(1)
    one.end(None, outdone=True)
    assert (one.failure, one.outdone, one.ended_s) == (failure, False, one.began_s)


def test_a_client_that_does_not_read_is_timed() -> None:
    clock = FakeClock()
    one = a_story(clock).begin(STATE, FIRST)
    one.unblocked()
    one.blocked()
    clock.pass_s(2)
    one.blocked()
    clock.pass_s(1)
    one.unblocked()
    clock.pass_s(5)
    one.blocked()
    clock.pass_s(4)
    one.end()
    assert one.client_blocked_s == 7


@pytest.mark.parametrize(
    ("failure", "wrong"),
    [(None, False), (InvalidRequest("bad"), False), (EngineFault("broke"), True)],
)
def test_only_faults_that_are_not_the_clients_went_wrong(
    failure: EngineFault | InvalidRequest | None, wrong: bool
) -> None:
    clock = FakeClock()
    story = a_story(clock)
    story.begin(STATE, FIRST).end(failure)
    story.begin(STATE, RETRY).end()
    assert story.went_wrong is wrong
    told = story.told(clock.now_s()).tries[0]
    if failure is not None:
        assert told.error == failure.public
        assert told.error_code == (failure.code or "error")


def test_engines_are_told_the_try_or_what_the_caller_sent() -> None:
    clock = FakeClock()
    story = a_story(clock)
    one = story.begin(STATE, FIRST)
    assert story.headers(one) == ((b"traceparent", b"00-%032x-%016x-01" % (7, 1)),)
    untraced = Story(0.0, clock.now_s, passed=((b"traceparent", b"as it came"),))
    assert untraced.headers(untraced.begin(STATE, FIRST)) == ((b"traceparent", b"as it came"),)
    assert untraced.tries[0].span == 0
    assert untraced.told(0.0).tries[0].span_id is None
