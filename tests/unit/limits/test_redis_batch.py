import msgspec
import pytest

from gateway.limits.redis_batch import Batch, Reply, books_field, read_reply
from gateway.limits.store import Usage
from tests.support.limit_stores import buckets, claim

RATE, SLOTS = buckets(requests_per_minute=60, concurrent_requests=2)


def encoded(batch: Batch) -> list[object]:
    raw = batch.encode(
        epoch=3, birth="b", expected_us=5.0, lease_us=1e6, is_heartbeat=True, is_telling=False
    )
    told: list[object] = msgspec.msgpack.decode(raw)
    return told


def test_an_empty_batch() -> None:
    batch = Batch("p:")
    assert batch.count == 0
    assert encoded(batch) == [3, "b", 5.0, 1e6, [], [], True, False, 0]


def test_every_key_is_named_once_and_referred_to_by_its_place() -> None:
    batch = Batch("p:")
    both = claim((RATE, SLOTS), 2, 1)
    batch.take("1", both)
    batch.settle("0", both, [3, 1])
    batch.look([SLOTS, RATE])
    assert batch.count == 3
    assert batch.keys == ["p:key/k/requests_per_minute", "p:key/k/concurrent_requests"]
    kinds, ops = encoded(batch)[4:6]
    assert kinds == [[1e6, 60e6], [2]]
    assert ops == [[1, "1", 1, 2, 2, 1], [2, "0", 1, 1, 2, 0], [3, 2, 1]]


def test_what_a_store_without_memory_is_told() -> None:
    batch = Batch("")
    batch.keep_slots(SLOTS, ["1", "2"])
    batch.keep_open(["3"])
    batch.at_least([(RATE, 7.5)])
    assert encoded(batch)[5] == [[4, 1, "1", "2"], [4, 0, "3"], [5, 2, 7.5]]


def test_a_packet_of_sums() -> None:
    batch = Batch("p:")
    usages = [Usage("2026-11-25", "k", "m", 5, 0, 0, 1), Usage("2026-11-25", "k", "n")]
    batch.packet(9, [(RATE, -2.0)], usages)
    assert batch.keys == ["p:key/k/requests_per_minute", "p:books/2026-11-25"]
    kinds, ops = encoded(batch)[4:6]
    assert kinds == [[1e6, 60e6], []]
    assert ops == [
        [
            6,
            9,
            [1, -2.0],
            [[2, "k\tm\tinput_tokens", 5], [2, "k\tm\trequests", 1], [2, "k\tn\trequests", 1]],
        ]
    ]
    assert books_field(usages[0], "errors") == "k\tm\terrors"


def test_a_reply() -> None:
    raw = msgspec.msgpack.encode(["12.5", "b", [1, [0, 0, 3.5]]])
    assert read_reply(raw) == Reply("12.5", "b", [1, [0, 0, 3.5]])
    assert read_reply(msgspec.msgpack.encode(["12.5", "b"])).results is None
    with pytest.raises(msgspec.DecodeError):
        read_reply(b"\xc1")
