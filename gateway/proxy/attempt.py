"""One try on one replica: send the request, and bring its answer to the client.

Raises the failure when the try failed and the client has seen no content of it, so that the
exchange may try elsewhere; a stream that breaks later raises StreamBroken or StreamStalled.
"""

import asyncio
import math
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.engines.adapter import AnswerStream, EngineAdapter, Served, Shown
from gateway.engines.assembled import Assembled
from gateway.engines.kept import Kept
from gateway.engines.leg import Leg
from gateway.engines.resumed_stream import ResumedStream
from gateway.errors import (
    ClientGone,
    ConnectionLost,
    EngineFault,
    EngineSilent,
    GatewayError,
    StreamBroken,
    StreamStalled,
)
from gateway.fleet.catalog import Variant
from gateway.fleet.replica_state import ReplicaState
from gateway.proxy.account import Account
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.gathered import Gathered, as_stream, is_gathered
from gateway.proxy.relay import STREAM_HEAD, Relay
from gateway.proxy.server_timing import server_timing
from gateway.proxy.upstream.protocol import Upstream, UpstreamResponse
from gateway.telemetry.metrics import Metrics
from gateway.wakeup import Signal
from gateway.wire.ask import Ask, Operation
from gateway.wire.http import Headers, UpstreamRequest
from gateway.wire.usage import count_output

_MAX_ERROR_BYTES = 256 * 1024
_ERROR_BODY_S = 5.0
_LINGER_S = 0.5
_ID_PREFIX = {
    Operation.CHAT: "chatcmpl-",
    Operation.COMPLETION: "cmpl-",
    Operation.EMBEDDINGS: "embd-",
    Operation.GENERATE: "",
}


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """What a relayed answer may take. `write_stall_s`: how long a client may read nothing."""

    heartbeat_s: float = 15.0
    write_stall_s: float = 60.0
    max_event_bytes: int = 16 * 1024 * 1024
    max_answer_bytes: int = 64 * 1024 * 1024


class Attempts:
    """Makes tries; holds what all of them need. `tells_who`: clients learn who answers them."""

    def __init__(
        self,
        upstream: Upstream,
        metrics: Metrics,
        clock: Clock,
        bounds: StreamBounds,
        *,
        tells_who: bool = True,
    ) -> None:
        self._tells_who = tells_who
        self._upstream = upstream
        self._metrics = metrics
        self._clock = clock
        self._bounds = bounds

    @property
    def heartbeat_s(self) -> float:
        """How often a silent stream says that it is still there."""
        return self._bounds.heartbeat_s

    def shown(self, state: ReplicaState) -> Headers:
        """What the client is told of a replica."""
        return state.shown if self._tells_who else ()

    def form(
        self,
        call: Call,
        ask: Ask,
        client: Client,
        adapter: EngineAdapter,
        variant: Variant,
        account: Account,
    ) -> tuple[Call, Ask, Client]:
        """How an answer is fetched: as it is asked for, or as a stream that is gathered.

        Where gathering came to nothing, the next try is for the whole.
        """
        has_failed = account.resumes or account.resume_refused is not None
        if has_failed or not is_gathered(ask, adapter, variant):
            return call, ask, client
        blank = adapter.blank(ask.operation)
        assembled = Assembled(ask.operation, blank, self._bounds.max_answer_bytes)
        return *as_stream(call, ask), Gathered(client, call.dialect, assembled)

    async def run(
        self,
        call: Call,
        ask: Ask,
        adapter: EngineAdapter,
        state: ReplicaState,
        client: Client,
        account: Account,
        leg: Leg | None = None,
    ) -> None:
        """`leg`: go on with an answer that has begun, as it says, instead of beginning one."""
        variant = state.variant
        asked = account.adapter
        served = Served(
            variant.served_model, variant.api_key, None if asked is None else asked.name
        )
        if leg is None:
            account.kept = _kept(ask, adapter, state)
            request = adapter.prepare(ask, served, call.request_id, account.kept)
        else:
            request = adapter.prepare(leg.ask, served, call.request_id)
        waits = variant.timeouts
        trying = account.trying
        request = _traced(request, account.story.headers(trying))
        response = await self._upstream.send(
            state.replica.origin,
            request,
            connect_s=waits.connect_s,
            # an answer that is not streamed comes when it is complete: only `total_s` bounds it
            first_byte_s=waits.first_byte_s if ask.stream else math.inf,
            connected=trying.connected,
        )
        try:
            if not 200 <= response.status < 300:
                raise await _refusal(adapter, response)
            shown = Shown(
                ask.model, _ID_PREFIX[ask.operation] + call.request_id, int(self._clock.unix_s())
            )
            head: Headers = ((b"x-request-id", call.request_id.encode()), *self.shown(state))
            if account.reservation is not None:
                head += account.reservation.headers
            if ask.stream:
                stream = (
                    adapter.stream(ask, shown, account.kept)
                    if leg is None or account.kept is None
                    else ResumedStream(
                        adapter.stream(leg.ask, shown, account.kept), ask, leg, account.kept
                    )
                )
                await self._stream(
                    call, ask, adapter, shown, stream, state, response, client, account, head
                )
            else:
                body = await response.read(self._bounds.max_answer_bytes)
                answer = adapter.answer(ask, body, response.header, shown)
                account.usage, account.finish_reason = answer.usage, answer.finish_reason
                if answer.usage is None:
                    account.output_tokens = count_output(answer.body)
                timing = server_timing(account.story, self._clock.now_s(), stream=False)
                client.respond(
                    200,
                    (*head, (b"content-type", b"application/json"), *timing),
                    call.dialect.answer(answer.body),
                )
        finally:
            response.close()

    async def _stream(
        self,
        call: Call,
        ask: Ask,
        adapter: EngineAdapter,
        shown: Shown,
        stream: AnswerStream,
        state: ReplicaState,
        response: UpstreamResponse,
        client: Client,
        account: Account,
        head: Headers,
    ) -> None:
        if not (response.header(b"content-type") or b"").startswith(b"text/event-stream"):
            body = await response.read(_MAX_ERROR_BYTES)
            adapter.answer(ask, body, response.header, shown)  # raises what an error body says
            raise EngineFault("the engine did not stream its answer")
        over = Signal()
        trying = account.trying

        def timing() -> Headers:
            now_s = self._clock.now_s()
            if stream.content_events:
                trying.first_content_s = now_s
            return server_timing(account.story, now_s, stream=True)

        relay = Relay(
            client=client,
            dialect=call.dialect,
            stream=stream,
            head=(*head, *STREAM_HEAD),
            max_event_bytes=self._bounds.max_event_bytes,
            now_s=self._clock.now_s,
            inter_token=self._metrics.route(account.route).inter_token,
            on_first=account.began,
            on_over=over.set,
            timing=timing if account.story.shows_timing else None,
        )

        def pause() -> None:
            trying.blocked()
            response.pause()
            over.nudge()

        def resume() -> None:
            trying.unblocked()
            response.resume()

        client.on_pressure(pause, resume)
        if client.blocked_since_s is not None:
            response.pause()
        try:
            response.deliver(relay)
            await self._watch(relay, over, client, state)
        finally:
            account.first_content_s = account.first_content_s or relay.first_content_s
            trying.first_content_s = relay.first_content_s
            account.usage = relay.stream.usage
            account.finish_reason = relay.stream.finish_reason
            account.output_tokens += relay.stream.content_events
        if relay.failure is not None:
            raise _after_commit(relay.failure) if relay.is_committed else unseen(relay.failure)
        client.finish()
        if not relay.has_ended:
            # the end of the body is all that is missing: worth a moment, to keep the connection
            over.clear()
            await over.wait(self._clock.now_s() + _LINGER_S, self._clock)

    async def _watch(self, relay: Relay, over: Signal, client: Client, state: ReplicaState) -> None:
        """Until the relay is over: deadlines and heartbeats. Wakes only when one may be due."""
        bounds, waits = self._bounds, state.variant.timeouts
        look_s = min(waits.idle_s, waits.unreachable_s / 2)
        started_s = self._clock.now_s()
        while not relay.is_over:
            now_s = self._clock.now_s()
            blocked_s = client.blocked_since_s
            if blocked_s is not None:
                due_s = blocked_s + bounds.write_stall_s
                if now_s >= due_s:
                    client.abort()
                    raise ClientGone("the client stopped reading")
            elif state.is_unreachable and now_s >= _heard_s(relay, started_s) + waits.unreachable_s:
                # it may be shutting down with its connections open: it says nothing any more
                relay.ended(StreamBroken("the engine is silent and takes no connections"))
                return
            elif relay.is_committed:
                due_s = relay.last_piece_s + waits.idle_s
                if now_s >= due_s:
                    # where only the closing [DONE] is missing, the answer is whole
                    relay.ended(StreamStalled("the engine stopped sending"))
                    return
            else:
                due_s = started_s + waits.first_byte_s
                if now_s >= due_s:
                    raise EngineSilent("the engine sent no answer in time")
            beat_s = relay.last_write_s + bounds.heartbeat_s
            if now_s >= beat_s:
                if blocked_s is None:
                    relay.heartbeat()
                beat_s = now_s + bounds.heartbeat_s
            # the first content starts the idle timeout without waking us: look often enough
            await over.wait(min(due_s, beat_s, now_s + look_s), self._clock)


def _heard_s(relay: Relay, started_s: float) -> float:
    return relay.last_piece_s if relay.is_committed else started_s


def _traced(request: UpstreamRequest, trace: Headers) -> UpstreamRequest:
    """The request with the headers that name its trace."""
    if not trace:
        return request
    headers = (*request.headers, *trace)
    return UpstreamRequest(request.method, request.path, headers, request.body, request.fixed)


async def _refusal(adapter: EngineAdapter, response: UpstreamResponse) -> GatewayError:
    body = b""
    try:
        async with asyncio.timeout(_ERROR_BODY_S):
            body = await response.read(_MAX_ERROR_BYTES)
    except (GatewayError, TimeoutError):
        pass  # the status alone says enough
    return adapter.refusal(response.status, body, response.header(b"retry-after"))


def unseen(failure: GatewayError) -> GatewayError:
    """An answer that broke before its client saw any of it: another replica may cure that."""
    if isinstance(failure, StreamStalled):
        return EngineSilent("the engine stopped sending")
    if isinstance(failure, StreamBroken | ConnectionLost):
        return EngineFault("the engine broke off before it answered")
    return failure


def _after_commit(failure: GatewayError) -> GatewayError:
    if isinstance(failure, ConnectionLost):
        return StreamBroken("the connection to the engine was lost in the middle of the answer")
    return failure


def _kept(ask: Ask, adapter: EngineAdapter, state: ReplicaState) -> Kept | None:
    """Where an answer can be resumed, what will be kept of it."""
    variant = state.variant
    if not ask.stream or not variant.resume or not variant.may_have_several:
        return None
    return adapter.keep(ask) if adapter.hindrance(ask) is None else None
