import pytest

from gateway.limits import redis_outbox
from gateway.limits.redis_outbox import Outbox
from gateway.limits.redis_work import Settlement
from gateway.limits.store import Hold, Usage
from tests.support.limit_stores import buckets, claim

RATE, SLOTS = buckets(requests_per_minute=60, concurrent_requests=2)
BOTH = claim((RATE, SLOTS), 3, 1)


def a_settlement(number: int) -> Settlement:
    return Settlement(str(number), BOTH, [1, 1])


def test_an_empty_one_has_nothing_to_say() -> None:
    outbox = Outbox()
    assert not outbox
    assert outbox.packet() is None


def test_settlements_keep_their_order_when_they_are_put_back() -> None:
    outbox = Outbox()
    for number in range(4):
        assert outbox.settle(a_settlement(number))
    sent = [outbox.settlements.popleft() for _ in range(2)]
    outbox.put_back(sent)
    assert [one.number for one in outbox.settlements] == ["0", "1", "2", "3"]
    assert outbox


def test_the_oldest_settlement_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_outbox, "MAX_SETTLEMENTS", 2)
    outbox = Outbox()
    assert [outbox.settle(a_settlement(number)) for number in range(3)] == [True, True, False]
    assert [one.number for one in outbox.settlements] == ["1", "2"]


def test_what_was_spent_is_added_up_beyond_what_was_told() -> None:
    outbox = Outbox()
    outbox.spend(BOTH, [3, 1], [0, 0])
    outbox.spend(BOTH, [1, 1], [3, 1])
    outbox.spend(BOTH, [3, 1], [3, 1])
    packet = outbox.packet()
    assert packet is not None
    assert packet.spent == {RATE: 1}


def test_a_packet_stays_the_same_until_it_is_delivered() -> None:
    outbox = Outbox()
    outbox.record(Usage("2026-11-25", "k", "m", 5))
    first = outbox.packet()
    outbox.spend(BOTH, [2, 1], [0, 0])
    assert outbox.packet() is first
    outbox.delivered()
    second = outbox.packet()
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    assert not first.spent
    assert second.spent == {RATE: 2}
    assert not second.books
    outbox.delivered()
    assert not outbox


def test_strays_travel_until_they_came_home() -> None:
    outbox = Outbox()
    holds = [Hold(str(number), BOTH, [0, 1]) for number in range(2)]
    for hold in holds:
        outbox.stray(hold)
    outbox.came_home(holds[0])
    outbox.came_home(holds[0])
    packet = outbox.packet()
    assert packet is not None
    assert packet.holds == [holds[1]]
