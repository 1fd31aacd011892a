from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.errors import EngineFault, GatewayError, InvalidRequest, ModelNotFound
from gateway.fleet.state import FleetState
from gateway.proxy.spans import Ended, spans_of, spare_ids
from gateway.proxy.story import FIRST, HEDGE, RESUME, Story
from gateway.telemetry import otlp
from gateway.telemetry.otlp import Value
from gateway.telemetry.request_line import RequestLine
from gateway.telemetry.tracing import Context
from gateway.wire.ask import Operation, read_ask
from tests.support.configs import a_catalog, a_model
from tests.support.fake_clock import FakeClock
from tests.support.otlp_receiver import Receiver

(STATE,) = FleetState(a_catalog(a_model("m", aliases=["gpt"])))
ROOT = 0xF00


class Bench:
    """A story, and the spans that come of it."""

    def __init__(self, stream: bool = True, **fields: Any) -> None:
        self.clock = FakeClock()
        ids = iter(range(1, 100))
        self.context = Context(7, 5, b"", is_sampled=True)
        self.story = Story(self.clock.now_s(), self.clock.now_s, self.context, lambda: next(ids))
        body = {"model": "gpt", "messages": [], "stream": stream} | fields
        self.story.ask = read_ask(msgspec.json.encode(body), Operation.CHAT)
        self.line = RequestLine(
            1.0, "info", "request", "id", "chat", stream, 1, "ok", 200, 1.0, 10, "team", "m", "m"
        )

    def told(
        self, failure: GatewayError | None = None, content: dict[str, Value | None] | None = None
    ) -> Receiver:
        ended = Ended(self.story, self.line, failure, 10**18, content)
        spare = range(100, 100 + spare_ids(self.story))
        written = spans_of(ended, ROOT, self.clock.now_s(), spare)
        receiver = Receiver("")
        request = otlp.request(b"", b"", written)
        receiver.take(ExportTraceServiceRequest.FromString(request))
        assert len({one.span_id for one in receiver.spans}) == len(receiver.spans)
        return receiver


def test_a_call_that_was_refused_is_a_server_span_alone() -> None:
    bench = Bench()
    bench.line = msgspec.structs.replace(
        bench.line, status=404, model=None, variant=None, outcome="client_error", attempts=0
    )
    receiver = bench.told(ModelNotFound("no such model"))
    (server,) = receiver.spans
    assert server.name == "chat"  # whatever a client calls its model, there is no end of names
    assert server.attributes["error.type"] == "model_not_found"
    assert "gen_ai.request.model" not in server.attributes
    assert server.span.status.code == server.span.status.STATUS_CODE_UNSET


def test_names_and_models_are_those_that_each_side_knows() -> None:
    bench = Bench()
    bench.story.begin(STATE, FIRST)
    receiver = bench.told()
    (server,), (client,) = receiver.of_kind("server"), receiver.of_kind("client")
    assert (server.name, client.name) == ("chat gpt", "chat m")
    assert server.attributes["gen_ai.response.model"] == "m"
    assert client.attributes["server.address"] == "m.test"
    assert client.attributes["server.port"] == 8000


def test_what_was_waited_for_before_the_first_try_is_a_queue() -> None:
    bench = Bench()
    bench.clock.pass_s(2)
    bench.story.queue_s = 1.5
    bench.story.begin(STATE, FIRST)
    receiver = bench.told()
    queue = receiver.named("queue")
    assert queue.took_ms == 1500
    assert queue.parent == f"{ROOT:016x}"


def test_a_connection_that_was_there_is_no_span() -> None:
    bench = Bench()
    bench.story.begin(STATE, FIRST).connected()
    assert [one.name for one in bench.told().spans] == ["chat gpt", "chat m", "first token"]


def test_a_try_without_a_connection_was_connecting() -> None:
    bench = Bench(stream=False)
    one = bench.story.begin(STATE, FIRST)
    bench.clock.pass_s(2)
    one.end(EngineFault("broke"))
    receiver = bench.told(EngineFault("broke"))
    assert receiver.named("connect").took_ms == 2000
    (client,) = receiver.of_kind("client")
    assert "gen_ai.response.model" not in client.attributes
    assert client.span.status.code == client.span.status.STATUS_CODE_ERROR


def test_legs_are_linked_and_losers_are_named() -> None:
    bench = Bench()
    first = bench.story.begin(STATE, FIRST)
    first.end(EngineFault("broke"))
    bench.story.begin(STATE, HEDGE).end(None, outdone=True)
    bench.story.begin(STATE, RESUME).end()
    first_span, hedge, resumed = bench.told().of_kind("client")
    assert not first_span.span.links
    assert not hedge.span.links
    assert hedge.attributes["error.type"] == "outdone"
    assert hedge.span.status.code == hedge.span.status.STATUS_CODE_UNSET
    (link,) = resumed.span.links
    assert link.span_id.hex() == hedge.span_id


@pytest.mark.parametrize(
    ("field", "given", "name", "told"),
    [
        ("temperature", 0.5, "gen_ai.request.temperature", 0.5),
        ("temperature", 1, "gen_ai.request.temperature", 1.0),
        ("temperature", "hot", "gen_ai.request.temperature", None),
        ("temperature", None, "gen_ai.request.temperature", None),
        ("seed", 10**40, "gen_ai.request.seed", None),
        ("seed", 10**30, "gen_ai.request.seed", None),
        ("max_tokens", 10**30, "gen_ai.request.max_tokens", None),
        ("seed", 12, "gen_ai.request.seed", 12),
        ("top_k", 40, "gen_ai.request.top_k", 40),
        ("n", 3, "gen_ai.request.choice.count", 3),
        ("n", 1, "gen_ai.request.choice.count", None),
        ("max_tokens", 9, "gen_ai.request.max_tokens", 9),
        ("stop", ["secret words"], "gen_ai.request.stop_sequences", None),
    ],
)
def test_what_was_asked_for_is_told_but_for_its_words(
    field: str, given: Any, name: str, told: Any
) -> None:
    receiver = Bench(**{field: given}).told()
    assert receiver.spans[0].attributes.get(name) == told
    assert b"secret words" not in receiver.raw


def test_content_is_on_the_server_span_where_it_is_recorded() -> None:
    bench = Bench()
    bench.story.begin(STATE, FIRST)
    receiver = bench.told(content={"gen_ai.input.messages": "[]"})
    (server,), (client,) = receiver.of_kind("server"), receiver.of_kind("client")
    assert server.attributes["gen_ai.input.messages"] == "[]"
    assert "gen_ai.input.messages" not in client.attributes


def test_a_failure_without_a_code_has_its_name() -> None:
    bench = Bench()
    receiver = bench.told(InvalidRequest("bad"))
    assert receiver.spans[0].attributes["error.type"] == "InvalidRequest"


def test_without_a_context_there_are_no_spans() -> None:
    bench = Bench()
    bench.story.context = None
    assert not bench.told().spans
