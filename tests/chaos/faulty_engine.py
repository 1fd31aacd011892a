"""A real (simulated) engine behind a server that spoils its answers as it is told."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gateway.simulator.engine import SimulatedEngine
from tests.chaos.fault import Answer, Play, told
from tests.support.scripted_server import LAST_CHUNK, Peer, Received, ScriptedServer, serving

_HOPS = (b"host", b"content-length", b"connection", b"accept-encoding")


class FaultyEngine:
    """Answers as the engine behind it does; the next requests meet `plays`, one each."""

    def __init__(self, engine: SimulatedEngine, http: httpx.AsyncClient) -> None:
        self.engine = engine
        self.plays: deque[Play] = deque()
        self.url = ""
        self.server: ScriptedServer | None = None
        self._http = http

    async def connection(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            answer = await self._answer_to(request)
            if request.method == "POST" and self.plays:
                await self.plays.popleft()(peer, answer)
            elif answer.kind.startswith(b"text/event-stream"):
                await peer.send(answer.chunked, told(*answer.events), LAST_CHUNK)
            else:
                status = b"%d Told" % answer.status
                length = b"content-length: %d" % answer.length
                await peer.send(answer.head(length, status=status), answer.body)

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
