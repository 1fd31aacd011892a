"""Hedged calls through a whole exchange, whose engines answer when the test says so."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from gateway.errors import EngineFault
from gateway.proxy.hedge import Pace
from gateway.proxy.retry import RetryRules
from gateway.wire.http import Origin, UpstreamRequest
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.counted import counted
from tests.support.fake_client import FakeClient
from tests.support.fake_upstream import FakeResponse, FakeUpstream
from tests.unit.proxy.test_exchange import LIMITED, WHOLE, Bench, lacks, whole

AT_ONCE_S = 0.0
NEVER_S = 60.0


class SlowUpstream(FakeUpstream):
    """The n-th request waits for its own event before its scripted answer."""

    def __init__(self, *script: FakeResponse | Exception) -> None:
        super().__init__(*script)
        self.told = script
        self.gates = [anyio.Event() for _ in script]
        self.dropped: list[int] = []

    @override
    async def send(
        self,
        origin: Origin,
        request: UpstreamRequest,
        *,
        connect_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None = None,
    ) -> FakeResponse:
        number = len(self.sent)
        self.sent.append((origin, request))
        try:
            await self.gates[number].wait()
        except asyncio.CancelledError:
            self.dropped.append(number)
            raise
        told = self.told[number]
        if isinstance(told, Exception):
            raise told
        return told


class Race:
    """One call of a model with hedging that is late after `late_s`."""

    def __init__(self, *script: FakeResponse | Exception, late_s: float, **document: Any) -> None:
        self.bench = Bench()
        self.upstream = SlowUpstream(*script)
        self.bench.exchange._attempts._upstream = self.upstream
        self.bench.responses = [one for one in script if isinstance(one, FakeResponse)]
        variant = a_variant("fp8", "http://a.test:80", "http://b.test:80")
        model = a_model("m", variants=[variant], hedging={}, resume=False)
        self.bench.fleet.apply(a_catalog(model, **document))
        self.pace = Pace(self.bench.clock.now_s())
        self.bench.exchange._hedged._paces["m"] = self.pace
        for _ in range(32):
            self.pace.answered(late_s)
            self.pace.begin(self.bench.clock.now_s(), self.rules)

    @property
    def rules(self) -> Any:
        return self.bench.fleet.catalog.models["m"].variants[0].hedging

    async def run(self, *steps: Callable[[], None], **more: Any) -> dict[str, Any]:
        """The call's line in the log, after these things have happened one after the other."""
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                call = self.bench.call(fields={"max_tokens": 5} | more)
                tasks.start_soon(self.bench.exchange.run, call, self.bench.client)
                for step in steps:
                    for _ in range(12):
                        await anyio.lowlevel.checkpoint()
                    step()
        (line,) = self.bench.settled()
        return line

    def answers(self, number: int) -> Callable[[], None]:
        return self.upstream.gates[number].set

    def asked(self, times: int) -> Callable[[], None]:
        def check() -> None:
            assert len(self.upstream.sent) == times

        return check

    @property
    def tries(self) -> dict[str, float]:
        return counted(self.bench.metrics, "gateway_attempts", "outcome")

    @property
    def hedges(self) -> dict[str, float]:
        return counted(self.bench.metrics, "gateway_hedges", "outcome")


async def test_of_a_late_call_the_second_try_may_answer() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)
    line = await race.run(race.asked(2), race.answers(1))
    first, second = (origin.host for origin, _ in race.upstream.sent)
    assert first != second
    assert race.upstream.dropped == [0], "the loser is stopped"
    assert json.loads(race.bench.client.body)["choices"]
    assert (line["hedge"], line["attempts"], line["prompt_tokens"]) == ("won", 1, 5)
    assert (race.hedges, race.tries) == ({"won": 1}, {"outdone": 1, "ok": 1})


async def test_the_answer_is_told_for_the_replica_that_gave_it() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)
    line = await race.run(race.asked(2), race.answers(1))
    hosts = {"a.test": "r0", "b.test": "r1"}
    assert line["replica"] == hosts[race.upstream.sent[1][0].host]


async def test_of_a_late_call_the_first_try_may_still_answer() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)
    line = await race.run(race.asked(2), race.answers(0))
    assert race.upstream.dropped == [1]
    assert (line["hedge"], race.tries) == ("lost", {"outdone": 1, "ok": 1})


async def test_when_both_answer_at_once_one_is_told() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)

    def both() -> None:
        race.answers(1)()
        race.answers(0)()

    line = await race.run(race.asked(2), both)
    assert race.bench.client.body == WHOLE
    assert line["outcome"] == "ok"


async def test_a_call_in_time_has_one_try() -> None:
    race = Race(whole(), late_s=NEVER_S)
    line = await race.run(race.asked(1), race.answers(0))
    assert "hedge" not in line
    assert race.tries == {"ok": 1}


async def test_a_call_is_charged_once() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S, **LIMITED)
    await race.run(race.asked(2), race.answers(1))
    assert lacks(race.bench) == {
        "key/anonymous/requests_per_minute": 1,
        "key/anonymous/tokens_per_minute": pytest.approx(0.06),
    }


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_the_failure_of_one_is_hidden_by_the_other(order: tuple[int, int]) -> None:
    script: list[FakeResponse | Exception] = [whole(), whole()]
    script[order[0]] = EngineFault("broken")
    race = Race(*script, late_s=AT_ONCE_S)
    line = await race.run(race.asked(2), *map(race.answers, order))
    assert line["outcome"] == "ok"
    assert race.tries == {"engine_error": 1, "ok": 1}


async def test_when_both_fail_the_first_failure_is_told_and_nobody_is_asked_twice() -> None:
    race = Race(EngineFault("first"), EngineFault("second"), late_s=AT_ONCE_S)
    line = await race.run(race.asked(2), race.answers(1), race.answers(0))
    assert (line["error_cause"], line["hedge"]) == ("first", "failed")
    assert (race.hedges, race.tries) == ({"failed": 1}, {"engine_error": 2})


async def test_a_first_try_that_fails_in_time_is_repeated_as_ever() -> None:
    race = Race(EngineFault("broken"), whole(), late_s=NEVER_S)
    race.bench.exchange.retries = RetryRules(backoff_s=0.0)
    line = await race.run(race.answers(0), race.answers(1))
    assert (line["outcome"], line["attempts"]) == ("ok", 2)


@pytest.mark.parametrize(
    "fields", [{"max_tokens": 5000}, {"max_tokens": None}], ids=["long", "unbounded"]
)
async def test_a_call_that_is_not_short_has_one_try(fields: dict[str, Any]) -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)
    await race.run(race.asked(1), race.answers(0), **fields)
    assert race.hedges == {}


async def test_without_retry_budget_there_is_no_second_try() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)
    race.bench.exchange.retries = RetryRules(budget_ratio=0, budget_floor=0)
    await race.run(race.asked(1), race.answers(0))
    assert race.hedges == {}


async def test_a_second_try_costs_the_retry_budget() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)
    race.bench.exchange.retries = RetryRules(budget_floor=1)
    await race.run(race.asked(2), race.answers(1))
    budget = race.bench.exchange._budget("m")
    assert not budget.has_room(race.bench.clock.now_s(), ratio=0.2, floor=1)


async def test_when_the_share_is_used_up_there_is_no_second_try() -> None:
    race = Race(whole(), whole(), late_s=AT_ONCE_S)
    race.pace.hedged(race.bench.clock.now_s())
    await race.run(race.asked(1), race.answers(0))


async def test_a_model_whose_pace_is_not_known_has_one_try_and_learns() -> None:
    race = Race(*(whole() for _ in range(32)), late_s=AT_ONCE_S)
    race.bench.exchange._hedged._paces.clear()
    for gate in race.upstream.gates:
        gate.set()
    for _ in range(32):
        race.bench.client = FakeClient()
        await race.bench.exchange.run(race.bench.call(fields={"max_tokens": 5}), race.bench.client)
    pace = race.bench.exchange._hedged._paces["m"]
    assert pace.begin(race.bench.clock.now_s(), race.rules) == 0.0
    assert race.hedges == {}


@pytest.mark.parametrize("leaves", [True, False], ids=["client leaves", "shutdown"])
@pytest.mark.parametrize("answered", [None, 0, 1])
async def test_cancelled_at_any_await_nothing_is_left(leaves: bool, answered: int | None) -> None:
    cancelled = 0
    for steps in range(24):
        race = Race(whole(), whole(), late_s=AT_ONCE_S, **LIMITED)
        bench = race.bench
        call = bench.call(fields={"max_tokens": 5})
        running = asyncio.get_running_loop().create_task(bench.exchange.run(call, bench.client))
        if answered is not None:
            race.answers(answered)()
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        bench.client.is_gone = leaves and not bench.client.is_finished
        running.cancel()
        with anyio.fail_after(5):
            await asyncio.wait([running])
        cancelled += running.cancelled()
        assert len(bench.settled()) == (1 if steps else 0)
        assert "key/anonymous/concurrent_requests" not in lacks(bench)
    assert cancelled > 1
