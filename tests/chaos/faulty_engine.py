"""A real (simulated) engine behind a server that spoils its answers as it is told."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gateway.simulator.engine import SimulatedEngine
from tests.chaos.fault import Answer, EngineFault, told
from tests.support.scripted_server import LAST_CHUNK, Peer, Received, ScriptedServer, serving

_FEWEST_EVENTS = 10
_HOPS = (b"host", b"content-length", b"connection", b"accept-encoding")


class FaultyEngine:
    """Answers as the engine behind it does; the next requests that they fit meet `faults`."""

    def __init__(self, engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
        self.engine = engine
        self.faults: deque[EngineFault] = deque()
        self.url = ""
        self.server: ScriptedServer | None = None
        self._http = http

    async def connection(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            try:
                answer = await self._answer_to(request)
            except httpx.TransportError:
                peer.close()
                return
            fault = self._fault_for(answer) if request.method == "POST" else None
            if fault is not None and fault.play is not None:
                await fault.play(peer, answer)
            elif answer.kind.startswith(b"text/event-stream"):
                await peer.send(answer.chunked, told(*answer.events), LAST_CHUNK)
            else:
                status = b"%d Told" % answer.status
                length = b"content-length: %d" % answer.length
                await peer.send(answer.head(length, status=status), answer.body)

    def _fault_for(self, answer: Answer) -> EngineFault | None:
        """The oldest that fits; the rest of an answer may be too short to break in the middle."""
        is_stream = answer.kind.startswith(b"text/event-stream")
        if answer.status != 200 or (is_stream and len(answer.events) < _FEWEST_EVENTS):
            return None
        kind = "stream" if is_stream else "whole"
        fault = next((fault for fault in self.faults if kind in fault.of), None)
        if fault is not None:
            self.faults.remove(fault)
        return fault

    async def _answer_to(self, request: Received) -> Answer:
        headers = [pair for pair in request.headers if pair[0] not in _HOPS]
        answer = await self._http.request(
            request.method, self.engine.url + request.target, headers=headers, content=request.body
        )
        kind = answer.headers.get("content-type", "application/json").encode()
        return Answer(answer.status_code, kind, answer.content)


@asynccontextmanager
async def a_faulty_engine(
    engine: SimulatedEngine, patience_s: float = 30.0
) -> AsyncIterator[FaultyEngine]:
    """In front of `engine` until left; a mistake in a play is raised then."""
    async with httpx.AsyncClient(timeout=20) as http:
        faulty = FaultyEngine(engine, http)
        async with serving(faulty.connection, patience_s=patience_s) as served:
            faulty.server = served.server
            faulty.url = f"http://{served.origin.host}:{served.origin.port}"
            yield faulty
