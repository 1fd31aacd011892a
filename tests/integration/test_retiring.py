"""A worker that others stand in for: what it has begun it ends, and nobody new comes in."""

import httpx
import pytest

from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, a_gateway, until

PATH = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4}


def open_connections(it: Running) -> int:
    return len(it.server.server_state.connections)


async def test_the_next_answer_on_a_kept_connection_is_its_last(direct: bool) -> None:
    async with a_gateway(FAST, direct=direct) as it, httpx.AsyncClient(timeout=10) as client:
        first = await client.post(it.url + PATH, json=BODY)
        it.server.retire()
        it.server.retire()
        last = await client.post(it.url + PATH, json=BODY)
        with pytest.raises(httpx.ConnectError):
            await client.post(it.url + PATH, json=BODY)
        await until(lambda: it.server.should_exit, within_s=10)
    assert (first.status_code, first.headers.get("connection")) == (200, None)
    assert (last.status_code, last.headers["connection"]) == (200, "close")


async def test_the_ordinary_way_says_so_too(direct: bool) -> None:
    async with a_gateway(FAST, direct=direct) as it, httpx.AsyncClient(timeout=10) as client:
        await client.get(it.url + "/health")
        it.server.retire()
        await until(lambda: all(c.is_last for c in it.server.server_state.connections), 5)  # type: ignore[union-attr]  # ours
        last = await client.get(it.url + "/health")
        await until(lambda: open_connections(it) == 0, within_s=10)
    assert last.headers["connection"] == "close"


async def test_idle_connections_are_closed_after_a_while(
    monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    monkeypatch.setattr("gateway.cli.server._IDLE_S", 0.3)
    async with a_gateway(FAST, direct=direct) as it, httpx.AsyncClient(timeout=10) as client:
        await client.post(it.url + PATH, json=BODY)
        assert open_connections(it) == 1
        it.server.retire()
        await until(lambda: open_connections(it) == 0, within_s=10)
        await until(lambda: it.server.should_exit, within_s=10)
