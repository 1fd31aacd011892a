from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.sent import FADE
from gateway.fleet.state import FleetState
from gateway.wire.prefix import Prefix
from tests.support.configs import a_catalog

PROMPT = Prefix(tuple(range(10)), shared_key=98, own_key=99)


def a_replica(**given: Any) -> ReplicaState:
    replicas = [{"url": "http://a", **given}]
    (state,) = FleetState(a_catalog({"name": "m", "engine": "vllm", "replicas": replicas}))
    return state


def test_a_lease_counts_while_it_is_held() -> None:
    state = a_replica()
    lease = Lease(state)
    assert state.in_flight == 1
    assert state.load == 1
    lease.release()
    assert state.in_flight == 0


def test_a_lease_is_released_once_however_often_it_is_asked() -> None:
    state = a_replica()
    lease, other = Lease(state), Lease(state)
    lease.release()
    lease.release()
    assert state.in_flight == 1
    other.release()
    assert state.in_flight == 0


def test_a_heavier_replica_takes_more_leases_for_one_turn() -> None:
    state = a_replica(weight=4)
    Lease(state)
    assert state.turns == 0.25


@given(st.lists(st.booleans(), max_size=50))
def test_the_count_of_a_replica_is_its_open_leases(steps: list[bool]) -> None:
    state = a_replica()
    open_leases: list[Lease] = []
    for take in steps:
        if take or not open_leases:
            open_leases.append(Lease(state))
        else:
            open_leases.pop().release()
        assert state.in_flight == len(open_leases)


def test_a_prompt_is_prefilling_until_its_first_token() -> None:
    state = a_replica()
    lease = Lease(state, PROMPT)
    assert state.prefilling == 10
    lease.began()
    lease.began()
    assert state.prefilling == 0
    lease.release()
    assert state.prefilling == state.in_flight == 0


def test_what_was_sent_to_compute_fades_with_every_call_to_any_replica() -> None:
    replicas = [{"url": "http://h0"}, {"url": "http://h1"}]
    first, second = FleetState(a_catalog({"name": "m", "engine": "vllm", "replicas": replicas}))
    Lease(first, PROMPT).release()
    assert (first.sent, second.sent) == (10, 0)
    Lease(second, Prefix((50, 51))).release()
    assert (first.sent, second.sent) == (10 * FADE, 2)
    Lease(second).release()
    assert second.sent == 2, "what was not read says nothing"


def test_what_was_sent_before_need_not_be_computed() -> None:
    state = a_replica()
    Lease(state, PROMPT).release()
    assert state.known_blocks(PROMPT.blocks) == 10
    assert state.has_seen(99)
    assert not state.has_seen(97)
    longer = Lease(state, Prefix((*PROMPT.blocks, 20, 21), own_key=99))
    assert state.prefilling == 2
    longer.release()
    longer.release()
    assert state.prefilling == 0


def test_a_replica_has_the_same_seed_in_every_process_and_no_other_has_it() -> None:
    replicas = [{"url": f"http://h{n}"} for n in range(3)]
    catalog = a_catalog({"name": "m", "engine": "vllm", "replicas": replicas})
    seeds = [[state.seed for state in FleetState(catalog)] for _ in range(2)]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
