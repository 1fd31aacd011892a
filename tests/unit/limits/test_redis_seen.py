from gateway.limits.bucket import Bucket
from gateway.limits.redis_seen import Seen
from tests.support.limit_stores import buckets, claim

RATE, TOKENS, SLOTS = buckets(requests_per_minute=60, tokens_per_minute=600, concurrent_requests=2)


def lacks(seen: Seen, now_us: float) -> list[tuple[Bucket, float]]:
    return list(seen.lacks(now_us))


def test_buckets_fill_up_while_nothing_is_heard() -> None:
    seen = Seen()
    seen.told(claim((RATE,), 1), [5e6], now_us=1e6)
    assert lacks(seen, 2e6) == [(RATE, 4e6)]
    assert lacks(seen, 6e6) == []


def test_the_last_word_counts() -> None:
    seen = Seen()
    seen.told(claim((RATE,), 1), [5e6], now_us=0)
    seen.told(claim((RATE,), 1), [1e6], now_us=0)
    assert lacks(seen, 0) == [(RATE, 1e6)]


def test_what_was_counted_beyond_a_word_is_added() -> None:
    seen = Seen()
    seen.change(RATE, 3, now_us=0)
    seen.change(SLOTS, 1, now_us=0)
    seen.settled(claim((RATE, TOKENS, SLOTS), 3, 5, 1), [2, 5, 1], now_us=1e6)
    assert lacks(seen, 1e6) == [(RATE, 1e6)]


def test_slots_are_remembered_over_one_renewal() -> None:
    seen = Seen()
    seen.slot(SLOTS)
    seen.renewed([], now_us=0)
    assert list(seen.slots()) == [SLOTS]
    seen.told(claim((SLOTS,), 1), [1], now_us=0)
    seen.renewed([], now_us=0)
    assert list(seen.slots()) == [SLOTS]
    seen.renewed([], now_us=0)
    assert list(seen.slots()) == []
    seen.renewed([SLOTS], now_us=0)
    assert list(seen.slots()) == [SLOTS]


def test_full_buckets_are_forgotten() -> None:
    seen = Seen()
    seen.told(claim((RATE,), 1), [5e6], now_us=0)
    seen.told(claim((TOKENS,), 1), [1e6], now_us=0)
    seen.renewed([], now_us=2e6)
    assert seen._buckets == {RATE.key: RATE}
    assert lacks(seen, 2e6) == [(RATE, 3e6)]
