import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.errors import EngineFault, GatewayError, InvalidRequest
from gateway.proxy.call import Call
from gateway.proxy.dialect import OpenAiDialect
from gateway.proxy.stories import Stories, Tracing
from gateway.telemetry.recent import Recent
from gateway.telemetry.request_line import RequestLine
from gateway.telemetry.tracing import Sampler
from gateway.wire.ask import Operation
from tests.support.fake_clock import FakeClock

if TYPE_CHECKING:
    from gateway.telemetry.exemplars import Mark

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-00".encode()
LINE = RequestLine(1.0, "info", "request", "id", "chat", False, 1, "ok", 200, 1.0, 10)


class Bench:
    def __init__(self, ratio: float | None = 1.0, recent: Recent | None = None) -> None:
        self.clock = FakeClock()
        self.sent: list[tuple[bytes, int]] = []
        self.mark: Mark | None = None
        tracing = None
        if ratio is not None:
            sampler = Sampler(ratio, 10.0, random.Random(1))
            tracing = Tracing(sampler, lambda spans, count: self.sent.append((spans, count)))
        self.stories = Stories(self.clock, tracing, recent)

    def call(self, **more: Any) -> Call:
        return Call(Operation.CHAT, OpenAiDialect(), b"{}", "id", self.clock.now_s(), **more)

    def run(
        self, failure: GatewayError | None = None, took_s: float = 1.0, **more: Any
    ) -> str | None:
        """The trace id that the log line gets."""
        call = self.call(**more)
        story = self.stories.begin(call)
        self.clock.pass_s(took_s)
        trace_id = self.stories.trace_id(story, call, took_s, failure)
        encoded = msgspec.json.encode(LINE)
        self.mark = self.stories.end(story, LINE, encoded, self.clock.now_s(), failure)
        return trace_id


def test_what_is_sampled_is_sent_and_named_in_the_log() -> None:
    bench = Bench()
    trace_id = bench.run()
    ((spans, count),) = bench.sent
    assert count == 1
    assert trace_id is not None
    assert bytes.fromhex(trace_id) in spans
    assert bench.mark is not None
    assert f"{bench.mark.trace:032x}" == trace_id
    assert bench.mark.span.to_bytes(8, "big") in spans
    assert bench.mark.unix_s == bench.clock.unix_s()


@pytest.mark.parametrize("ratio", [0.0, None])
def test_what_is_not_sent_marks_nothing(ratio: float | None) -> None:
    bench = Bench(ratio)
    bench.run(traceparent=PARENT)
    assert bench.mark is None


@pytest.mark.parametrize(
    ("failure", "took_s", "kept"),
    [
        (None, 1.0, False),
        (InvalidRequest("bad"), 1.0, False),
        (EngineFault("broke"), 1.0, True),
        (None, 10.0, True),
    ],
)
def test_of_the_others_those_are_sent_that_failed_or_were_slow(
    failure: GatewayError | None, took_s: float, kept: bool
) -> None:
    bench = Bench(ratio=0.0)
    assert (bench.run(failure, took_s) is not None) is kept
    assert bool(bench.sent) is kept


def test_a_callers_trace_is_named_though_it_is_not_sent() -> None:
    bench = Bench()
    assert bench.run(traceparent=PARENT) == TRACE
    assert not bench.sent


def test_without_tracing_a_callers_trace_is_named_and_passed_on() -> None:
    bench = Bench(ratio=None)
    assert bench.run(traceparent=PARENT) == TRACE
    assert bench.run(traceparent=b"junk") is None
    assert bench.run() is None
    story = bench.stories.begin(bench.call(traceparent=PARENT, tracestate=b"a=1"))
    assert story.context is None
    assert story._passed == ((b"traceparent", PARENT), (b"tracestate", b"a=1"))
    assert bench.stories.begin(bench.call(traceparent=PARENT))._passed == (
        (b"traceparent", PARENT),
    )
    assert bench.stories.begin(bench.call(traceparent=b"junk"))._passed == ()


def test_calls_are_remembered_traced_or_not() -> None:
    recent = Recent.alone(4)
    Bench(None, recent).run()
    Bench(0.0, recent).run()
    assert len(recent.find("id")) == 2
