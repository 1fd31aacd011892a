"""What the contract does not ask of every store: shares, and being told what others know."""

import anyio
import pytest

from gateway.limits import memory_store
from gateway.limits.memory_store import MemoryStore
from gateway.limits.store import Hold, Refusal, Usage
from tests.support.fake_clock import FakeClock
from tests.support.limit_stores import buckets, claim

RATE = buckets(requests_per_minute=60, burst={"requests_per_minute": 12})
SLOTS = buckets(concurrent_requests=8)


def granted(store: MemoryStore, *costs: float, of: object = RATE) -> int:
    """How often a claim is granted in a row."""
    count = 0
    while isinstance(store.decide(claim(of, *costs)), Hold):  # type: ignore[arg-type]
        count += 1
    return count


@pytest.mark.parametrize(("shares", "first", "a_minute"), [(1, 12, 60), (2, 6, 30), (4, 3, 15)])
def test_a_share_is_its_part_of_burst_and_rate(shares: int, first: int, a_minute: int) -> None:
    clock = FakeClock()
    store = MemoryStore(clock, shares=shares)
    assert granted(store, 1) == first
    total = 0
    for _ in range(60):
        clock.pass_s(1)
        total += granted(store, 1)
    assert total == a_minute


@pytest.mark.parametrize(("shares", "slots"), [(1, 8), (4, 2), (100, 1)])
def test_a_share_of_slots_is_at_least_one(shares: int, slots: int) -> None:
    assert granted(MemoryStore(FakeClock(), shares=shares), 1, of=SLOTS) == slots


def test_a_request_larger_than_a_share_is_served_by_a_full_bucket_and_paid_for() -> None:
    clock = FakeClock()
    store = MemoryStore(clock, shares=4)
    assert granted(store, 10) == 1
    verdict = store.decide(claim(RATE, 10))
    assert isinstance(verdict, Refusal)
    assert verdict.wait_us == pytest.approx(40e6)
    clock.pass_s(40)
    assert granted(store, 10) == 1


def test_a_share_returns_what_it_counted() -> None:
    store = MemoryStore(FakeClock(), shares=4)
    hold = store.decide(claim(RATE, 3))
    assert isinstance(hold, Hold)
    store.settle(hold, [0])
    assert store.lack(RATE[0]) == 0


def test_what_is_forced_is_counted() -> None:
    store = MemoryStore(FakeClock())
    for _ in range(20):
        assert isinstance(store.decide(claim(RATE, 1), is_forced=True), Hold)
    assert store.lack(RATE[0]) == 20e6


def test_what_others_know_is_gone_on_from() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    store.decide(claim((*RATE, *SLOTS), 12, 1))
    store.begin([(RATE[0], 10e6)], [SLOTS[0]] * 7)
    assert granted(store, 1) == 2
    assert granted(store, 1, of=SLOTS) == 1
    for _ in range(9):
        store.free_slot(SLOTS[0])
    assert store.lack(SLOTS[0]) == 0


def test_what_is_settled_elsewhere_counts_without_its_slots() -> None:
    store = MemoryStore(FakeClock(), shares=4)
    store.begin([(RATE[0], 10e6)], [SLOTS[0]])
    store.adjust_rates(claim((*RATE, *SLOTS), 3, 1), [1, 1], weight=1)
    assert store.lack(RATE[0]) == pytest.approx(8e6)
    assert store.lack(SLOTS[0]) == 1


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_store, "_PRUNE_EVERY", 10)
    clock = FakeClock()
    store = MemoryStore(clock)
    store.decide(claim(RATE, 5))
    clock.pass_s(60)
    for _ in range(9):
        store.decide(claim(buckets(tokens_per_minute=60), 0))
    assert store._full_at_us == {}


async def test_it_has_nothing_to_do_beside_requests() -> None:
    async with MemoryStore(FakeClock()) as store:
        with anyio.move_on_after(0.01):
            await store.run()
        store.record(Usage("2026-11-25", "k", "m", 1))
        assert [entry.input_tokens for entry in store.books.entries()] == [1]
