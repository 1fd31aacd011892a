"""An exchange whose answers a test writes itself, and inference endpoints in front of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.api.endpoints import Endpoints
from gateway.api.inference import Inference
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from tests.support.fake_clock import FakeClock


class FakeExchange:
    """`answer` is run for every call; the default answers at once, with the call's body."""

    def __init__(self, answer: Callable[[Call, Client], Awaitable[None]] | None = None) -> None:
        self.calls: list[Call] = []
        self.clients: list[Client] = []
        self.cancelled = 0
        self._answer = answer or echo

    async def run(self, call: Call, client: Client) -> None:
        self.calls.append(call)
        self.clients.append(client)
        try:
            await self._answer(call, client)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def inference(self, clock: FakeClock, *, max_body_bytes: int = 10_000) -> Inference:
        """Endpoints that call it."""
        endpoints = Endpoints(lambda: "m")
        exchange: Any = self
        return Inference(exchange, endpoints, clock, max_body_bytes=max_body_bytes)


async def echo(call: Call, client: Client) -> None:
    client.respond(200, (), call.body)


async def forever(_call: Call, _client: Client) -> None:
    await asyncio.get_running_loop().create_future()
