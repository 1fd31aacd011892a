"""Whole gateways with limits in Redis: whatever fails, callers are answered and pay what they used.

Prompts are tokens, so what is held and charged is known to the token; what callers used is added
up from the answers, or from the request log where nobody was there to read an answer.
"""

import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from gateway.limits.redis_store import RedisStore
from gateway.limits.store import StoreState
from tests.support.limit_load import (
    PATIENCE_S,
    PREFIX,
    SLOTS,
    Opened,
    a_rate,
    a_slots,
    slots_in,
    units_in,
)
from tests.support.redis_servers import RedisServer, a_redis
from tests.support.running import Running, a_gateway, until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(60)]

PATH = "/v1/completions"
PROMPT = [11, 12, 13, 14, 15, 16, 17]
TOKENS, REQUESTS, CONCURRENT = a_rate(), a_rate("requests_per_day"), a_slots()
BURST = {"tokens_per_day": TOKENS.burst, "requests_per_day": REQUESTS.burst}
PLANS = (
    {
        "name": "default",
        "tokens_per_day": TOKENS.limit,
        "requests_per_day": REQUESTS.limit,
        "concurrent_requests": SLOTS,
        "burst": {"tokens_per_day": TOKENS.burst, "requests_per_day": REQUESTS.burst},
    },
)
KEYS = ({"name": "team", "secret": {"value": "sk-team"}},)
LOGIN = {"authorization": "Bearer sk-team"}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": PROMPT, "max_tokens": 6} | more


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


@dataclass(slots=True)
class Limited:
    """A gateway with limits, and what its callers have used."""

    it: Running
    opened: Opened
    used: int = 0
    answered: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    is_over: bool = False
    began_s: float = field(default_factory=time.monotonic)

    async def call(self, http: httpx.AsyncClient) -> None:
        """Call until it is over; every answer is whole and true."""
        while not self.is_over:
            asked_s = time.monotonic()
            answer = await http.post(self.it.url + PATH, json=body(), headers=LOGIN)
            self.longest_s = max(self.longest_s, time.monotonic() - asked_s)
            told = answer.json()
            if answer.status_code == 200:
                self.codes["200"] += 1
                self.answered += 1
                self.used += told["usage"]["total_tokens"]
                assert int(answer.headers["x-ratelimit-limit-tokens"]) == TOKENS.limit
            else:
                self.codes[told["error"]["code"]] += 1
                assert float(answer.headers["retry-after"]) > 0
            await anyio.sleep(0.01)

    async def goes_on(self, code: str, count: int = 15) -> None:
        wanted = self.codes[code] + count
        await until(lambda: self.codes[code] >= wanted, within_s=10)

    async def metric(self, name: str) -> float:
        async with httpx.AsyncClient(timeout=10) as http:
            text = (await http.get(self.it.url + "/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        )

    def assert_sums(self, client: redis.Redis) -> None:
        for bucket, used in ((TOKENS, self.used), (REQUESTS, self.answered)):
            returned = (time.monotonic() - self.began_s) * 1e6 / bucket.interval_us
            found = units_in(client, bucket)
            assert used - returned - 0.3 <= found <= used + 0.3, bucket.rule
        assert slots_in(client, CONCURRENT) == 0


@asynccontextmanager
async def limited(
    server: RedisServer, plans: Sequence[dict[str, Any]] = PLANS, **limits: Any
) -> AsyncIterator[Limited]:
    store = {"store": "redis", "redis_url": {"value": server.url}, "store_timeout_s": 0.2}
    async with a_gateway(limits=store | limits, plans=plans, keys=KEYS) as it:
        found = it.gateway.limiter.store
        assert isinstance(found, RedisStore)
        yield Limited(it, Opened(found, found._metrics))


@asynccontextmanager
async def callers(limits: Limited, count: int = 5) -> AsyncIterator[None]:
    """So many callers; when it is left they have ended and Redis knows all of it."""
    async with httpx.AsyncClient(timeout=10) as http, anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(limits.call, http)
        await limits.goes_on("200")
        yield
        await limits.goes_on("200")
        limits.is_over = True
    await limits.it.settled(within_s=5)
    await limits.opened.is_done()


@pytest.mark.parametrize("policy", ["local", "allow", "deny"])
@pytest.mark.parametrize("fault", ["killed", "paused"])
async def test_redis_goes_and_comes_back(
    server: RedisServer, client: redis.Redis, fault: str, policy: str
) -> None:
    async with limited(server, on_store_failure=policy) as limits:
        async with callers(limits):
            (server.kill if fault == "killed" else server.pause)()
            await limits.opened.is_in(StoreState(policy))
            await limits.goes_on("limits_unavailable" if policy == "deny" else "200")
            assert await limits.metric("gateway_limit_store_away") == 1
            (server.start if fault == "killed" else server.go_on)()
            await limits.opened.is_in(StoreState.OK)
        limits.assert_sums(client)
        assert limits.longest_s < PATIENCE_S
        allowed = {"200", "limits_unavailable"} if policy == "deny" else {"200"}
        assert set(limits.codes) <= allowed
        assert await limits.metric("gateway_limit_store_away") == 0
        assert await limits.metric("gateway_limit_store_failures_total") > 0
        assert await limits.metric("gateway_limit_settlements_pending") == 0
        if fault == "paused":  # what is killed has lost its books
            day = limits.it.gateway.limiter._day
            booked = client.hget(f"{PREFIX}books/{day}", "team\tm\trequests")
            assert booked == str(limits.codes["200"])


@pytest.mark.parametrize(("policy", "codes"), [("local", [200, 429, 429]), ("allow", [200] * 3)])
async def test_limits_hold_or_are_lifted_while_redis_is_away(
    server: RedisServer, client: redis.Redis, policy: str, codes: list[int]
) -> None:
    small = {"name": "default", "tokens_per_day": 3000}
    async with limited(server, on_store_failure=policy, plans=[small]) as limits:
        server.kill()
        wanted = body(prompt=[7] * 2000, max_tokens=1)
        async with httpx.AsyncClient(timeout=10) as http:
            answers = [
                await http.post(limits.it.url + PATH, json=wanted, headers=LOGIN) for _ in range(3)
            ]
        server.start()
        await limits.opened.is_done()
        assert [answer.status_code for answer in answers] == codes
        used = sum(
            answer.json()["usage"]["total_tokens"] for answer in answers if answer.is_success
        )
        bucket = a_rate(limit=3000, burst=3000)
        assert units_in(client, bucket) == pytest.approx(min(used, 2 * 3000), abs=0.5)


def charged(line: dict[str, Any]) -> int:
    """What a call costs by its line in the request log: every token that was made for it."""
    if "prompt_tokens" in line:
        return int(line["prompt_tokens"] + line["completion_tokens"])
    made = int(line.get("completion_tokens", 0))
    if made or line["outcome"] == "ok" or (line["outcome"] == "client_gone" and line["attempts"]):
        return len(PROMPT) + made
    return 0


def assert_charged(limits: Limited, client: redis.Redis) -> None:
    lines = limits.it.log.requests
    limits.used = sum(map(charged, lines))
    limits.answered = sum(charged(line) > 0 for line in lines)
    limits.assert_sums(client)


async def leaves(limits: Limited, rng: random.Random) -> int:
    """A client that is gone after some bytes, or after some time. How many events it read."""
    request = json.dumps(body(stream=True, max_tokens=20)).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: {LOGIN['authorization']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(request)}\r\n\r\n"
    )
    most_bytes = rng.choice([0, 1, rng.randrange(2000), rng.randrange(6000), 1_000_000])
    read = b""
    async with await anyio.connect_tcp("127.0.0.1", limits.it.port) as stream:
        await stream.send(head.encode() + request)
        if not most_bytes:
            await anyio.sleep(rng.uniform(0, 0.02))
        while len(read) < most_bytes and b"[DONE]" not in read:
            read += await stream.receive(rng.randrange(1, 300))
        await anyio.aclose_forcefully(stream)
    return read.count(b'"text"')


async def test_clients_that_leave_at_any_moment_pay_what_was_made_for_them(
    server: RedisServer, client: redis.Redis
) -> None:
    rng = random.Random(5)
    async with limited(server) as limits:
        read: list[int] = []

        async def leave_again_and_again() -> None:
            for _ in range(15):
                events = await leaves(limits, rng)
                read.append(events)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(leave_again_and_again)
        await until(lambda: len(limits.it.log.requests) == 60, within_s=10)
        await limits.it.settled(within_s=5)
        await limits.opened.is_done()
        assert_charged(limits, client)
    outcomes = Counter(line["outcome"] for line in limits.it.log.requests)
    assert outcomes["client_gone"] > 10
    assert outcomes["ok"] > 5
    made = sum(line.get("completion_tokens", 0) for line in limits.it.log.requests)
    assert sum(read) <= made


FAULTS = (
    "refuse",
    "reset-before-headers",
    "reset-after=1",
    "reset-after=5",
    "truncate-after=3",
    "abort-after=3",
    "error-event-after=2;code=500",
    "error-event-first",
    "cut-at-byte=700",
    "usage=missing",
    "usage=negative",
    "status=500",
    "no-done",
)


async def test_engines_that_die_at_any_moment_are_paid_for_what_they_made(
    server: RedisServer, client: redis.Redis
) -> None:
    rng = random.Random(5)
    async with limited(server) as limits:

        async def call_again_and_again() -> None:
            async with httpx.AsyncClient(timeout=10) as http:
                for _ in range(15):
                    wanted = body(stream=rng.random() < 0.7, max_tokens=10)
                    limits.it.engine.inject(rng.choice(FAULTS), count=1)
                    answer = await http.post(limits.it.url + PATH, json=wanted, headers=LOGIN)
                    assert answer.content

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(call_again_and_again)
        await limits.it.settled(within_s=5)
        await limits.opened.is_done()
        assert len(limits.it.log.requests) == 60
        assert_charged(limits, client)
    outcomes = Counter(line["outcome"] for line in limits.it.log.requests)
    assert outcomes["engine_error"] > 5
    assert outcomes["ok"] > 5
