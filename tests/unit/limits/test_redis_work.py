import asyncio

import msgspec

from gateway.limits.books import Books
from gateway.limits.redis_batch import Batch
from gateway.limits.redis_work import Gathered, Look, Packet, Settlement, Take, Verdict, nothing
from gateway.limits.store import Hold, Usage
from tests.support.limit_stores import buckets, claim

RATE, SLOTS = buckets(requests_per_minute=60, concurrent_requests=2)


def test_a_packet_brings_its_holds_along() -> None:
    books = Books()
    books.add(Usage("2026-11-25", "k", "m"))
    holds = [Hold("7", claim((RATE, SLOTS), 1, 1), [0, 1]), Hold("8", claim((RATE,), 1), [0])]
    batch = Batch("")
    Packet(3, {RATE: 2.0}, books, holds).put_into(batch)
    raw = batch.encode(
        epoch=1, birth="", expected_us=None, lease_us=1, is_heartbeat=False, is_telling=False
    )
    assert msgspec.msgpack.decode(raw)[5] == [
        [6, 3, [1, 2.0], [[2, "k\tm\trequests", 1]]],
        [4, 0, "7", "8"],
        [4, 3, "7"],
    ]


async def test_what_is_waited_for_has_no_answer_yet() -> None:
    some = claim((RATE,), 1)
    verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    take, look = Take("1", some, 5.0, verdict), Look([RATE])
    assert not take.verdict.done()
    assert not look.lacks.done()
    settlement = Settlement("1", some, nothing(some))
    assert settlement.is_held
    gathered = Gathered(Batch(""), None, [settlement], [take], 1, [look], is_heartbeat=True)
    assert gathered.takes == [take]


def test_what_came_to_nothing_costs_nothing() -> None:
    assert nothing(claim((RATE, SLOTS), 3, 1)) == [0, 0]
