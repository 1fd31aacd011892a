import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.keys import Caller
from gateway.engines.adapter import Load
from gateway.errors import ModelWaking, Overloaded
from gateway.fleet.catalog import Catalog, Variant
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.resting import Resting
from gateway.fleet.state import FleetState
from gateway.queueing.queues import Place, keep_looking, max_waiting
from gateway.queueing.refusals import Refused
from gateway.queueing.ticket import Ticket
from gateway.wire.prefix import NO_PREFIX, Prefix
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.fake_clock import FakeClock
from tests.support.queues import Refusals, a_caller, a_queues, an_ask


def catalog(
    *urls: str, concurrency: int = 1, policy: str = "least-loaded", **queue: Any
) -> Catalog:
    variant = a_variant("fp8", *urls or ("http://a", "http://b"), concurrency=concurrency)
    return a_catalog(a_model("m", variants=[variant], policy=policy, queue=queue))


class Bench:
    """Queues in front of replicas that have one place each."""

    def __init__(self, *urls: str, **fields: Any) -> None:
        self.clock = FakeClock()
        self.fleet = FleetState(catalog(*urls, **fields))
        self.states = list(self.fleet)
        self.refusals = Refusals()
        self.resting = Resting()
        self.queues = a_queues(self.fleet, self.clock, self.refusals, self.resting)
        self.places: list[tuple[str, Place]] = []
        self.refused: list[tuple[str, Overloaded]] = []
        self.ended = 0

    @property
    def variant(self) -> Variant:
        return self.fleet.catalog.models["m"].variants[0]

    def fill(self) -> list[Lease]:
        return [Lease(state) for state in self.states for _ in range(state.most)]

    async def wait(
        self,
        caller: Caller | str = "team",
        *,
        prefix: Prefix = NO_PREFIX,
        waited_s: float = 0.0,
        left_s: float = 900.0,
        tried: list[ReplicaState] | None = None,
        ticket: Ticket | None = None,
        patience_s: float | None = None,
        **fields: Any,
    ) -> None:
        who = a_caller(caller) if isinstance(caller, str) else caller
        try:
            place = await self.queues.wait(
                self.variant,
                who,
                an_ask(**fields),
                prefix,
                waited_s=waited_s,
                left_s=left_s,
                tried=tried or (),
                ticket=ticket,
                patience_s=patience_s,
            )
            self.places.append((who.name, place))
        except Overloaded as refused:
            self.refused.append((who.name, refused))
        finally:
            self.ended += 1

    @property
    def who(self) -> list[str]:
        return [name for name, _ in self.places]


async def turns(count: int = 4) -> None:
    """Let others go on."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def test_a_place_that_comes_free_is_given_at_once() -> None:
    bench = Bench()
    held = bench.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        assert bench.queues.waiting("m:fp8") == 1
        assert bench.queues.lengths() == [(bench.variant, 1)]
        held[1].release()
        assert bench.states[1].in_flight == 1  # within the same step
        assert bench.queues.waiting("m:fp8") == 0
    ((_, place),) = bench.places
    assert place.lease is not None
    assert place.lease.state is bench.states[1]
    assert place.ticket is not None
    assert all(state.on_free is None for state in bench.states)


async def test_a_waiting_call_is_routed_by_what_its_prompt_begins_with() -> None:
    bench = Bench(policy="prefix-affinity")
    prompt = Prefix(tuple(range(10)), own_key=99)
    knows = bench.states[1]
    Lease(knows, prompt).release()
    bench.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(bench.wait, prefix=Prefix((*prompt.blocks, 10, 11), own_key=99)))
        await turns()
        for state in bench.states:
            state.most = 2
        bench.queues.look()
    ((_, place),) = bench.places
    assert place.lease is not None
    assert place.lease.state is knows
    assert knows.prefilling == 2, "its lease counts what must be computed"


async def test_callers_take_turns() -> None:
    bench = Bench("http://a")
    (held,) = bench.fill()
    async with anyio.create_task_group() as tasks:
        for caller in ("greedy", "greedy", "greedy", "modest"):
            tasks.start_soon(bench.wait, caller)
            await turns()
        held.release()
        for _ in range(4):
            await turns()
            lease = bench.places[-1][1].lease
            assert lease is not None
            lease.release()
    assert bench.who == ["greedy", "modest", "greedy", "greedy"]


async def test_a_call_that_leaves_leaves_nothing_behind() -> None:
    bench = Bench()
    held = bench.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        tasks.cancel_scope.cancel()
    assert bench.queues.waiting("m:fp8") == 0
    for lease in held:
        lease.release()
    assert [state.in_flight for state in bench.states] == [0, 0]
    assert all(state.on_free is None for state in bench.states)


async def test_a_place_given_to_a_call_that_leaves_goes_to_the_next() -> None:
    bench = Bench("http://a")
    (held,) = bench.fill()
    async with anyio.create_task_group() as tasks:
        leaving = asyncio.ensure_future(bench.wait("leaving"))
        await turns()
        tasks.start_soon(bench.wait, "staying")
        await turns()
        held.release()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await turns()
        assert bench.who == ["staying"]
    assert bench.states[0].in_flight == 1
    assert bench.queues._queues["m:fp8"].line.tally("leaving", 1, "interactive").served == 0


async def test_a_cancelled_call_that_is_still_in_line_is_passed_over() -> None:
    bench = Bench("http://a")
    (held,) = bench.fill()
    async with anyio.create_task_group() as tasks:
        first = asyncio.ensure_future(bench.wait("leaving"))  # its cancel is at once
        await turns()
        tasks.start_soon(bench.wait, "staying")
        await turns()
        first.cancel()
        held.release()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert bench.who == ["staying"]
    assert bench.states[0].in_flight == 1


async def test_nobody_waits_longer_than_allowed() -> None:
    bench = Bench(max_wait_s=0.02)
    bench.fill()
    await bench.wait()
    ((_, refused),) = bench.refused
    assert refused.status == 503
    assert bench.refusals.told == [("m:fp8", "interactive", Refused.OVER)]
    assert bench.queues.waiting("m:fp8") == 0


async def test_what_a_call_has_waited_counts() -> None:
    bench = Bench(max_wait_s=5)
    bench.fill()
    await bench.wait(waited_s=5)
    assert bench.refusals.told == [("m:fp8", "interactive", Refused.LONG)]


async def test_the_line_has_a_bound() -> None:
    bench = Bench(max_waiting=2)
    held = bench.fill()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(bench.wait, "greedy")
            await turns()
        assert [why for _, _, why in bench.refusals.told] == [Refused.FULL]
        tasks.start_soon(bench.wait, "modest")
        await turns()
        assert [name for name, _ in bench.refused] == ["greedy", "greedy"]
        assert bench.refusals.told[-1][2] is Refused.DISPLACED
        for lease in held:
            lease.release()
    assert sorted(bench.who) == ["greedy", "modest"]


async def test_where_nobody_may_wait_nobody_does() -> None:
    bench = Bench(max_waiting=0)
    bench.fill()
    await bench.wait()
    assert bench.refusals.told == [("m:fp8", "interactive", Refused.FULL)]


async def paced(bench: Bench, places: int, every_s: float) -> None:
    """So many calls that wait one after the other, each for so long."""
    for _ in range(places):
        held = bench.fill()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.wait, "before")
            await turns()
            bench.clock.pass_s(every_s)
            held[0].release()
        for lease in held:
            lease.release()
        _, place = bench.places[-1]
        assert place.lease is not None
        place.lease.state.answered(2.0)
        place.lease.release()


async def test_a_wait_that_would_be_too_long_is_refused_at_once() -> None:
    bench = Bench("http://a", max_wait_s=5)
    await paced(bench, 10, 1.0)
    held = bench.fill()
    async with anyio.create_task_group() as tasks:
        for _ in range(7):
            tasks.start_soon(bench.wait)
            await turns()
        assert bench.queues.waiting("m:fp8") == 5
        assert [why for _, _, why in bench.refusals.told] == [Refused.LONG] * 2
        # the five that wait, and one more, at one a second
        assert bench.refused[0][1].retry_after_s == pytest.approx(6, rel=0.1)
        tasks.start_soon(bench.wait, "modest")  # its turn comes earlier
        await turns()
        assert bench.queues.waiting("m:fp8") == 6
        tasks.cancel_scope.cancel()
    held[0].release()


async def test_a_call_that_could_not_be_answered_before_its_deadline_is_refused() -> None:
    bench = Bench("http://a")
    await paced(bench, 10, 1.0)
    bench.fill()
    await bench.wait(left_s=2.5)  # a second of waiting, two of work
    assert [why for _, _, why in bench.refusals.told] == [Refused.LONG]


async def test_a_place_that_would_come_too_late_is_not_taken() -> None:
    bench = Bench("http://a")
    (held,) = bench.fill()
    bench.states[0].answered(1.0)

    async def hasty() -> None:
        await bench.wait(left_s=1.02)

    bench.queues._of(bench.variant).flow._places = 3.0  # at once, as far as is known
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hasty)
    assert [why for _, _, why in bench.refusals.told] == [Refused.OVER]
    held.release()


async def test_a_retry_goes_first_and_elsewhere_and_is_not_charged_twice() -> None:
    bench = Bench()
    one, two = bench.fill()
    tally = bench.queues._of(bench.variant).line.tally("again", 1, "interactive")
    ticket = Ticket(tally, 100, 1, 0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait, "other")
        await turns()

        async def retry() -> None:
            await bench.wait("again", tried=[bench.states[0]], ticket=ticket)

        tasks.start_soon(retry)
        await turns()
        one.release()
        await turns()
        assert bench.who == ["other"]
        two.release()
    assert bench.who == ["other", "again"]
    place = bench.places[1][1]
    assert place.lease is not None
    assert place.lease.state is bench.states[1]
    assert place.ticket is ticket
    assert tally.served == 0


async def test_what_was_charged_elsewhere_is_given_back() -> None:
    bench = Bench("http://a")
    (held,) = bench.fill()
    other = a_queues(bench.fleet)._of(bench.variant)
    tally = other.line.tally("team", 1, "interactive")
    tally.charge(100)
    ticket = Ticket(tally, 100, 1, 0.0)
    bench.queues = a_queues(bench.fleet, bench.clock)

    async def retry() -> None:
        await bench.wait(waited_s=1, ticket=ticket)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(retry)
        await turns()
        held.release()
    assert tally.served == 0
    assert bench.places[0][1].ticket is not ticket


async def test_a_prediction_is_bounded_by_what_the_client_allows() -> None:
    bench = Bench("http://a")
    (held,) = bench.fill()

    async def short() -> None:
        await bench.wait(max_tokens=5, n=2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(short)
        await turns()
        held.release()
    ticket = bench.places[0][1].ticket
    assert ticket is not None
    assert ticket.held == pytest.approx(ticket.prompt_tokens + 20)


def healthy(bench: Bench, *, state: ReplicaState, is_well: bool) -> None:
    seen = Condition.READY if is_well else Condition.LOADING
    bench.fleet.probed(state, seen, Load(), bench.clock.now_s())


@pytest.mark.parametrize(
    "wake",
    [
        lambda bench: healthy(bench, state=bench.states[1], is_well=True),
        lambda bench: bench.fleet.apply(catalog("http://a", "http://b", "http://c")),
        lambda bench: bench.fleet.apply(catalog("http://a", "http://b", concurrency=2)),
    ],
    ids=["a replica is well again", "a new replica", "a higher target"],
)
async def test_a_replica_that_may_have_more_wakes_a_waiting_call(
    wake: Callable[[Bench], None],
) -> None:
    bench = Bench()
    healthy(bench, state=bench.states[1], is_well=False)
    held = Lease(bench.states[0])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        assert not bench.places
        wake(bench)
    assert bench.places[0][1].lease is not None
    held.release()


async def test_a_target_that_has_grown_wakes_a_waiting_call() -> None:
    bench = Bench()
    variant = a_variant("fp8", "http://a")
    bench.fleet.apply(a_catalog(a_model("m", variants=[variant])))
    (state,) = bench.fleet
    full = Load(running=1, waiting=9)
    for _ in range(2):
        bench.fleet.probed(state, Condition.READY, full, 0.0, ours=10)
    assert state.most == 2
    held = [Lease(state), Lease(state)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        bench.fleet.probed(state, Condition.READY, Load(running=2, waiting=0), 0.0)
    assert state.in_flight == state.most == 3
    for lease in held:
        lease.release()


async def test_the_end_of_a_rest_is_noticed() -> None:
    bench = Bench()
    one, two = bench.states
    held = Lease(one)
    bench.resting.until_s[two] = bench.clock.now_s() + 5
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        assert not bench.places
        bench.clock.pass_s(6)
        bench.queues.look()
    lease = bench.places[0][1].lease
    assert lease is not None
    assert lease.state is two
    held.release()


async def test_where_no_replica_is_left_calls_look_elsewhere() -> None:
    bench = Bench("http://a")
    bench.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        healthy(bench, state=bench.states[0], is_well=False)
        bench.queues.look()
    assert bench.places[0][1].lease is None
    assert bench.places[0][1].ticket is None


async def test_where_the_variant_is_gone_calls_look_elsewhere() -> None:
    bench = Bench("http://a")
    bench.fill()
    variant = bench.variant
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        bench.fleet.apply(a_catalog(a_model("other")))
    assert bench.places[0][1].lease is None
    assert bench.queues.waiting(variant.name) == 0
    assert bench.queues.waiting("unheard of") == 0


async def test_looking_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.queueing.queues.LOOK_EVERY_S", 0.001)
    bench = Bench()
    one, two = bench.states
    held = Lease(one)
    bench.resting.until_s[two] = bench.clock.now_s() + 5
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_looking, bench.queues)
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(bench.wait)
            await turns()
            bench.clock.pass_s(6)
        tasks.cancel_scope.cancel()
    assert len(bench.places) == 1
    held.release()


class Story:
    """Anything that can happen, in any order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.bench = Bench(max_waiting=5)
        self.tasks: list[asyncio.Task[None]] = []

    def come(self) -> None:
        ranks: list[Literal["interactive", "batch"]] = ["interactive", "batch"]
        caller = a_caller(self.rng.choice("abc"), priority=self.rng.choice(ranks))
        self.tasks.append(asyncio.ensure_future(self.bench.wait(caller)))

    def end(self) -> None:
        if self.bench.places:
            _, place = self.rng.choice(self.bench.places)
            if place.lease is not None:
                place.lease.release()

    def leave(self) -> None:
        if self.tasks:
            self.rng.choice(self.tasks).cancel()

    def change_health(self) -> None:
        state = self.rng.choice(list(self.bench.fleet))
        healthy(self.bench, state=state, is_well=self.rng.random() < 0.7)

    def reload(self) -> None:
        size = self.rng.choice([1, 2, 3])
        self.bench.fleet.apply(catalog("http://a", "http://b", concurrency=size))

    def check(self) -> None:
        """Nobody waits for what is free."""
        verdicts = self.bench.queues._of(self.bench.variant).verdicts.values()
        if any(not verdict.done() for verdict in verdicts):
            assert all(s.in_flight >= s.most for s in self.bench.fleet if s.is_usable)

    async def tell(self, steps: int) -> None:
        events = [self.come, self.come, self.come, self.end, self.end, self.leave]
        events += [self.change_health, self.reload]
        for _ in range(steps):
            self.rng.choice(events)()
            if self.rng.random() < 0.8:
                await turns(self.rng.randrange(4))
            self.check()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.bench.queues.waiting("m:fp8") == 0
        for _, place in self.bench.places:
            if place.lease is not None:
                place.lease.release()
        assert [state.in_flight for state in self.bench.fleet] == [0, 0]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 80))
def test_no_place_is_free_while_a_call_waits_and_none_is_lost(seed: int, steps: int) -> None:
    asyncio.run(Story(seed).tell(steps))


def away(bench: Bench, condition: Condition = Condition.AWAY) -> None:
    for state in bench.states:
        bench.fleet.probed(state, condition, Load(), bench.clock.now_s())


def a_bench_that_wakes(**wake: Any) -> Bench:
    bench = Bench()
    variant = a_variant("fp8", "http://a", "http://b", concurrency=1, wake=wake)
    bench.fleet.apply(a_catalog(a_model("m", variants=[variant])))
    away(bench)
    return bench


async def test_calls_wait_for_engines_that_are_away_longer_than_for_busy_ones() -> None:
    bench = a_bench_that_wakes()
    async with anyio.create_task_group() as tasks:
        for caller in ("a", "b", "c"):
            tasks.start_soon(bench.wait, caller)
            await turns()
        bench.clock.pass_s(300)
        bench.queues.look()
        bench.fleet.apply(bench.fleet.catalog)
        assert (bench.queues.waiting("m:fp8"), bench.ended) == (3, 0)
        bench.fleet.probed(bench.states[1], Condition.READY, Load(), bench.clock.now_s())
        await turns()
        assert bench.who == ["a"]
        ((_, place),) = bench.places
        assert place.lease is not None
        place.lease.release()
        await turns()
        assert bench.who == ["a", "b"]
        # how long they were away says nothing of how fast places come free
        assert max_waiting(bench.fleet, bench.variant) == 1000
        for _ in range(2):
            lease = bench.places[-1][1].lease
            assert lease is not None
            lease.release()
            await turns()
    assert bench.who == ["a", "b", "c"]
    assert not bench.refused


async def test_no_replica_at_all_is_waited_for_as_well() -> None:
    bench = a_bench_that_wakes()
    served = bench.fleet._by_variant
    async with anyio.create_task_group() as tasks:
        whole = served["m:fp8"]
        served["m:fp8"] = ()  # as discovery may have it
        tasks.start_soon(bench.wait)
        await turns()
        bench.queues.look()
        await turns()
        assert bench.queues.waiting("m:fp8") == 1
        served["m:fp8"] = whole
        bench.fleet.probed(bench.states[0], Condition.READY, Load(), 0.0)
    assert bench.who == ["team"]


async def test_so_many_may_wait_for_engines_that_are_away_and_they_are_told_what_for() -> None:
    bench = a_bench_that_wakes(max_waiting=1)
    assert max_waiting(bench.fleet, bench.variant) == 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        await bench.wait()
        ((_, refused),) = bench.refused
        assert isinstance(refused, ModelWaking)
        assert [why for _, _, why in bench.refusals.told] == [Refused.FULL]
        tasks.cancel_scope.cancel()


async def test_a_call_without_time_left_does_not_wait_for_them() -> None:
    bench = a_bench_that_wakes(max_wait_s=60)
    await bench.wait(waited_s=60)
    await bench.wait(left_s=0)
    assert [type(refused) for _, refused in bench.refused] == [ModelWaking] * 2


async def test_what_is_not_served_any_more_is_not_waited_for() -> None:
    bench = a_bench_that_wakes()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        bench.fleet.apply(a_catalog(a_model("other")))
    ((_, place),) = bench.places
    assert place.lease is None


async def test_who_has_patience_for_so_long_only_looks_again_then() -> None:
    bench = Bench()
    bench.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(bench.wait, patience_s=0.01))
        await turns()
        assert bench.queues.waiting("m:fp8") == 1
    ((_, place),) = bench.places
    assert (place.lease, place.ticket) == (None, None)
    assert bench.queues.waiting("m:fp8") == 0
    assert not bench.refused


async def test_who_must_be_refused_before_its_patience_ends_is_refused() -> None:
    bench = Bench(max_wait_s=0.01)
    bench.fill()
    await bench.wait(patience_s=5.0)
    assert [name for name, _ in bench.refused] == ["team"]


async def test_how_long_a_call_would_wait_is_told_once_that_is_known() -> None:
    bench = Bench()
    assert bench.queues.expected_s("m:fp8") is None, "nobody has waited yet"
    bench.fill()
    for state in bench.states:
        state.usual_s = 4.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.wait)
        await turns()
        assert bench.queues.expected_s("m:fp8") == pytest.approx(2 * 4.0 / len(bench.states))
        tasks.cancel_scope.cancel()
