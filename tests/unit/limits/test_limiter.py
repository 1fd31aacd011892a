from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.config.access import Rates
from gateway.errors import ClientGone, EngineFault, LimitTooSmall, RateLimited
from gateway.limits import limiter as module
from gateway.limits.estimate import Estimate
from gateway.limits.limiter import Limiter, Reservation, headers_for
from gateway.limits.memory_store import MemoryStore
from gateway.limits.store import Usage
from gateway.telemetry.metrics import Metrics
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.usage import Usage as Tokens
from tests.support.counted import counted
from tests.support.fake_clock import FakeClock
from tests.support.limit_stores import buckets


def rates(**given: Any) -> Rates:
    return Rates.model_validate(given)


@dataclass(frozen=True, eq=False)
class ACaller:
    name: str = "team"
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True, eq=False)
class AVariant:
    name: str = "m:fp8"
    model: str = "m"
    limits: Rates = field(default_factory=Rates)
    model_limits: Rates = field(default_factory=Rates)


COUNTED = ACaller(rates=rates(tokens_per_minute=10**9))


def an_ask(max_tokens: int = 50) -> Ask:
    """Of a prompt that is estimated at 100 tokens."""
    body = b'{"model":"m","prompt":"%b","max_tokens":%d}' % (b"x" * 398, max_tokens)
    return read_ask(body, Operation.COMPLETION)


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.metrics = Metrics()
        self.limiter = Limiter(self.store, self.metrics, self.clock)

    async def reserve(
        self, caller: ACaller, variant: AVariant | None = None, **more: Any
    ) -> Reservation:
        return await self.limiter.reserve(caller, variant or AVariant(), an_ask(), **more)

    def lacks(self) -> dict[str, float]:
        """How much of each touched bucket is taken, in seconds of filling up."""
        now_us = self.clock.now_s() * 1e6
        rate = {
            key: round(at - now_us) / 1e6
            for key, at in self.store._full_at_us.items()
            if at > now_us
        }
        return rate | self.store._slots


async def test_nothing_limits_a_caller_without_limits() -> None:
    bench = Bench()
    got = await bench.reserve(ACaller())
    assert got.hold is None
    assert got.headers == ()
    got.settle(Tokens(5, 2), 0, None, 1)
    assert bench.lacks() == {}


async def test_a_request_a_slot_and_the_tokens_are_reserved() -> None:
    bench = Bench()
    caller = ACaller(
        rates=rates(requests_per_minute=60, tokens_per_minute=6000, concurrent_requests=2)
    )
    got = await bench.reserve(caller)
    assert got.estimate == Estimate(100, 50, 400)
    assert bench.lacks() == {
        "key/team/requests_per_minute": 1,
        "key/team/tokens_per_minute": 1.5,
        "key/team/concurrent_requests": 1,
    }
    assert dict(got.headers) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"6000",
        b"x-ratelimit-remaining-tokens": b"5850",
        b"x-ratelimit-reset-tokens": b"1.5s",
    }
    got.settle(Tokens(90, 30), 0, None, 1)
    got.settle(Tokens(90, 30), 0, None, 1)
    assert bench.lacks() == {
        "key/team/requests_per_minute": 1,
        "key/team/tokens_per_minute": 1.2,
    }


async def test_a_failure_gives_everything_back() -> None:
    bench = Bench()
    caller = ACaller(rates=rates(requests_per_minute=60, tokens_per_minute=6000))
    (await bench.reserve(caller)).settle(None, 0, EngineFault("x"), 2)
    assert bench.lacks() == {}


async def test_a_client_that_leaves_pays_for_what_it_got() -> None:
    bench = Bench()
    caller = ACaller(rates=rates(tokens_per_minute=6000))
    (await bench.reserve(caller)).settle(None, 20, ClientGone("x"), 1)
    assert bench.lacks() == {"key/team/tokens_per_minute": 1.2}


async def test_a_refusal_tells_the_limit_the_wait_and_what_is_left() -> None:
    bench = Bench()
    caller = ACaller(rates=rates(tokens_per_minute=200, requests_per_day=5))
    await bench.reserve(caller)
    with pytest.raises(RateLimited, match=r"tokens per minute: limit 200, used 150") as refused:
        await bench.reserve(caller)
    assert refused.value.retry_after_s == pytest.approx(30)
    assert refused.value.is_for_key
    headers = dict(refused.value.headers)
    assert headers[b"x-ratelimit-remaining-tokens"] == b"50"
    assert headers[b"x-ratelimit-remaining-requests"] == b"4"
    assert counted(bench.metrics, "gateway_limit_refusals", "limit") == {"tokens_per_minute": 1}
    assert counted(bench.metrics, "gateway_limit_refusals", "scope") == {"key": 1}


async def test_what_can_never_fit_is_refused_for_good() -> None:
    bench = Bench()
    caller = ACaller(rates=rates(tokens_per_minute=149))
    with pytest.raises(LimitTooSmall, match="requested 150"):
        await bench.reserve(caller)
    assert bench.lacks() == {}
    fits = ACaller(rates=rates(tokens_per_minute=150))
    await bench.reserve(fits)


async def test_a_model_and_a_variant_are_limited_for_everybody() -> None:
    bench = Bench()
    variant = AVariant(
        limits=rates(requests_per_minute=2), model_limits=rates(tokens_per_minute=400)
    )
    await bench.reserve(ACaller("a"), variant)
    await bench.reserve(ACaller("b"), variant)
    assert set(bench.lacks()) == {"variant/m:fp8/requests_per_minute", "model/m/tokens_per_minute"}
    with pytest.raises(RateLimited, match='everybody who uses "m:fp8" on requests') as refused:
        await bench.reserve(ACaller("c"), variant)
    assert not refused.value.is_for_key


@pytest.mark.parametrize(
    ("calls_s", "wait_s"), [([], 0.5), ([4.0] * 60, 2), ([0.001] * 80, 0.05), ([99.0] * 99, 10)]
)
async def test_the_wait_for_a_slot_is_what_calls_usually_take(
    calls_s: list[float], wait_s: float
) -> None:
    bench = Bench()
    caller = ACaller(rates=rates(concurrent_requests=2))
    for call_s in calls_s:
        got = await bench.reserve(caller)
        bench.clock.pass_s(call_s)
        got.settle(Tokens(1, 1), 0, None, 1)
    for _ in range(2):
        await bench.reserve(caller)
    with pytest.raises(RateLimited, match="concurrent requests: limit 2, all in use") as refused:
        await bench.reserve(caller)
    assert refused.value.retry_after_s == pytest.approx(wait_s, rel=0.02)


async def test_another_variant_takes_the_place_of_the_first() -> None:
    bench = Bench()
    caller = ACaller(rates=rates(requests_per_minute=60))
    first = AVariant("m:a", limits=rates(requests_per_minute=60))
    second = AVariant("m:b", limits=rates(requests_per_minute=60))
    got = await bench.reserve(caller, first)
    again = await bench.reserve(caller, second, instead_of=got)
    assert set(bench.lacks()) == {
        "key/team/requests_per_minute",
        "variant/m:b/requests_per_minute",
    }
    assert bench.lacks()["key/team/requests_per_minute"] == 1
    unlimited = await bench.reserve(ACaller("x"), AVariant("m:c"), instead_of=again)
    await bench.reserve(ACaller("x"), AVariant("m:d"), instead_of=unlimited)
    assert bench.lacks() == {}


async def test_a_variant_without_limits_of_its_own_needs_no_new_reservation() -> None:
    bench = Bench()
    plain, other = AVariant("m:a"), AVariant("m:b")
    limited = AVariant("m:c", limits=rates(requests_per_day=1))
    of_model = AVariant("n", "n", model_limits=rates(requests_per_day=1))
    got = await bench.reserve(ACaller(), plain)
    assert got.covers(plain)
    assert got.covers(other)
    assert not got.covers(limited)
    assert not got.covers(of_model)
    assert not (await bench.reserve(ACaller(), limited)).covers(plain)


async def test_estimates_learn_from_usage() -> None:
    bench = Bench()

    async def estimated(variant: AVariant) -> int:
        estimate = (await bench.reserve(COUNTED, variant)).estimate
        assert estimate is not None
        return estimate.prompt_tokens

    variant = AVariant()
    for _ in range(300):
        (await bench.reserve(COUNTED, variant)).settle(Tokens(200, 25), 0, None, 1)
    assert await estimated(variant) == pytest.approx(200, abs=1)
    assert await estimated(AVariant("n", "n")) == 100
    cells = bench.metrics.estimates("m")
    assert sum(cells.prompt.counts) == 300
    assert cells.output.total == 300 * 2.0


async def test_nothing_is_learned_from_what_failed_or_was_not_counted() -> None:
    bench = Bench()
    (await bench.reserve(COUNTED)).settle(Tokens(200, 25), 0, EngineFault("x"), 1)
    (await bench.reserve(COUNTED)).settle(None, 25, None, 1)
    (await bench.reserve(COUNTED)).settle(Tokens(0, 0), 0, None, 1)
    (await bench.reserve(ACaller())).settle(Tokens(200, 25), 0, None, 1)
    cells = bench.metrics.estimates("m")
    assert sum(cells.prompt.counts) == sum(cells.output.counts) == 0


async def test_the_books_have_every_call() -> None:
    bench = Bench()
    caller = ACaller(rates=rates(tokens_per_day=10_000, requests_per_minute=4))
    (await bench.reserve(caller)).settle(Tokens(90, 30, 10), 0, None, 1)
    (await bench.reserve(caller)).settle(None, 5, ClientGone("x"), 1)
    (await bench.reserve(caller)).settle(None, 0, EngineFault("x"), 1)
    for _ in range(2):
        await bench.reserve(caller)
    with pytest.raises(RateLimited):
        await bench.reserve(caller)
    day = "2023-11-14"
    assert list(bench.store.books.entries()) == [Usage(day, "team", "m", 180, 35, 10, 4, 3)]
    bench.clock.pass_s(86400)
    (await bench.reserve(ACaller())).settle(Tokens(1, 1), 0, None, 1)
    assert [entry.day for entry in bench.store.books.entries()] == [day, "2023-11-15"]


async def test_a_caller_of_the_same_name_with_other_limits_is_seen() -> None:
    bench = Bench()
    variant = AVariant()
    await bench.reserve(ACaller(), variant)
    got = await bench.reserve(ACaller(rates=rates(requests_per_day=5)), variant)
    assert got.hold is not None
    assert bench.limiter.buckets_of(got.limits.caller)[0].limit == 5


async def test_what_is_known_of_callers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_KNOWN", 3)
    bench = Bench()
    for number in range(10):
        await bench.reserve(ACaller(f"k{number}"))
    assert len(bench.limiter._known) <= 3


def test_headers_show_the_tightest_limit_of_each_kind() -> None:
    some = buckets(
        requests_per_minute=60,
        requests_per_day=10,
        tokens_per_minute=600,
        tokens_per_hour=3600,
        concurrent_requests=2,
    )
    headers = dict(headers_for(some, [50e6, 8640e6, 0, 3500e6, 1]))
    assert headers[b"x-ratelimit-limit-requests"] == b"10"
    assert headers[b"x-ratelimit-remaining-requests"] == b"9"
    assert headers[b"x-ratelimit-limit-tokens"] == b"3600"
    assert headers[b"x-ratelimit-remaining-tokens"] == b"100"
    assert headers_for(some[-1:], [1]) == ()
    headers = dict(headers_for(some, [55e6, 8640e6, 59e6, 0, 1]))
    assert headers[b"x-ratelimit-limit-requests"] == b"60"
    assert headers[b"x-ratelimit-limit-tokens"] == b"600"
