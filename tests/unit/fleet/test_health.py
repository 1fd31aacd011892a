from gateway.fleet.health import Condition, Health, after_probe


def test_nobody_is_out_before_the_first_probe() -> None:
    assert Health().is_usable


def test_one_failed_probe_is_forgiven_two_are_not() -> None:
    once = after_probe(Health(Condition.READY), Condition.UNHEALTHY)
    assert once.is_usable
    assert not after_probe(once, Condition.UNHEALTHY).is_usable


def test_one_good_probe_brings_a_replica_back() -> None:
    out = Health(Condition.UNHEALTHY, failures=9)
    assert not after_probe(out, Condition.UNHEALTHY).is_usable
    assert after_probe(out, Condition.READY) == Health(Condition.READY)


def test_what_an_engine_says_of_itself_counts_at_once() -> None:
    assert not after_probe(Health(Condition.READY), Condition.LOADING).is_usable
    assert not after_probe(Health(Condition.READY), Condition.ASLEEP).is_usable
