import pytest

from gateway.errors import EngineFault
from gateway.fleet.state import FleetState
from gateway.proxy.server_timing import server_timing
from gateway.proxy.story import FIRST, RETRY, Story
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock

(STATE,) = FleetState(a_catalog())


def shown(story: Story, clock: FakeClock, *, stream: bool = True) -> str:
    ((name, value),) = server_timing(story, clock.now_s(), stream=stream)
    assert name == b"server-timing"
    return value.decode()


def a_story(clock: FakeClock) -> Story:
    story = Story(clock.now_s(), clock.now_s)
    story.shows_timing = True
    clock.pass_s(0.25)
    return story


def test_nobody_is_told_who_did_not_ask() -> None:
    story = a_story(FakeClock())
    story.shows_timing = False
    assert server_timing(story, 1.0, stream=True) == ()


def test_a_stream_that_begins_says_what_it_waited_for() -> None:
    clock = FakeClock()
    story = a_story(clock)
    one = story.begin(STATE, FIRST)
    clock.pass_s(0.125)
    one.connected()
    clock.pass_s(0.5)
    one.first_content_s = clock.now_s()
    assert shown(story, clock) == "queue;dur=0, route;dur=250, connect;dur=125, first_token;dur=500"


def test_a_stream_that_begins_before_its_content_does_not_know_yet() -> None:
    clock = FakeClock()
    story = a_story(clock)
    story.begin(STATE, FIRST).connected()
    clock.pass_s(15)
    assert shown(story, clock) == "queue;dur=0, route;dur=250, connect;dur=0"


def test_a_whole_answer_and_tries_before_it() -> None:
    clock = FakeClock()
    story = a_story(clock)
    one = story.begin(STATE, FIRST)
    clock.pass_s(0.5)
    one.end(EngineFault("broke"))
    story.begin(STATE, RETRY).connected()
    clock.pass_s(1)
    assert shown(story, clock, stream=False) == (
        "queue;dur=0, route;dur=250, retries;dur=500, connect;dur=0, answer;dur=1000"
    )


@pytest.mark.parametrize("queue_s", [0.0, 0.125])
def test_a_call_that_was_refused_had_no_connection(queue_s: float) -> None:
    clock = FakeClock()
    story = a_story(clock)
    story.queue_s = queue_s
    ms = queue_s * 1000
    assert shown(story, clock) == f"queue;dur={ms:g}, route;dur={250 - ms:g}"
