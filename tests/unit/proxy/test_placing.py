import json
import random
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.engines import ENGINES
from gateway.engines.adapter import Load
from gateway.errors import (
    EngineOverloaded,
    EngineUnreachable,
    InvalidRequest,
    ModelWaking,
    NoReplica,
    Overloaded,
    RateLimited,
)
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.limits.limiter import Limiter
from gateway.limits.memory_store import MemoryStore
from gateway.proxy.account import Bookkeeper
from gateway.proxy.call import Call
from gateway.proxy.dialect import OpenAiDialect
from gateway.proxy.placing import Placing, Search
from gateway.routing import POLICIES
from gateway.routing.asking import Asking
from gateway.routing.resolve import resolve
from gateway.telemetry.logs import RequestLog
from gateway.telemetry.metrics import Metrics
from gateway.wire.ask import Operation, read_ask
from gateway.wire.prefix import NO_PREFIX
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.fake_client import FakeClient
from tests.support.fake_clock import FakeClock
from tests.support.queues import a_caller
from tests.support.running import until

LONG = [{"role": "user", "content": "a long story " * 500}]


class Bench:
    """Places on two replicas of one variant, unless there are other `variants`."""

    def __init__(self, *variants: dict[str, Any], concurrency: int = 1, **model: Any) -> None:
        self.clock = FakeClock()
        two = a_variant("fp8", "http://a.test:80", "http://b.test:80", concurrency=concurrency)
        self.fleet = FleetState(a_catalog(a_model("m", variants=list(variants) or [two], **model)))
        metrics = Metrics()
        self.books = Bookkeeper(metrics, RequestLog(self), self.clock, self.fleet)
        self.placing = Placing(
            fleet=self.fleet,
            engines=ENGINES,
            policies={name: new() for name, new in POLICIES.items()},
            books=self.books,
            limiter=Limiter(MemoryStore(self.clock), metrics, self.clock),
            clock=self.clock,
            rng=random.Random(0),
            heartbeat_s=15.0,
        )
        self.states = list(self.fleet)

    def write(self, line: bytearray, /) -> None:
        """Nobody reads the log."""

    def search(self, *tried: ReplicaState, **fields: Any) -> Search:
        operation = fields.pop("operation", Operation.CHAT)
        body = json.dumps({"model": "m", "messages": [], **fields}).encode()
        call = Call(operation, OpenAiDialect(), body, "id-1", self.clock.now_s())
        ask = read_ask(body, operation)
        asking = Asking(a_caller().plan, random.Random(0))
        resolved = resolve(self.fleet.catalog, "m", asking)
        route = resolved.route
        search = Search(call, ask, a_caller(), resolved, self.books.open(call), FakeClient())
        search.account.prefix = self.placing.prefix(call, ask, route)
        search.tried += tried
        return search


async def test_a_place_is_a_lease_on_a_replica_that_was_not_tried() -> None:
    bench = Bench()
    first, other = bench.states
    lease = await bench.placing.place(bench.search(first))
    assert lease.state is other
    assert (first.in_flight, other.in_flight) == (0, 1)


async def test_when_all_were_tried_there_is_none() -> None:
    bench = Bench()
    search = bench.search(*bench.states)
    assert not bench.placing.is_any_left(search)
    with pytest.raises(NoReplica):
        await bench.placing.place(search)


async def test_one_with_room_comes_before_one_without() -> None:
    bench = Bench(policy="round-robin")
    first, other = bench.states
    held = Lease(first)
    other.turns = 5.0  # it would not be its turn
    assert (await bench.placing.place(bench.search())).state is other
    held.release()


async def test_where_all_are_busy_a_call_waits_and_it_is_known_for_how_long() -> None:
    bench = Bench()
    held = [Lease(state) for state in bench.states]
    search = bench.search()
    async with anyio.create_task_group() as tasks:
        places: list[Lease] = []

        async def place() -> None:
            places.append(await bench.placing.place(search))

        tasks.start_soon(place)
        while not bench.placing.queues.waiting("m:fp8"):
            await anyio.lowlevel.checkpoint()
        bench.clock.pass_s(2.0)
        held[1].release()
    assert [lease.state for lease in places] == [bench.states[1]]
    assert search.account.queued_s == search.account.story.queue_s == 2.0
    assert search.account.ticket is not None


async def test_when_nothing_can_be_had_there_any_more_it_looks_elsewhere() -> None:
    narrow = a_variant("a", "http://a.test:80", concurrency=1)
    bench = Bench(narrow, a_variant("b", "http://b.test:80"))
    Lease(bench.states[0])
    search = bench.search()
    search.account.attempts = 1
    places: list[Lease] = []

    async def place() -> None:
        places.append(await bench.placing.place(search))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place)
        while not bench.placing.queues.waiting("m:a"):
            await anyio.lowlevel.checkpoint()
        bench.states[0].is_usable = False
        bench.placing.queues.look()
    assert [lease.state.variant.name for lease in places] == ["m:b"]
    assert search.account.story.queue_s == 0.0, "told of the first try only"


async def test_where_it_must_not_wait_it_goes_to_the_next_variant() -> None:
    narrow = a_variant("a", "http://a.test:80", concurrency=1)
    bench = Bench(narrow, a_variant("b", "http://b.test:80"), queue={"max_waiting": 0})
    Lease(bench.states[0])
    search = bench.search()
    assert (await bench.placing.place(search)).state.variant.name == "m:b"
    assert [variant.name for variant in search.passed] == ["m:a"]


async def test_where_it_must_not_wait_anywhere_it_is_refused() -> None:
    bench = Bench(queue={"max_waiting": 0})
    for state in bench.states:
        Lease(state)
    with pytest.raises(Overloaded):
        await bench.placing.place(bench.search())


async def test_a_variant_whose_limits_are_reached_is_passed_over() -> None:
    used_up = a_variant("a", "http://a.test:80", limits={"requests_per_day": 1})
    bench = Bench(used_up, a_variant("b", "http://b.test:80", limits={"requests_per_day": 1}))
    places = [await bench.placing.place(bench.search()) for _ in range(2)]
    assert [lease.state.variant.name for lease in places] == ["m:a", "m:b"]
    with pytest.raises(RateLimited):
        await bench.placing.place(bench.search())


async def test_what_no_variant_can_do_is_told() -> None:
    bench = Bench(a_variant("a", "http://a.test:80") | {"engine": "tgi"})
    with pytest.raises(InvalidRequest, match="embeddings"):
        await bench.placing.place(bench.search(operation=Operation.EMBEDDINGS, input="hi"))


async def test_one_that_rests_comes_last_and_not_again_if_it_said_for_how_long() -> None:
    bench = Bench(concurrency=9)
    first, other = bench.states
    bench.placing.failed(first, EngineOverloaded("busy", retry_after_s=3.0))
    assert [(await bench.placing.place(bench.search())).state for _ in range(3)] == [other] * 3
    assert not bench.placing.is_any_left(bench.search(other))
    bench.clock.pass_s(3.0)
    assert bench.placing.is_any_left(bench.search(other))


async def test_a_second_try_beside_the_first_needs_a_replica_with_room() -> None:
    bench = Bench()
    first, other = bench.states
    search = bench.search()
    busy = Lease(other)
    assert bench.placing.beside(first, search) is None
    busy.release()
    assert bench.placing.beside(first, search) is other
    assert search.tried == [other]
    assert bench.placing.beside(first, search) is None


async def test_a_prompt_is_read_only_where_a_policy_wants_to_know() -> None:
    assert Bench().search(messages=LONG).account.prefix is NO_PREFIX
    bench = Bench(policy="prefix-affinity", concurrency=9)
    search = bench.search(messages=LONG)
    blocks = search.account.prefix.blocks
    assert len(blocks) > 1
    lease = await bench.placing.place(search)
    assert lease.state.prefilling == len(blocks)
    again = await bench.placing.place(bench.search(messages=LONG))
    assert again.state is lease.state


def a_bench_of_two(*, wake: dict[str, Any] | None = None, **limits: Any) -> Bench:
    """The first variant may wake and is away; the second is there."""
    first = a_variant("a", "http://a.test:80", wake=wake or {}, limits=limits)
    bench = Bench(first, a_variant("b", "http://b.test:80"))
    bench.fleet.gone(bench.states[0])
    return bench


async def held(bench: Bench, search: Search, places: list[Lease]) -> None:
    places.append(await bench.placing.place(search))


async def test_who_is_there_gets_the_call_and_who_is_away_is_wanted() -> None:
    bench = a_bench_of_two()
    lease = await bench.placing.place(bench.search())
    assert lease.state.variant.name == "m:b"
    assert bench.placing.wanted.demand("m:a", 0, bench.clock.now_s()) == 1
    assert bench.placing.wanted.demand("m:b", 0, bench.clock.now_s()) == 0


async def test_one_that_may_come_back_is_waited_for_before_one_that_is_broken_is_asked() -> None:
    bench = a_bench_of_two()
    away, broken = bench.states
    for _ in range(2):
        bench.fleet.probed(broken, Condition.UNHEALTHY, Load(), 0.0)
    search = bench.search(away)  # it was tried, and was gone
    assert bench.placing.is_any_left(search)
    places: list[Lease] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(held, bench, search, places)
        while not bench.placing.queues.waiting("m:a"):
            await anyio.lowlevel.checkpoint()
        bench.clock.pass_s(40.0)
        bench.fleet.probed(away, Condition.READY, Load(), bench.clock.now_s())
    assert [lease.state for lease in places] == [away]
    assert search.tried == []
    assert (search.account.held_s, search.account.queued_s) == (40.0, 40.0)


async def test_a_call_that_may_not_wait_for_them_tries_what_there_is() -> None:
    bench = a_bench_of_two(wake={"max_wait_s": 0.01})
    broken = bench.states[1]
    for _ in range(2):
        bench.fleet.probed(broken, Condition.UNHEALTHY, Load(), 0.0)
    search = bench.search()
    assert (await bench.placing.place(search)).state is broken
    assert [variant.name for variant in search.passed] == ["m:a"]


async def test_where_there_is_nothing_else_it_is_told_that_they_are_being_started() -> None:
    bench = Bench(a_variant("a", "http://a.test:80", wake={"max_wait_s": 0.01}))
    bench.fleet.gone(bench.states[0])
    with pytest.raises(ModelWaking):
        await bench.placing.place(bench.search())


async def test_a_held_call_is_charged_and_limits_are_told_at_once() -> None:
    bench = a_bench_of_two(requests_per_day=1)
    there = bench.states[1]
    for _ in range(2):
        bench.fleet.probed(there, Condition.UNHEALTHY, Load(), 0.0)
    places: list[Lease] = []
    async with anyio.create_task_group() as tasks:
        first = bench.search(stream=True)
        tasks.start_soon(held, bench, first, places)
        while not bench.placing.queues.waiting("m:a"):
            await anyio.lowlevel.checkpoint()
        assert first.account.reservation is not None
        # the variant's limit is reached: the next call may go to the other, broken or not
        assert (await bench.placing.place(bench.search())).state is there
        bench.fleet.probed(bench.states[0], Condition.READY, Load(), 0.0)
    assert [lease.state.variant.name for lease in places] == ["m:a"]


async def test_a_limit_of_the_only_variant_is_told() -> None:
    bench = Bench(a_variant("a", "http://a.test:80", wake={}, limits={"requests_per_day": 1}))
    Lease(bench.states[0])
    await bench.placing._limiter.reserve(
        a_caller(), bench.states[0].variant, bench.search().ask, None
    )
    bench.fleet.gone(bench.states[0])
    with pytest.raises(RateLimited):
        await bench.placing.place(bench.search())


async def test_a_try_that_found_nobody_says_that_the_engine_is_away() -> None:
    bench = Bench(a_variant("a", "http://a.test:80", wake={}), a_variant("b", "http://b.test:80"))
    for state in bench.states:
        bench.placing.failed(state, EngineUnreachable("gone"))
    assert [state.condition for state in bench.states] == [Condition.AWAY, Condition.UNKNOWN]


async def test_an_operation_that_it_cannot_do_is_not_waited_for() -> None:
    tgi = a_variant("a", "http://a.test:80", wake={}) | {"engine": "tgi"}
    bench = Bench(tgi, a_variant("b", "http://b.test:80"))
    away, broken = bench.states
    bench.fleet.gone(away)
    for _ in range(2):
        bench.fleet.probed(broken, Condition.UNHEALTHY, Load(), 0.0)
    search = bench.search(operation=Operation.EMBEDDINGS, input="hi")
    assert (await bench.placing.place(search)).state is broken


async def test_who_has_waited_too_long_for_the_first_token_goes_on_to_the_next() -> None:
    variants = [a_variant(tag, f"http://{tag}.test:80", concurrency=1) for tag in ("a", "b", "c")]
    bench = Bench(*variants, choose={"by": "spill", "ttft_s": 0.05})
    held = [Lease(state) for state in bench.states]
    search = bench.search()
    places: list[Lease] = []

    async def place() -> None:
        places.append(await bench.placing.place(search))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place)
        await until(lambda: bool(bench.placing.queues.waiting("m:c")), within_s=10)
        assert [variant.tag for variant in search.route] == ["c", "a", "b"]
        assert not bench.placing.queues.waiting("m:a")
        held[2].release()
    assert [lease.state.variant.name for lease in places] == ["m:c"]


async def test_where_no_other_can_answer_it_waits_on() -> None:
    variants = [a_variant(tag, f"http://{tag}.test:80", concurrency=1) for tag in ("a", "b")]
    bench = Bench(*variants, choose={"by": "spill", "ttft_s": 0.01})
    held = Lease(bench.states[0])
    bench.states[1].is_usable = False
    search = bench.search()
    places: list[Lease] = []

    async def place() -> None:
        places.append(await bench.placing.place(search))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place)
        await anyio.sleep(0.05)
        assert bench.placing.queues.waiting("m:a") == 1
        held.release()
    assert [lease.state.variant.name for lease in places] == ["m:a"]
