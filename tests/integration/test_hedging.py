"""A second try beside a late call, on real sockets."""

import time
from typing import Any

import httpx
import pytest

from tests.support.counted import counted
from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, a_gateway, until

PATH = "/v1/chat/completions"


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4} | more


async def call(it: Running, times: int = 1, **more: Any) -> float:
    """So many calls, one after the other, all of which succeed; the seconds of the slowest."""
    slowest_s = 0.0
    async with httpx.AsyncClient(timeout=20) as client:
        for _ in range(times):
            began_s = time.monotonic()
            answer = await client.post(it.url + PATH, json=chat(**more))
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            assert answer.status_code == 200
            assert answer.content
    await it.settled()
    return slowest_s


def asked(it: Running) -> int:
    return sum(len(engine.requests) for engine in it.engines)


async def test_a_replica_that_hangs_is_hidden_within_moments(direct: bool) -> None:
    hedging = {"extra_ratio": 0.5}
    async with a_gateway(FAST, FAST, model={"hedging": hedging}, direct=direct) as it:
        await call(it, 48)
        before = asked(it)
        it.engine.inject("stall-before-headers")
        slowest_s = await call(it, 6)
        assert slowest_s < 2
        won = counted(it.gateway.books._metrics, "gateway_hedges", "outcome")["won"]
        assert 1 <= won <= 6
        assert asked(it) <= before + 12
        seen = it.engine.requests
        await until(lambda: all(one.outcome != "open" for one in seen), within_s=2)
        assert sum(one.outcome in ("client_left", "fault") for one in seen) >= won
    told = [line["hedge"] for line in it.log.requests if "hedge" in line]
    assert told.count("won") == won


@pytest.mark.parametrize("more", [{"stream": True}, {"max_tokens": 300}], ids=["stream", "long"])
async def test_what_streams_or_is_long_has_one_try(more: dict[str, Any]) -> None:
    async with a_gateway(FAST, FAST, model={"hedging": {"extra_ratio": 0.5}}) as it:
        await call(it, 48)
        before = asked(it)
        it.engine.inject("slow=5", count=2)
        await call(it, 2, **more)
        assert asked(it) == before + 2


async def test_when_everything_is_slow_there_is_little_extra_load() -> None:
    async with a_gateway(FAST, FAST, model={"hedging": {}}) as it:
        await call(it, 48)
        before = asked(it)
        for engine in it.engines:
            engine.inject("slow=6")
        await call(it, 40)
        # a twentieth of the 88 calls of these ten seconds
        assert asked(it) <= before + 40 + 4
