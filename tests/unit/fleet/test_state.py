import hashlib
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import Caller, IssuedRing, IssuedSecret, Plan
from gateway.engines.adapter import Load
from gateway.errors import (
    ClientGone,
    EngineDraining,
    EngineFault,
    EngineMisconfigured,
    EngineOverloaded,
    EngineRefused,
    EngineSilent,
    GatewayError,
)
from gateway.fleet.catalog import Catalog, Replica, Variant
from gateway.fleet.discovery.endpoint import Endpoint, Standing
from gateway.fleet.health import Condition, HealthRules, Reason, Sign
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.wire.prefix import Prefix
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.discoveries import a_discovered

READY = Condition.READY
OUT = Condition.LOADING
QUIET = Load()


def a_fleet_catalog(*urls: str, **more: Any) -> Catalog:
    return a_catalog(a_model("m", variants=[a_variant("fp8", *urls, **more)]))


def the_variant(catalog: Catalog) -> Variant:
    return catalog.models["m"].variants[0]


def a_fleet(*urls: str) -> tuple[FleetState, list[ReplicaState]]:
    fleet = FleetState(a_fleet_catalog(*urls or ("http://a", "http://b")))
    return fleet, list(fleet)


def test_every_replica_of_every_variant_has_a_state() -> None:
    variants = [a_variant("fp8", "http://a", "http://b"), a_variant("awq", "http://a")]
    fleet = FleetState(a_catalog(a_model("m", variants=variants), a_model("n")))
    assert [(state.variant.name, state.name) for state in fleet] == [
        ("m:fp8", "r0"),
        ("m:fp8", "r1"),
        ("m:awq", "r0"),
        ("n", "r0"),
    ]


def test_candidates_are_those_not_tried() -> None:
    fleet, [first, second] = a_fleet()
    variant = first.variant
    assert fleet.candidates(variant, (), only_usable=True) == [first, second]
    assert fleet.candidates(variant, {first}, only_usable=True) == [second]
    assert fleet.candidates(variant, {first, second}, only_usable=False) == []


def test_only_usable_candidates_unless_any_will_do() -> None:
    fleet, [first, second] = a_fleet()
    fleet.probed(first, OUT, QUIET, 0.0)
    assert fleet.candidates(first.variant, (), only_usable=True) == [second]
    assert fleet.candidates(first.variant, (), only_usable=False) == [first, second]


def test_a_variant_is_usable_while_one_of_its_replicas_is() -> None:
    fleet, [first, second] = a_fleet()
    fleet.probed(first, OUT, QUIET, 0.0)
    assert fleet.has_usable(first.variant)
    fleet.probed(second, OUT, QUIET, 0.0)
    assert not fleet.has_usable(first.variant)


def test_a_variant_that_left_has_nobody() -> None:
    fleet, [first, _] = a_fleet()
    fleet.apply(a_catalog(a_model("other")))
    assert not fleet.has_usable(first.variant)
    assert fleet.candidates(first.variant, (), only_usable=False) == []


def test_a_probe_tells_whether_the_condition_has_changed() -> None:
    fleet, [state, _] = a_fleet()
    assert fleet.probed(state, READY, QUIET, 0.0)
    assert not fleet.probed(state, READY, QUIET, 0.0)
    assert not fleet.probed(state, Condition.UNHEALTHY, QUIET, 0.0)
    assert fleet.probed(state, Condition.UNHEALTHY, QUIET, 0.0)


@pytest.mark.parametrize(
    ("load", "ours", "others"),
    [
        (Load(running=5, waiting=2), 3, 4),
        (Load(running=5), 0, 5),
        (Load(waiting=2), 0, 2),
        (Load(running=1), 3, 0),
        (Load(), 3, 0),
    ],
)
def test_what_an_engine_reports_beyond_our_own_is_others(
    load: Load, ours: int, others: float
) -> None:
    fleet, [state, _] = a_fleet()
    for _ in range(ours):
        Lease(state)
    fleet.probed(state, READY, load, 0.0)
    assert state.others == others
    assert state.load == ours + others


def test_what_an_engine_says_of_its_cache_is_kept_until_it_says_nothing() -> None:
    fleet, [state, _] = a_fleet()
    fleet.probed(state, READY, Load(kv_cache_used_ratio=0.5, kv_cache_tokens=1000), 0.0)
    assert (state.kv_cache_used_ratio, state.kv_cache_tokens) == (0.5, 1000)
    fleet.probed(state, READY, QUIET, 0.0)
    assert state.kv_cache_used_ratio is None


def test_a_replica_that_stays_keeps_its_numbers_and_takes_its_new_configuration() -> None:
    fleet, [state, _] = a_fleet("http://a", "http://b")
    lease = Lease(state)
    fleet.probed(state, READY, Load(kv_cache_used_ratio=0.5), 0.0)
    changed = a_fleet_catalog(replicas=[{"url": "http://a:80/", "weight": 2, "name": "big"}])
    fleet.apply(changed)
    assert list(fleet) == [state]
    assert (state.name, state.weight, state.in_flight) == ("big", 2, 1)
    assert state.variant is the_variant(changed)
    assert fleet.catalog is changed
    lease.release()
    assert state.in_flight == 0


def test_a_replica_that_left_and_came_back_is_new() -> None:
    fleet, [state, _] = a_fleet("http://a", "http://b")
    Lease(state)
    fleet.apply(a_fleet_catalog("http://b"))
    fleet.apply(a_fleet_catalog("http://a", "http://b"))
    assert state not in list(fleet)
    assert all(other.in_flight == 0 for other in fleet)


def test_a_newcomer_starts_level_with_the_busiest() -> None:
    fleet, [first, second] = a_fleet("http://a", "http://b")
    for _ in range(10):
        Lease(first)
        Lease(second)
    fleet.apply(a_fleet_catalog("http://a", "http://b", "http://c"))
    assert [state.turns for state in fleet] == [10, 10, 10]


def test_a_replica_that_comes_back_starts_level_with_the_busiest() -> None:
    fleet, [first, second] = a_fleet()
    fleet.probed(second, OUT, QUIET, 0.0)
    for _ in range(10):
        Lease(first)
    fleet.probed(second, READY, QUIET, 0.0)
    assert second.turns == 10


def test_one_turn_behind_is_no_reason_to_lose_it() -> None:
    fleet, [first, second] = a_fleet()
    Lease(first)
    fleet.apply(fleet.catalog)
    assert (first.turns, second.turns) == (1, 0)


def test_keys_made_at_run_time_are_served_and_the_numbers_stay() -> None:
    fleet, (first, _) = a_fleet()
    lease = Lease(first)
    caller = Caller("team", Plan("p", ("*",)))
    digest = hashlib.sha256(b"sk").digest()
    ring = IssuedRing({digest: IssuedSecret(caller, math.inf)}, lambda: 0.0, is_known=True)
    fleet.serve_issued(ring)
    assert fleet.catalog.keys.caller(b"Bearer sk") is caller
    assert first.in_flight == 1
    assert next(iter(fleet)) is first
    lease.release()


# --- ejection

FAULT = EngineFault("x")
TWO, THREE = ("http://a", "http://b"), ("http://a", "http://b", "http://c")


class Watched:
    """A fleet that is told how attempts end, and what it tells."""

    def __init__(self, *urls: str, **rules: Any) -> None:
        self.told: list[tuple[str, str]] = []
        self.fleet = FleetState(
            a_fleet_catalog(*urls), HealthRules(**rules), random.Random(1), self.tell
        )
        self.states = list(self.fleet)
        self.now_s = 0.0

    def tell(self, state: ReplicaState) -> None:
        assert state.reason is not None
        self.told.append((state.condition.value, state.reason.value))

    def attempt(self, state: ReplicaState, failure: GatewayError | None = None) -> None:
        lease = Lease(state)
        lease.release()
        self.fleet.observed(lease, failure, self.now_s)

    def fails(self, state: ReplicaState, failure: GatewayError = FAULT, times: int = 5) -> None:
        for _ in range(times):
            self.attempt(state, failure)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        for state in self.fleet.due(self.now_s):
            self.fleet.tested(state, None, self.now_s)

    @property
    def usable(self) -> list[bool]:
        states = self.fleet.candidates(self.states[0].variant, (), only_usable=True)
        assert states == [state for state in self.states if state.is_usable]
        return [state in states for state in self.states]


def test_a_replica_that_fails_five_times_in_a_row_is_out_for_a_while_and_then_on_trial() -> None:
    it = Watched(*TWO)
    bad, good = it.states
    it.fails(bad)
    assert it.usable == [False, True]
    it.wait(26)
    assert it.usable == [False, True]
    it.wait(4)
    assert it.usable == [True, True]
    it.attempt(bad)
    assert it.usable == [True, True]
    assert it.told == [
        ("ejected", "consecutive_failures"),
        ("trial", "ejection_over"),
        ("unknown", "trial_passed"),
    ]
    assert good.reason is None


def test_one_request_at_a_time_tries_a_replica_out() -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    it.fails(bad)
    it.wait(30)
    trial = Lease(bad)
    assert it.usable == [False, True]
    trial.release()
    assert it.usable == [True, True]


@pytest.mark.parametrize("failure", [ClientGone("x"), EngineRefused("x", status=404)])
def test_a_trial_that_the_client_spoils_says_nothing(failure: GatewayError) -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    it.fails(bad)
    it.wait(30)
    it.attempt(bad, failure)
    assert bad.condition is Condition.TRIAL
    assert it.usable == [True, True]


@pytest.mark.parametrize("failure", [FAULT, EngineOverloaded("x"), EngineSilent("x")])
def test_a_failed_trial_is_another_ejection(failure: GatewayError) -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    it.fails(bad)
    it.wait(30)
    it.attempt(bad, failure)
    assert it.usable == [False, True]
    assert it.told[-1] == ("ejected", "trial_failed")


def test_what_began_before_the_ejection_is_not_held_against_the_replica() -> None:
    """A hanging engine holds many requests, and each of them times out sooner or later."""
    it = Watched(*TWO)
    bad, _ = it.states
    old = [Lease(bad) for _ in range(20)]
    it.fails(bad)
    it.wait(30)
    for lease in old:
        it.fleet.observed(lease, EngineSilent("x"), it.now_s)
    assert bad.condition is Condition.TRIAL
    it.fleet.observed(old[0], None, it.now_s)
    assert bad.condition is Condition.TRIAL
    it.attempt(bad)
    for lease in old:
        it.fleet.observed(lease, EngineSilent("x"), it.now_s)
    assert it.usable == [True, True]


def test_a_request_that_an_ejected_replica_answers_all_the_same_brings_it_back() -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    it.fails(bad)
    it.attempt(bad, FAULT)
    assert bad.condition is Condition.EJECTED
    it.attempt(bad)
    assert it.usable == [True, True]


def test_two_timeouts_in_a_row_are_enough() -> None:
    it = Watched(*TWO)
    it.fails(it.states[0], EngineSilent("x"), times=2)
    assert it.told == [("ejected", "consecutive_timeouts")]


@pytest.mark.parametrize("urls", [TWO, THREE])
def test_a_brown_out_of_all_ejects_nobody(urls: tuple[str, ...]) -> None:
    it = Watched(*urls)
    for _ in range(20):
        for state in it.states:
            it.attempt(state, EngineSilent("x"))
        it.fleet.compare(it.now_s)
    assert it.told == []


def test_the_last_one_is_never_ejected() -> None:
    it = Watched("http://a")
    it.fails(it.states[0], times=50)
    assert it.usable == [True]


def test_one_that_drains_gets_nothing_even_when_it_is_the_last() -> None:
    it = Watched(*TWO)
    one, other = it.states
    for state in (one, other):
        it.attempt(state, EngineDraining("x"))
    assert it.usable == [False, False]
    assert not it.fleet.has_usable(one.variant)
    assert it.fleet.candidates(one.variant, (), only_usable=False) == [one, other]
    assert it.told == [("draining", "engine_draining")] * 2


def test_a_drained_engine_serves_as_soon_as_it_is_back() -> None:
    it = Watched(*TWO)
    one, _ = it.states
    it.attempt(one, EngineDraining("x"))
    for seen in (READY, Condition.UNHEALTHY, Condition.UNHEALTHY, READY):
        it.fleet.probed(one, seen, QUIET, 1.0)
    assert it.usable == [True, True]
    assert it.told == [
        ("draining", "engine_draining"),
        ("unhealthy", "probe_failed"),
        ("ready", "probe_passed"),
    ]


def test_one_that_does_not_serve_the_model_is_misconfigured_when_it_says_so_twice() -> None:
    it = Watched(*TWO)
    it.fails(it.states[0], EngineMisconfigured("x"), times=2)
    assert it.usable == [False, True]
    assert it.told == [("misconfigured", "engine_misconfigured")]


def test_when_probes_leave_too_few_the_ejected_serve_as_well() -> None:
    it = Watched(*THREE)
    bad, other, _ = it.states
    it.fails(bad)
    assert it.usable == [False, True, True]
    it.fleet.probed(other, OUT, QUIET, 0.0)
    assert it.usable == [True, False, True]
    assert bad.condition is Condition.EJECTED
    it.fleet.probed(other, READY, QUIET, 0.0)
    assert it.usable == [False, True, True]


def test_in_a_panic_a_trial_does_not_keep_others_away() -> None:
    it = Watched(*TWO)
    bad, other = it.states
    it.fails(bad)
    it.fleet.probed(other, OUT, QUIET, 0.0)
    it.wait(30)
    Lease(bad)
    assert it.usable == [True, False]


def test_a_replica_that_fails_more_often_than_its_siblings_is_ejected() -> None:
    it = Watched(*TWO)
    bad, good = it.states
    for _ in range(10):
        for failure in (FAULT, FAULT, None):
            it.attempt(bad, failure)
            it.attempt(good)
    it.fleet.compare(it.now_s)
    assert it.told == [("ejected", "success_rate")]
    it.fleet.compare(it.now_s)
    assert len(it.told) == 1


def test_one_that_is_always_full_while_its_siblings_are_not_is_ejected() -> None:
    it = Watched(*TWO)
    bad, good = it.states
    for _ in range(30):
        it.attempt(bad, EngineOverloaded("x"))
        it.attempt(good)
    assert it.told == []
    it.fleet.compare(it.now_s)
    assert it.told == [("ejected", "success_rate")]


def test_a_flapping_replica_is_tried_ever_more_rarely() -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    for _ in range(600):
        it.wait(1)
        if bad.is_usable:
            it.fails(bad)
    ejections = sum(condition == "ejected" for condition, _ in it.told)
    assert ejections <= 6
    assert bad.era == ejections


def test_ejections_outlive_a_reload() -> None:
    it = Watched(*TWO)
    it.fails(it.states[0])
    it.fleet.apply(a_fleet_catalog(*TWO))
    assert it.usable == [False, True]


def test_a_panic_ends_when_the_configuration_brings_others() -> None:
    it = Watched(*TWO)
    bad, other = it.states
    it.fails(bad)
    it.fleet.probed(other, OUT, QUIET, 0.0)
    assert bad.is_usable
    it.fleet.apply(a_fleet_catalog(*TWO, "http://c", "http://d"))
    assert not bad.is_usable


def test_one_that_fails_our_own_trial_is_ejected_again_and_no_client_was_asked() -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    it.fails(bad)
    assert it.fleet.due(26.0) == []
    assert it.fleet.due(30.0) == [bad]
    it.fleet.tested(bad, Sign.TIMEOUT, 30.0)
    assert it.usable == [False, True]
    assert it.fleet.due(83.0) == []
    assert it.fleet.due(90.0) == [bad]
    assert (bad.reason, bad.health.ejections) == (Reason.TRIAL_FAILED, 2)
    assert it.told == [("ejected", "consecutive_failures"), ("ejected", "trial_failed")]


def test_a_trial_of_ours_that_comes_too_late_changes_nothing() -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    it.fleet.tested(bad, Sign.TIMEOUT, 30.0)
    assert it.usable == [True, True]


def test_what_is_told_of_a_replica_that_left_is_no_harm() -> None:
    it = Watched(*TWO)
    bad, _ = it.states
    it.fleet.apply(a_catalog(a_model("other")))
    it.fails(bad)
    assert it.told == []


def test_why_a_probe_saw_what_it_saw_is_kept() -> None:
    fleet, [state, _] = a_fleet()
    fleet.probed(state, Condition.MISCONFIGURED, QUIET, 0.0, Reason.CREDENTIALS_REFUSED)
    assert state.reason is Reason.CREDENTIALS_REFUSED


steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(
            [
                *(None, FAULT, EngineSilent("x"), EngineOverloaded("x"), ClientGone("x")),
                *(1.0, 40.0, Condition.READY, Condition.UNHEALTHY),
            ]
        ),
    ),
    max_size=120,
)


@given(steps, st.sampled_from([0.0, 0.5, 1.0]))
def test_whatever_happens_whoever_looks_well_can_be_asked_and_comes_back(
    steps: list[tuple[int, Any]], ratio: float
) -> None:
    it = Watched("http://a", "http://b", "http://c", "http://d", panic_ratio=ratio)
    for number, what in steps:
        state = it.states[number]
        match what:
            case float():
                it.wait(what)
            case Condition():
                it.fleet.probed(state, what, QUIET, it.now_s)
            case _:
                it.attempt(state, what)
        well = [state for state in it.states if state.health.looks_well]
        if well:
            assert any(it.usable)
    it.wait(1000)
    assert all(state.is_usable for state in it.states if state.health.looks_well)
    for state in it.states:
        it.attempt(state)
    assert all(state.health.ejection is None for state in it.states)


@given(
    st.lists(st.sampled_from([None, ClientGone("x"), EngineRefused("x", status=400)]), max_size=100)
)
def test_a_healthy_replica_is_never_ejected_by_what_clients_do(
    ends: list[GatewayError | None],
) -> None:
    it = Watched(*TWO)
    for end in ends:
        it.attempt(it.states[0], end)
        it.fleet.compare(it.now_s)
    assert it.told == []


PROMPT = Prefix(tuple(range(10)), shared_key=98, own_key=99)


def test_a_reload_keeps_what_was_sent() -> None:
    fleet = FleetState(a_catalog())
    state = next(iter(fleet))
    Lease(state, PROMPT).release()
    fleet.apply(fleet.catalog)
    assert next(iter(fleet)).sent == 10


def test_others_send_to_a_replica_where_there_are_more_processes_or_more_load() -> None:
    fleet = FleetState(a_catalog())
    state = next(iter(fleet))
    told = [state.is_shared]
    fleet.probed(state, Condition.READY, Load(running=1), 0.0)
    told.append(state.is_shared)
    assert told == [False, True]
    assert next(iter(FleetState(a_catalog(), processes=2))).is_shared


def test_it_is_remembered_as_long_as_the_engine_has_room_for_it() -> None:
    fleet = FleetState(a_catalog())
    state = next(iter(fleet))
    fleet.probed(state, Condition.READY, Load(kv_cache_tokens=1280), 0.0)
    assert state.prefixes.capacity == 10
    longer = (*PROMPT.blocks, 20, 21)
    Lease(state, Prefix(longer, own_key=99)).release()
    assert state.known_blocks(longer) == 10


def test_an_ejected_replica_may_have_lost_what_it_knew() -> None:
    replicas = [{"url": f"http://h{n}"} for n in range(3)]
    fleet = FleetState(a_catalog({"name": "m", "engine": "vllm", "replicas": replicas}))
    state = next(iter(fleet))
    Lease(state, PROMPT).release()
    for _ in range(9):
        fleet.observed(Lease(state), EngineFault("broken"), 1.0)
    assert state.health.ejection is not None
    assert state.known_blocks(PROMPT.blocks) == 0


def test_calls_for_an_adapter_go_to_the_replicas_of_its_model_that_have_it() -> None:
    variant = a_variant("x", "http://a", "http://b", adapters=[{"name": "sql"}])
    fleet = FleetState(a_catalog(a_model("m", variants=[variant])))
    first, second = fleet
    (sql,) = fleet.catalog.models["sql"].variants
    first.adapters.listed([])
    second.adapters.listed(["sql"])
    assert list(fleet.candidates(sql, (), only_usable=True)) == [second]
    assert list(fleet.candidates(sql, [second], only_usable=False)) == []
    assert fleet.has_usable(sql)


def test_one_that_is_gone_or_put_to_sleep_is_out_at_once_and_comes_back_with_a_probe() -> None:
    fleet, [gone, asleep] = a_fleet()
    fleet.gone(gone)
    fleet.put_to_sleep(asleep)
    assert [(one.condition, one.reason) for one in (gone, asleep)] == [
        (Condition.AWAY, Reason.AWAY),
        (Condition.ASLEEP, Reason.ASLEEP),
    ]
    assert not fleet.has_usable(gone.variant)
    fleet.probed(gone, READY, QUIET, 0.0)
    assert gone.is_usable


def test_a_fleet_knows_what_it_serves() -> None:
    fleet, [state, _] = a_fleet()
    assert fleet.serves(state.variant.name)
    fleet.apply(a_catalog(a_model("other")))
    assert not fleet.serves(state.variant.name)


def a_found_fleet(*names: str) -> tuple[FleetState, Variant]:
    """A variant whose replicas were discovered."""
    fleet = FleetState(a_catalog(a_discovered()))
    variant = the_variant(fleet.catalog)
    fleet.found(variant, found(variant, *names))
    return fleet, variant


def found(variant: Variant, *names: str, **standings: Standing) -> list[Replica]:
    return [
        variant.replica_at(
            Endpoint(name, f"{name}.test", 80, standings.get(name, Standing.SERVING))
        )
        for name in (*names, *standings)
    ]


def test_what_is_discovered_gets_nothing_before_a_probe_has_passed() -> None:
    fleet, variant = a_found_fleet("a", "b")
    assert not fleet.has_usable(variant)
    a, _ = fleet
    fleet.probed(a, READY, QUIET, 0.0)
    assert fleet.candidates(variant, (), only_usable=True) == [a]
    # where nobody else is left, it is asked all the same
    assert len(fleet.candidates(variant, (), only_usable=False)) == 2


@pytest.mark.parametrize(
    ("standing", "condition", "reason"),
    [
        (Standing.TERMINATING, Condition.DRAINING, Reason.TERMINATING),
        (Standing.GONE, Condition.DRAINING, Reason.GONE),
        (Standing.NOT_READY, Condition.UNHEALTHY, Reason.NOT_READY),
    ],
)
def test_one_that_discovery_takes_out_is_no_candidate_of_any_kind(
    standing: Standing, condition: Condition, reason: Reason
) -> None:
    told: list[tuple[str, Condition, Reason | None]] = []
    fleet, variant = a_found_fleet("a", "b")
    fleet._tell = lambda state: told.append((state.name, state.condition, state.reason))
    for state in fleet:
        fleet.probed(state, READY, QUIET, 0.0)
    told.clear()
    fleet.found(variant, found(variant, "b", a=standing))
    b, a = fleet
    for only_usable in (True, False):
        assert fleet.candidates(variant, (), only_usable=only_usable) == [b]
    assert told == [("a", condition, reason)]
    # neither what runs there nor probes say more of it
    fleet.observed(Lease(a), EngineDraining("x"), 0.0)
    fleet.probed(a, OUT, QUIET, 0.0)
    assert (len(told), fleet.due(1e9)) == (1, [])
    fleet.probed(a, READY, QUIET, 0.0)
    fleet.found(variant, found(variant, "a", "b"))
    assert told[1:] == [("a", READY, Reason.RETURNED)]
    assert len(fleet.candidates(variant, (), only_usable=True)) == 2


def test_one_that_is_found_while_it_ends_is_told() -> None:
    fleet, variant = a_found_fleet()
    fleet.found(variant, found(variant, a=Standing.TERMINATING))
    (a,) = fleet
    assert (a.condition, a.is_usable) == (Condition.DRAINING, False)
    assert not fleet.has_usable(variant)


def test_a_reload_leaves_what_was_discovered() -> None:
    fleet, _ = a_found_fleet("a")
    (a,) = fleet
    fleet.apply(a_catalog(a_discovered(), a_model("n")))
    assert next(iter(fleet)) is a
