"""Ask an OpenAI endpoint as a client does, and time the answer.

The transport is the gateway's own (`proxy/upstream/pool`): times are taken in the callback that
brings the bytes, before anything is parsed, at a small part of what a general HTTP client costs.
It goes straight to the endpoint, whatever proxy the environment names, and follows no redirect.
"""

import math
from types import TracebackType
from typing import Self

import anyio
import msgspec

from gateway.clock import Clock, SystemClock
from gateway.errors import GatewayError
from gateway.proxy.upstream.pool import PoolUpstream
from gateway.proxy.upstream.protocol import UpstreamResponse
from gateway.remote.answer import Answer, Question, answer_of
from gateway.remote.failure import Failure, broken, refused, timed_out, unreadable
from gateway.remote.reading import Reading
from gateway.wire.http import Headers, Origin, UpstreamRequest

_CONNECT_S = 30.0
_MAX_WHOLE_BYTES = 256 * 1024 * 1024
_MAX_ERROR_BYTES = 1024 * 1024


class AskFailed(Exception):
    """A request that is no part of a measurement failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Endpoint:
    """One endpoint. Nothing is ever sent twice, but where a kept connection was already closed."""

    def __init__(
        self,
        origin: Origin,
        headers: Headers,
        *,
        timeout_s: float = 600.0,
        max_connections: int = 65536,
        clock: Clock | None = None,
    ) -> None:
        self.origin = origin
        self.clock: Clock = clock or SystemClock()
        self._headers = headers
        self._timeout_s = timeout_s
        self._upstream = PoolUpstream(
            max_connections_per_origin=max_connections, max_idle_per_origin=max_connections
        )

    async def __aenter__(self) -> Self:
        await self._upstream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._upstream.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - does not wait

    async def stream(self, question: Question) -> Answer:
        """Ask, and read the stream to its end. Failures are part of the answer."""
        reading = Reading()
        sent_s = self.clock.now_s()
        failure: Failure | None = None
        try:
            with anyio.fail_after(self._timeout_s):
                failure = await self._read_stream(question, reading)
        except TimeoutError:
            failure = timed_out(self._timeout_s)
        except GatewayError as error:
            failure = broken(error)
        return answer_of(reading, sent_s, self.clock.now_s(), failure)

    async def whole(self, method: str, path: str, body: object = None) -> bytes:
        """The body of an answer that is not streamed. Raises AskFailed."""
        encoded = b"" if body is None else msgspec.json.encode(body)
        try:
            with anyio.fail_after(self._timeout_s):
                response = await self._send(method, path, encoded)
                try:
                    answered = await response.read(_MAX_WHOLE_BYTES)
                finally:
                    response.close()
        except TimeoutError:
            raise AskFailed(timed_out(self._timeout_s)) from None
        except GatewayError as error:
            raise AskFailed(broken(error)) from error
        if not 200 <= response.status < 300:
            raise AskFailed(refused(response.status, answered))
        return answered

    async def _read_stream(self, question: Question, reading: Reading) -> Failure | None:
        response = await self._send("POST", question.path, question.body)
        try:
            if response.status != 200:
                return refused(response.status, await response.read(_MAX_ERROR_BYTES))
            kind = response.header(b"content-type") or b""
            if not kind.startswith(b"text/event-stream"):
                return unreadable(f"not a stream of events, but {kind.decode(errors='replace')}")
            sink = _Sink(reading, self.clock)
            response.deliver(sink)
            await sink.over.wait()
        finally:
            response.close()
        reading.end()
        return None if sink.failure is None else broken(sink.failure)

    async def _send(self, method: str, path: str, body: bytes) -> UpstreamResponse:
        request = UpstreamRequest(method, f"/v1{path}", body=body, fixed=self._headers)
        return await self._upstream.send(
            self.origin, request, connect_s=_CONNECT_S, first_byte_s=math.inf
        )


class _Sink:
    """Takes the time before it does anything else."""

    def __init__(self, reading: Reading, clock: Clock) -> None:
        self.over = anyio.Event()
        self.failure: GatewayError | None = None
        self._feed = reading.feed
        self._now_s = clock.now_s

    def data(self, piece: bytes) -> None:
        at_s = self._now_s()
        self._feed(piece, at_s)

    def ended(self, failure: GatewayError | None) -> None:
        self.failure = failure
        self.over.set()
