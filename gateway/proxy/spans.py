"""The spans of one call, from its story: pure.

A server span for the call; below it, where it waited, a span for the queue, and a client span
for every try, whose children are the connection (where one was made), the time to the first
token and the stream. A resumed stream links the try that it goes on from.

Source: OpenTelemetry semantic conventions for generative AI (inference spans), in the
repository semantic-conventions-genai, 2026; for HTTP, server spans. What they do not name has
the prefix `sluicegate`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from gateway.errors import GatewayError, Source
from gateway.proxy.story import RESUME, Story, Try
from gateway.telemetry.otlp import Kind, Value, attributes, span
from gateway.telemetry.request_line import RequestLine
from gateway.telemetry.tracing import Context
from gateway.wire.ask import Ask

_MAX_NUMBER_BYTES: Final = 32
_MAX_INTEGER: Final = 1 << 63
_KNOWN: Final = 2048
# a connection that was there already has taken no longer
_REUSED_S: Final = 0.00005
# fields of a request that are numbers, by their names in the conventions
_INTEGERS: Final = (
    ("seed", "gen_ai.request.seed"),
    ("top_k", "gen_ai.request.top_k"),
)
_DOUBLES: Final = (
    ("temperature", "gen_ai.request.temperature"),
    ("top_p", "gen_ai.request.top_p"),
    ("frequency_penalty", "gen_ai.request.frequency_penalty"),
    ("presence_penalty", "gen_ai.request.presence_penalty"),
)
_number: Final = msgspec.json.Decoder(float)


class Ended:
    """A call that is over: what its log line says, and its story.

    `unix_ns`: what must be added to nanoseconds of the gateway's clock for those since 1970.
    `content`: attributes with prompt and answer, where those are recorded.
    """

    __slots__ = ("content", "failure", "line", "story", "unix_ns")

    def __init__(
        self,
        story: Story,
        line: RequestLine,
        failure: GatewayError | None,
        unix_ns: int,
        content: dict[str, Value | None] | None = None,
    ) -> None:
        self.story = story
        self.line = line
        self.failure = failure
        self.unix_ns = unix_ns
        self.content = content

    def ns(self, at_s: float) -> int:
        """A time of the gateway's clock as nanoseconds since 1970."""
        return self.unix_ns + round(at_s * 1_000_000_000)


def spans_of(ended: Ended, root: int, ended_s: float, spare: Sequence[int]) -> list[bytes]:
    """All spans as bytes of OTLP. `root` is the server span's id, `spare` ids for children."""
    story = ended.story
    context = story.context
    if context is None:
        return []
    ids = iter(spare)
    asked = b"" if story.ask is None else attributes(_asked(story.ask))
    used = attributes(_used(ended.line))
    spans = [_server(ended, context, root, ended_s, asked + used)]
    first_s = story.tries[0].began_s if story.tries else ended_s
    if story.queue_s:
        spans.append(_part(ended, context, "queue", root, first_s - story.queue_s, first_s, ids))
    before: Try | None = None
    for one in story.tries:
        answered = one.failure is None and not one.outdone and ended.failure is None
        facts = asked + used if answered else asked
        spans.append(_client(ended, context, root, one, before, ended_s, facts, answered=answered))
        spans += _children(ended, context, one, ended_s, ids)
        before = one
    return spans


def spare_ids(story: Story) -> int:
    """How many ids `spans_of` may need for children."""
    return 1 + 3 * len(story.tries)


def _server(ended: Ended, context: Context, root: int, ended_s: float, facts: bytes) -> bytes:
    line, story, failure = ended.line, ended.story, ended.failure
    # a name that nobody serves says nothing, and there is no end of them
    model = line.model if line.model is None or story.ask is None else story.ask.model or line.model
    known = _known_of_server(
        line.operation,
        _provider(story),
        model,
        line.variant if failure is None else None,
        line.status,
        line.caller,
        line.outcome,
        line.attempts,
    )
    told: dict[str, Value | None] = {
        "sluicegate.request_id": line.request_id,
        "gen_ai.server.time_to_first_token": None if line.ttft_ms is None else line.ttft_ms / 1000,
    }
    if ended.content is not None:
        told |= ended.content
    if line.attempts > 1 or failure is not None:
        told |= {
            "error.type": _error_type(failure),
            "sluicegate.chosen": line.chosen,
            "sluicegate.hedge": line.hedge,
            "sluicegate.resumes": line.resumes,
            "sluicegate.resume_refused": line.resume_refused,
            "sluicegate.retry_refused": line.retry_refused,
        }
    return span(
        f"{line.operation} {model}" if model else line.operation,
        Kind.SERVER,
        context.trace,
        root,
        context.parent,
        ended.ns(story.received_s),
        ended.ns(ended_s),
        known + attributes(told) + facts,
        state=context.state,
        failed=failure is not None and failure.source is not Source.CLIENT,
        is_root=True,
    )


@lru_cache(_KNOWN)
def _known_of_server(
    operation: str,
    provider: str | None,
    model: str | None,
    variant: str | None,
    status: int,
    caller: str | None,
    outcome: str,
    attempts: int,
) -> bytes:
    """What many calls have in common."""
    return attributes(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.response.model": variant,
            "http.request.method": "POST",
            "http.response.status_code": status,
            "sluicegate.caller": caller,
            "sluicegate.outcome": outcome,
            "sluicegate.attempts": attempts,
        }
    )


def _client(
    ended: Ended,
    context: Context,
    root: int,
    one: Try,
    before: Try | None,
    ended_s: float,
    facts: bytes,
    *,
    answered: bool,
) -> bytes:
    state, failure, first_s = one.state, one.failure, one.first_content_s
    variant, origin = state.variant, state.replica.origin
    operation, model = ended.line.operation, variant.served_model
    known = _known_of_client(
        operation,
        variant.engine,
        model,
        origin.host,
        origin.port,
        variant.name,
        state.name,
        one.kind,
        answered=answered,
    )
    told: dict[str, Value | None] = {}
    if first_s is not None:
        told["gen_ai.response.time_to_first_chunk"] = first_s - one.began_s
    if one.outdone or failure is not None:
        told["error.type"] = "outdone" if one.outdone else _error_type(failure)
    if one.client_blocked_s:
        told["sluicegate.client_blocked"] = one.client_blocked_s
    return span(
        f"{operation} {model}",
        Kind.CLIENT,
        context.trace,
        one.span,
        root,
        ended.ns(one.began_s),
        ended.ns(_end_s(one, ended_s)),
        known + attributes(told) + facts,
        state=context.state,
        links=(before.span,) if before is not None and one.kind == RESUME else (),
        failed=failure is not None and failure.source is not Source.CLIENT,
    )


@lru_cache(_KNOWN)
def _known_of_client(
    operation: str,
    engine: str,
    model: str,
    host: str,
    port: int,
    variant: str,
    replica: str,
    kind: str,
    *,
    answered: bool,
) -> bytes:
    """What many tries on one replica have in common."""
    return attributes(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": engine,
            "gen_ai.request.model": model,
            "gen_ai.response.model": model if answered else None,
            "server.address": host,
            "server.port": port,
            "sluicegate.variant": variant,
            "sluicegate.replica": replica,
            "sluicegate.try": kind,
        }
    )


def _children(
    ended: Ended, context: Context, one: Try, ended_s: float, ids: Iterator[int]
) -> list[bytes]:
    """Where the time of a try went."""
    end_s = _end_s(one, ended_s)
    connected_s, first_s = one.connected_s, one.first_content_s
    until_s = end_s if connected_s is None else connected_s
    parts = []
    if until_s - one.began_s >= _REUSED_S:
        parts.append(("connect", one.began_s, until_s))
    if connected_s is not None and ended.line.stream:
        parts.append(("first token", connected_s, end_s if first_s is None else first_s))
        if first_s is not None:
            parts.append(("stream", first_s, end_s))
    return [_part(ended, context, name, one.span, a_s, b_s, ids) for name, a_s, b_s in parts]


def _part(
    ended: Ended,
    context: Context,
    name: str,
    parent: int,
    start_s: float,
    end_s: float,
    ids: Iterator[int],
) -> bytes:
    return span(
        name,
        Kind.INTERNAL,
        context.trace,
        next(ids),
        parent,
        ended.ns(start_s),
        ended.ns(end_s),
        state=context.state,
    )


def _asked(ask: Ask) -> dict[str, Value | None]:
    """What a client asked for, but for its content."""
    found: dict[str, Value | None] = {
        "gen_ai.request.stream": True if ask.stream else None,
        "gen_ai.request.max_tokens": _integer(ask.max_tokens),
        "gen_ai.request.choice.count": None if ask.n == 1 else ask.n,
    }
    fields = ask.fields
    for field, name in _DOUBLES:
        if field in fields:
            found[name] = _read(fields[field])
    for field, name in _INTEGERS:
        number = _read(fields[field]) if field in fields else None
        if number is not None and abs(number) < _MAX_INTEGER:
            found[name] = int(number)
    return found


def _integer(number: int | None) -> int | None:
    """None, too, for what does not fit."""
    return number if number is not None and abs(number) < _MAX_INTEGER else None


def _read(raw: msgspec.Raw) -> float | None:
    """A number as the client sent it; None: it is something else."""
    text = bytes(raw)
    if len(text) > _MAX_NUMBER_BYTES:
        return None
    try:
        return _number.decode(text)
    except msgspec.DecodeError:
        return None


def _used(line: RequestLine) -> dict[str, Value | None]:
    """What the engine said of the whole answer."""
    reason = line.finish_reason
    return {
        "gen_ai.response.finish_reasons": None if reason is None else (reason,),
        "gen_ai.usage.input_tokens": line.prompt_tokens,
        "gen_ai.usage.output_tokens": line.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": line.cached_tokens,
    }


def _provider(story: Story) -> str | None:
    return story.tries[-1].state.variant.engine if story.tries else None


def _error_type(failure: GatewayError | None) -> str | None:
    if failure is None:
        return None
    return failure.code or type(failure).__name__


def _end_s(one: Try, ended_s: float) -> float:
    return ended_s if one.ended_s is None else one.ended_s
