import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from gateway.fleet import discoveries as module
from gateway.fleet.discoveries import Discoveries
from gateway.fleet.discovery.endpoint import Endpoint, Standing
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics
from tests.support.configs import a_catalog, a_model
from tests.support.counted import counted
from tests.support.discoveries import Script, Scripted, a_discovered, discoveries
from tests.support.fake_clock import FakeClock
from tests.support.running import until


def an_endpoint(name: str, standing: Standing = Standing.SERVING, host: str = "") -> Endpoint:
    return Endpoint(name, host or f"{name}.test", 8000, standing)


@dataclass
class Followed:
    """A fleet whose discoveries run."""

    fleet: FleetState
    all: Discoveries
    script: Script
    clock: FakeClock
    metrics: Metrics
    probed: list[str] = field(default_factory=list)

    @property
    def only(self) -> Scripted:
        (one,) = (one for one in self.script.opened if not one.has_ended)
        return one

    def find(self, *endpoints: Endpoint) -> None:
        assert self.only.told is not None
        self.only.told.found(endpoints)

    def serve(self, *models: dict[str, Any]) -> None:
        self.fleet.apply(a_catalog(*models))
        self.all.follow()

    @property
    def names(self) -> list[str]:
        return [state.name for state in self.fleet]

    def state(self, name: str) -> ReplicaState:
        return next(state for state in self.fleet if state.name == name)


@asynccontextmanager
async def followed(*models: dict[str, Any]) -> AsyncIterator[Followed]:
    fleet, script, clock, metrics = FleetState(a_catalog(*models)), Script(), FakeClock(), Metrics()
    given = discoveries(fleet, script, metrics=metrics, clock=clock)
    here = Followed(fleet, given, script, clock, metrics)

    async def probe(states: Sequence[ReplicaState]) -> None:
        here.probed += [state.name for state in states]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(given.run, probe)
        await until(lambda: all(one.told for one in script.opened), 10)
        yield here
        tasks.cancel_scope.cancel()


async def test_what_is_found_is_probed_before_it_gets_requests() -> None:
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a"), an_endpoint("b"))
        assert here.names == ["a", "b"]
        assert not any(state.is_usable for state in here.fleet)
        await until(lambda: here.probed == ["a", "b"], 10)
        here.find(an_endpoint("a"), an_endpoint("b"), an_endpoint("c"))
        await until(lambda: here.probed == ["a", "b", "c"], 10)
        assert next(state.replica.url for state in here.fleet) == "http://a.test:8000"


async def test_what_stays_keeps_its_numbers_and_what_is_gone_is_gone() -> None:
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a"), an_endpoint("b"))
        a = here.state("a")
        a.turns = 7.0
        here.find(an_endpoint("a"), an_endpoint("c"))
        assert here.state("a") is a
        assert here.names == ["a", "c"]
        here.find()
        assert here.names == []


async def test_another_pod_at_the_same_address_is_another_replica() -> None:
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a", host="10.0.0.1"))
        a = here.state("a")
        here.find(an_endpoint("b", host="10.0.0.1"))
        assert here.state("b") is not a
        await until(lambda: here.probed == ["a", "b"], 10)


@pytest.mark.parametrize("standing", [Standing.TERMINATING, Standing.NOT_READY])
async def test_one_that_is_not_to_get_requests_stays_with_those_it_has(standing: Standing) -> None:
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a"))
        lease = Lease(here.state("a"))
        here.find(an_endpoint("a", standing))
        state = here.state("a")
        assert (state.in_flight, state.is_usable) == (1, False)
        assert here.fleet.replicas_of("m") == ()
        lease.release()
        assert state.in_flight == 0


async def test_one_that_is_gone_is_shown_until_its_last_request_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a"), an_endpoint("b"))
        lease = Lease(here.state("a"))
        here.find(an_endpoint("b"))
        gone = here.state("a")
        assert (gone.condition, gone.is_usable) == (Condition.DRAINING, False)
        assert [state.name for state in here.fleet.replicas_of("m")] == ["b"]
        lease.release()
        await until(lambda: here.names == ["b"], 10)


async def test_a_reload_keeps_what_was_found() -> None:
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a"))
        a = here.state("a")
        here.serve(a_discovered(concurrency=3), a_model("n"))
        assert here.state("a") is a
        assert a.most == 3
        assert len(here.script.opened) == 1
        assert here.only.runs == 1


async def test_a_changed_discovery_begins_anew_and_the_old_findings_serve_until_it_answers() -> (
    None
):
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a"))
        old = here.only
        here.serve(a_discovered(dns="other.test"))
        assert here.names == ["a"]
        await until(lambda: old.has_ended and here.only.told is not None, 10)
        here.find(an_endpoint("b"))
        assert here.names == ["b"]


async def test_one_that_is_left_out_ends() -> None:
    async with followed(a_discovered()) as here:
        (old,) = here.script.opened
        here.find(an_endpoint("a"))
        here.serve(a_model("m"))
        await until(lambda: old.has_ended, 10)
        assert here.names == ["r0"]
        assert list(here.all.standings()) == []


async def test_variants_with_the_same_discovery_share_it() -> None:
    async with followed(a_discovered("m"), a_discovered("n")) as here:
        here.find(an_endpoint("a"))
        assert [(state.variant.name, state.name) for state in here.fleet] == [
            ("m", "a"),
            ("n", "a"),
        ]


async def test_listed_replicas_may_become_discovered_ones() -> None:
    async with followed(a_model("m")) as here:
        here.serve(a_discovered())
        assert here.names == ["r0"]
        await until(lambda: here.only.told is not None, 10)
        here.find(an_endpoint("a"))
        assert here.names == ["a"]


async def test_the_start_waits_for_the_first_answers_but_not_for_ever() -> None:
    async with followed(a_discovered()) as here:
        await here.all.first_answers(0.01)
        here.find()
        with anyio.fail_after(10):
            await here.all.first_answers(3600)


async def test_failures_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.fleet.discoveries")
    async with followed(a_discovered()) as here:
        here.find(an_endpoint("a"))
        told = here.only.told
        assert told is not None
        for _ in range(3):
            told.failed("no resolver answered")
        (standing,) = here.all.standings()
        assert (standing.state, standing.failing) == ("failing", "no resolver answered")
        assert here.names == ["a"]
        here.clock.pass_s(5)
        told.confirmed()
        here.clock.pass_s(2)
        (standing,) = here.all.standings()
        assert (standing.state, standing.age_s) == ("ok", 2)
        assert dict(standing.endpoints) == {Standing.SERVING: 1}
        assert counted(here.metrics, "gateway_discovery_failures", "variant") == {"m": 3}
    lines = [line for line in caplog.records if line.getMessage() == F.DISCOVERY_STATE]
    assert [(vars(line)[F.STATE], vars(line)[F.REASON]) for line in lines] == [
        ("ok", ""),
        ("failing", "no resolver answered"),
        ("ok", ""),
    ]


async def test_a_plug_in_that_breaks_is_run_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_AFTER_BUG_S", 0.01)
    fleet, script = FleetState(a_catalog(a_discovered())), Script(fails=True)
    here = discoveries(fleet, script)

    async def probe(_: Sequence[ReplicaState]) -> None:
        """Nobody is found."""

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.run, probe)
        await until(lambda: script.opened[0].runs > 2, 10)
        tasks.cancel_scope.cancel()
    assert any(line.getMessage() == F.BUG for line in caplog.records)
