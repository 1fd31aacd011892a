import json
import random
from typing import Any

import pytest

from gateway.auth.keys import Caller, Plan
from gateway.config.choice import Choose
from gateway.errors import TooFewBits
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.proxy.call import Call
from gateway.proxy.choosing import Choosing
from gateway.proxy.dialect import OpenAiDialect
from gateway.routing.resolve import Resolved, Why
from gateway.wire.ask import Operation
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.fake_clock import FakeClock
from tests.support.queues import a_caller, a_queues


class Bench:
    """Three variants of one model, of which each replica may have one call."""

    def __init__(self, choose: Any = "spill", **document: Any) -> None:
        self.clock = FakeClock()
        variants = [
            a_variant(tag, f"http://{tag}.test:80", concurrency=1)
            for tag in ("bf16", "fp8", "int4")
        ]
        self.fleet = FleetState(
            a_catalog(a_model("m", variants=variants, choose=choose), **document)
        )
        queues = a_queues(self.fleet, self.clock)
        self.queues = queues
        self.choosing = Choosing(
            fleet=self.fleet, queues=queues, clock=self.clock, rng=random.Random(0)
        )
        self.bf16, self.fp8, self.int4 = self.fleet

    def resolved(self, caller: Caller | None = None, **more: Any) -> Resolved:
        body = json.dumps({"model": "m", "messages": []}).encode()
        call = Call(Operation.CHAT, OpenAiDialect(), body, "id", self.clock.now_s(), **more)
        ask = call.dialect.ask(body, call.operation, None)
        return self.choosing.resolved(call, ask, caller or a_caller())

    def order(self, caller: Caller | None = None) -> list[str | None]:
        return [variant.tag for variant in self.resolved(caller).route]

    def began(self, took_s: float) -> None:
        """An answer of the best variant has begun."""
        onset = self.choosing.onset(self.bf16.variant)
        self.clock.pass_s(took_s)
        onset.began()


def test_the_best_serves_while_it_has_room() -> None:
    bench = Bench()
    assert bench.order() == ["bf16", "fp8", "int4"]
    assert bench.choosing.why(bench.resolved(), bench.bf16.variant) is Why.FIRST


def test_when_it_is_full_the_next_does_and_then_the_next() -> None:
    bench = Bench()
    held = Lease(bench.bf16)
    assert bench.order() == ["fp8", "bf16", "int4"]
    assert bench.choosing.why(bench.resolved(), bench.fp8.variant) is Why.SPILLED
    Lease(bench.fp8)
    assert bench.order()[0] == "int4"
    Lease(bench.int4)
    assert bench.order() == ["bf16", "fp8", "int4"], "all are as bad: the best"
    held.release()
    assert bench.order()[0] == "bf16"


def test_one_without_usable_replicas_is_passed_over() -> None:
    bench = Bench()
    bench.bf16.is_usable = False
    assert bench.order() == ["fp8", "bf16", "int4"]
    assert bench.choosing.why(bench.resolved(), bench.fp8.variant) is Why.NEXT


def test_first_tokens_that_come_late_send_calls_on_until_they_are_well_within() -> None:
    bench = Bench({"by": "spill", "ttft_s": 2})
    bench.began(2.5)
    assert bench.order()[0] == "fp8"
    bench.clock.pass_s(4)  # 1.9 s by now
    assert bench.order()[0] == "fp8", "not yet well within"
    bench.clock.pass_s(4)
    assert bench.order()[0] == "bf16"


def test_one_that_hangs_gets_no_more() -> None:
    bench = Bench({"by": "spill", "ttft_s": 2})
    lease = Lease(bench.bf16)
    lease.onset = bench.choosing.onset(bench.bf16.variant)
    bench.clock.pass_s(2.1)
    assert bench.order()[0] == "fp8"
    lease.release()
    assert bench.order()[0] == "bf16", "it failed, and taught us nothing"


def test_a_lease_times_its_first_token_once() -> None:
    bench = Bench({"by": "spill", "ttft_s": 2})
    lease = Lease(bench.bf16)
    lease.onset = bench.choosing.onset(bench.bf16.variant)
    bench.clock.pass_s(3)
    lease.began()
    lease.release()
    assert bench.order()[0] == "fp8"


def test_each_plan_has_thresholds_of_its_own() -> None:
    bench = Bench({"by": "spill", "ttft_s": 2})
    bench.began(1.0)

    def caller(name: str, choose: Choose) -> Caller:
        return Caller(name, Plan(name, ("*",), choose=choose))

    hasty = caller("hasty", Choose(by="spill", ttft_s=0.5))
    patient = caller("patient", Choose(by="first"))
    assert bench.order()[0] == "bf16"
    assert bench.order(hasty)[0] == "fp8"
    Lease(bench.bf16)
    assert bench.order(patient) == ["bf16", "fp8", "int4"]


def test_what_is_weighed_can_be_looked_at_without_changing_it() -> None:
    bench = Bench({"by": "spill", "ttft_s": 2})
    bench.began(2.5)
    found = bench.resolved()
    assert [(one.variant.tag, one.excess > 0) for one in bench.choosing.weighed(found, "p")] == [
        ("fp8", False),
        ("bf16", True),
        ("int4", False),
    ]
    assert Bench("first").choosing.weighed(Bench("first").resolved(), "p") == []


def test_the_bits_of_a_call_are_kept_to() -> None:
    bench = Bench()
    Lease(bench.bf16)
    assert [v.tag for v in bench.resolved(min_bits=8).route] == ["fp8", "bf16"]
    with pytest.raises(TooFewBits):
        bench.resolved(min_bits=17)


def test_who_calls_without_a_key_is_nobody_in_particular() -> None:
    variants = [a_variant("a", weight=1), a_variant("b", weight=1)]
    bench = Bench()
    bench.fleet.apply(a_catalog(a_model("m", variants=variants, choose={"sticky": "caller"})))
    anonymous = bench.fleet.catalog.keys.anonymous
    assert {bench.resolved(anonymous).route[0].tag for _ in range(50)} == {"a", "b"}
    assert len({bench.resolved(a_caller()).route[0].tag for _ in range(50)}) == 1
