from typing_extensions import override

from gateway.engines.adapter import Shown
from gateway.engines.vllm import VllmAdapter
from gateway.errors import ConnectionLost, EngineFault, GatewayError, StreamBroken, StreamStalled
from gateway.proxy.dialect import Dialect, OpenAiDialect
from gateway.proxy.relay import HEARTBEAT, Relay
from gateway.telemetry.instruments import Distribution
from gateway.wire.ask import Operation, read_ask
from tests.support.fake_client import FakeClient
from tests.support.fake_clock import FakeClock

ROLE = b'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
ABORT = b'data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n'
USAGE = b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
ERROR = b'data: {"error": {"message": "boom", "code": 500}}\n\n'
DONE = b"data: [DONE]\n\n"


class Terse(OpenAiDialect):
    """An API whose events are whether something was said, and whose end is nothing at all."""

    is_verbatim = False

    @override
    def event(self, event: bytes) -> bytes | None:
        return b"data: said\n\n" if b'"content":"hi"' in event else None


class Bench:
    """A relay with everything around it."""

    def __init__(
        self,
        *,
        include_usage: bool = False,
        max_event_bytes: int = 10_000,
        dialect: Dialect | None = None,
    ) -> None:
        body = (
            b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":%b}}'
            % (b"true" if include_usage else b"false")
        )
        self.client = FakeClient()
        self.clock = FakeClock()
        self.overs = 0
        self.firsts = 0
        self.inter_token = Distribution([0.1, 1.0])
        self.relay = Relay(
            client=self.client,
            dialect=dialect or OpenAiDialect(),
            stream=VllmAdapter().stream(
                read_ask(body, Operation.CHAT), Shown("m", "chatcmpl-1", 1)
            ),
            head=((b"content-type", b"text/event-stream"),),
            max_event_bytes=max_event_bytes,
            now_s=self.clock.now_s,
            inter_token=self.inter_token,
            on_first=self._first,
            on_over=self._over,
        )

    def _first(self) -> None:
        self.firsts += 1

    def _over(self) -> None:
        self.overs += 1

    @property
    def failure(self) -> GatewayError | None:
        return self.relay.failure


def test_events_reach_the_client_byte_for_byte_and_at_once() -> None:
    bench = Bench(include_usage=True)
    sent = [ROLE, WORD, STOP, USAGE, DONE]
    for event in sent:
        bench.relay.data(event)
    assert bench.client.writes == [ROLE + WORD, STOP, USAGE, DONE]
    assert bench.client.status == 200
    assert bench.relay.is_over
    assert bench.failure is None


def test_the_role_waits_for_the_first_content() -> None:
    bench = Bench()
    bench.relay.data(ROLE)
    assert not bench.client.has_started
    bench.relay.data(WORD)
    assert bench.client.writes == [ROLE + WORD]


def test_what_waits_for_content_is_bounded() -> None:
    bench = Bench(max_event_bytes=len(ROLE) * 3)
    for _ in range(3):
        bench.relay.data(ROLE)
    assert not bench.relay.is_over
    bench.relay.data(ROLE)
    assert isinstance(bench.failure, StreamBroken)
    assert not bench.client.has_started


def test_events_that_arrive_together_leave_together() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD + WORD)
    assert bench.client.writes == [ROLE + WORD + WORD]


def test_part_of_an_event_waits_for_the_rest() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD + WORD[:20])
    assert bench.client.body == ROLE + WORD
    bench.relay.data(WORD[20:])
    assert bench.client.body == ROLE + WORD + WORD


def test_usage_is_kept_for_us_when_the_client_did_not_ask() -> None:
    bench = Bench(include_usage=False)
    bench.relay.data(ROLE + WORD + STOP + USAGE + DONE)
    assert bench.client.body == ROLE + WORD + STOP + DONE
    assert bench.relay.stream.usage is not None
    assert bench.relay.stream.usage.completion_tokens == 2


def test_an_error_before_content_never_starts_the_answer() -> None:
    bench = Bench()
    bench.relay.data(ERROR)
    assert not bench.client.has_started
    assert isinstance(bench.failure, EngineFault)
    assert not bench.relay.is_committed


def test_an_abort_is_a_failure_and_is_not_shown() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD + ABORT + DONE)
    assert bench.client.body == ROLE + WORD
    assert isinstance(bench.failure, StreamBroken)
    assert bench.relay.is_committed


def test_done_without_a_finish_is_a_failure_and_not_shown() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD + DONE)
    assert bench.client.body == ROLE + WORD
    assert isinstance(bench.failure, StreamBroken)


def test_an_end_without_a_finish_is_a_failure() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD)
    bench.relay.ended(None)
    assert isinstance(bench.failure, StreamBroken)


def test_an_end_without_done_after_a_finish_is_completed_for_the_engine() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD + STOP)
    bench.relay.ended(ConnectionLost("gone"))
    assert bench.client.body == ROLE + WORD + STOP + DONE
    assert bench.failure is None


def test_a_lost_connection_is_the_failure() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD)
    bench.relay.ended(ConnectionLost("gone"))
    assert isinstance(bench.failure, ConnectionLost)
    assert bench.relay.is_committed


def test_an_engines_comment_does_not_start_the_answer_but_passes_later() -> None:
    bench = Bench()
    bench.relay.data(b": keep-alive\n\n")
    assert not bench.client.has_started
    bench.relay.data(WORD)
    bench.relay.data(b": keep-alive\n\n")
    assert bench.client.body == WORD + b": keep-alive\n\n"


def test_a_heartbeat_starts_the_answer_without_committing() -> None:
    bench = Bench()
    bench.relay.heartbeat()
    assert bench.client.body == HEARTBEAT
    assert not bench.relay.is_committed


def test_an_event_over_the_bound_breaks_the_stream() -> None:
    bench = Bench(max_event_bytes=100)
    bench.relay.data(ROLE)
    bench.relay.data(b"data: " + b"x" * 200)
    assert isinstance(bench.failure, StreamBroken)


def test_what_comes_after_the_end_is_ignored_and_the_end_of_the_body_is_told() -> None:
    bench = Bench()
    bench.relay.data(ROLE + WORD + STOP + DONE)
    bench.relay.data(WORD)
    assert bench.overs == 1
    bench.relay.ended(None)
    assert bench.overs == 2
    assert bench.relay.has_ended
    assert bench.client.body == ROLE + WORD + STOP + DONE


def test_the_first_content_and_the_time_between_tokens_are_measured() -> None:
    bench = Bench()
    bench.relay.data(ROLE)
    bench.clock.pass_s(2)
    bench.relay.data(WORD + WORD)
    assert bench.relay.first_content_s == 1002
    bench.clock.pass_s(1)
    bench.relay.data(WORD + WORD)
    assert bench.inter_token.counts == [1, 2, 0]
    assert bench.inter_token.total == 1.0
    assert bench.relay.stream.content_events == 4


def test_another_api_says_every_event_in_its_own_words() -> None:
    bench = Bench(dialect=Terse())
    bench.relay.data(ROLE + WORD + WORD + STOP + DONE)
    assert bench.client.body == b"data: said\n\n" * 2
    assert bench.relay.is_over
    assert bench.failure is None


def test_what_closes_a_stream_for_its_engine_is_said_in_those_words_too() -> None:
    bench = Bench(dialect=Terse())
    bench.relay.data(ROLE + WORD + STOP)
    bench.relay.ended(None)
    assert bench.client.writes == [b"data: said\n\n"]
    assert bench.relay.is_over
    assert bench.failure is None


def test_an_answer_without_a_word_starts_and_says_nothing() -> None:
    bench = Bench(dialect=Terse())
    bench.relay.data(ROLE + STOP)
    bench.relay.ended(None)
    assert bench.client.has_started
    assert bench.client.body == b""
    assert bench.failure is None


def test_comments_do_not_keep_a_silent_engine_alive() -> None:
    bench = Bench()
    bench.relay.data(WORD)
    said_s = bench.relay.last_piece_s
    bench.clock.now += 5.0
    for nothing in (b": ping\n\n", b"\n", b": a\r\n: b\r\n\r\n"):
        bench.relay.data(nothing)
    assert bench.relay.last_piece_s == said_s
    bench.relay.data(ROLE)
    assert bench.relay.last_piece_s == said_s + 5.0


def test_what_arrives_together_with_the_end_and_after_it_is_not_shown() -> None:
    bench = Bench()
    bench.relay.data(WORD + STOP + DONE + WORD + ERROR + DONE)
    assert bench.relay.is_over
    assert bench.failure is None
    assert bench.client.body == WORD + STOP + DONE


def test_an_engine_that_falls_silent_after_its_last_word_has_answered() -> None:
    bench = Bench()
    bench.relay.data(WORD + STOP)
    bench.relay.ended(StreamStalled("the engine stopped sending"))
    assert bench.failure is None
    assert bench.client.body == WORD + STOP + DONE
