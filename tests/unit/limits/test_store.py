from gateway.limits.store import Hold
from tests.support.limit_stores import buckets, claim


def test_a_hold_is_open_until_it_is_settled() -> None:
    some = claim(buckets(requests_per_minute=60), 1)
    hold = Hold("7", some, [1e6])
    assert (hold.id, hold.claim, hold.lacks) == ("7", some, [1e6])
    assert hold.is_open
    assert not hold.is_local
