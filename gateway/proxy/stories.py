"""Begins the story of every call, and hands it on when the call is over.

To the ring of recent calls always, to the trace export when the sampler keeps it. Without
either, a story is recorded all the same, for the `server-timing` header: it costs next to nothing.
"""

from collections.abc import Callable

from gateway.clock import Clock
from gateway.errors import GatewayError, Source
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.content import content_of
from gateway.proxy.recorded_answer import RecordedAnswer
from gateway.proxy.spans import Ended, spans_of, spare_ids
from gateway.proxy.story import Story
from gateway.telemetry.exemplars import Mark
from gateway.telemetry.recent import Recent
from gateway.telemetry.request_line import RequestLine
from gateway.telemetry.tracing import Sampler, read_context
from gateway.wire.http import Headers


class Tracing:
    """What tracing takes. `add` is given the spans of one call as bytes, and their number."""

    __slots__ = ("add", "records_content", "sampler")

    def __init__(
        self, sampler: Sampler, add: Callable[[bytes, int], None], *, records_content: bool = False
    ) -> None:
        self.sampler = sampler
        self.add = add
        self.records_content = records_content


class Stories:
    """`tracing` None: nothing is traced. `recent` None: no call is remembered."""

    def __init__(
        self, clock: Clock, tracing: Tracing | None = None, recent: Recent | None = None
    ) -> None:
        self._clock = clock
        self._tracing = tracing
        self._recent = recent

    def begin(self, call: Call) -> Story:
        tracing = self._tracing
        if tracing is None:
            return Story(call.received_s, self._clock.now_s, passed=_passed(call))
        sampler = tracing.sampler
        context = sampler.begin(call.traceparent, call.tracestate)
        return Story(call.received_s, self._clock.now_s, context, sampler.new_span)

    def recording(self, story: Story, client: Client) -> Client:
        """The client, whose answer is kept where traces have content."""
        if self._tracing is None or not self._tracing.records_content:
            return client
        story.recorded = recorded = RecordedAnswer(client)
        return recorded

    def trace_id(
        self, story: Story, call: Call, duration_s: float, failure: GatewayError | None
    ) -> str | None:
        """For the log line: the trace that the caller knows, or that is sent."""
        context = story.context
        if context is None:
            given = read_context(call.traceparent, None)
            return None if given is None else given.trace_id
        if context.parent or self._keeps(story, duration_s, failure):
            return context.trace_id
        return None

    def end(
        self,
        story: Story,
        line: RequestLine,
        encoded: bytes,
        now_s: float,
        failure: GatewayError | None,
    ) -> Mark | None:
        """The call is over. `encoded` is its line as JSON. None: no spans of it are sent."""
        if self._recent is not None:
            self._recent.add(line, encoded, story.told(now_s))
        tracing = self._tracing
        context = story.context
        if tracing is None or context is None:
            return None
        if not self._keeps(story, now_s - story.received_s, failure):
            return None
        content = None
        if story.recorded is not None and story.ask is not None:
            content = content_of(story.ask, bytes(story.recorded.body))
        new_span = tracing.sampler.new_span
        unix_s, root = self._clock.unix_s(), new_span()
        unix_ns = round((unix_s - now_s) * 1_000_000_000)
        spare = [new_span() for _ in range(spare_ids(story))]
        spans = spans_of(Ended(story, line, failure, unix_ns, content), root, now_s, spare)
        tracing.add(b"".join(spans), len(spans))
        return Mark(context.trace, root, unix_s)

    def _keeps(self, story: Story, duration_s: float, failure: GatewayError | None) -> bool:
        if self._tracing is None or story.context is None:
            return False
        went_wrong = failure is not None and failure.source is not Source.CLIENT
        return self._tracing.sampler.keeps(
            story.context, duration_s, went_wrong=went_wrong or story.went_wrong
        )


def _passed(call: Call) -> Headers:
    """A caller's own trace context, for the engine."""
    if call.traceparent is None:
        return ()
    given = read_context(call.traceparent, call.tracestate)
    if given is None:
        return ()
    parent = ((b"traceparent", call.traceparent),)
    return (*parent, (b"tracestate", given.state)) if given.state else parent
