import random
from dataclasses import replace

from gateway.experiment.cache_aware import BALANCE_DIFFERENCE, CacheAware
from gateway.wire.prefix import NO_PREFIX, Prefix
from tests.support.configs import AView

RNG = random.Random(0)


def prompt(first: int, length: int = 10, own: int = 0) -> Prefix:
    """`own` blocks at its end are like nobody else's."""
    common = tuple(range(first, first + length - own))
    return Prefix((*common, *(RNG.getrandbits(40) for _ in range(own))))


def test_what_is_new_goes_to_who_was_sent_the_least() -> None:
    policy, replicas = CacheAware(), [AView("a"), AView("b")]
    picked = [policy.pick(replicas, prompt(1000 * n, 5), RNG).name for n in range(4)]
    assert picked == ["a", "b", "a", "b"]
    assert policy.pick(replicas, NO_PREFIX, RNG).name == "a"


def test_a_beginning_is_followed_from_three_tenths_on() -> None:
    policy, replicas = CacheAware(), [AView("a"), AView("b")]
    assert policy.pick(replicas, prompt(0), RNG).name == "a"
    assert policy.pick(replicas, prompt(0, own=6), RNG).name == "a"
    assert policy.pick(replicas, prompt(0, own=7), RNG).name == "b"


def test_of_those_that_have_it_the_last_that_was_sent_it_gets_it() -> None:
    policy, replicas = CacheAware(), [AView("a"), AView("b")]
    policy.pick(replicas, prompt(0), RNG)
    policy.pick(replicas[1:], prompt(0), RNG)
    assert policy.pick(replicas, prompt(0), RNG).name == "b"


def test_who_has_far_more_requests_than_another_gets_none() -> None:
    policy, replicas = CacheAware(), [AView("a"), AView("b")]
    policy.pick(replicas, prompt(0), RNG)
    replicas[0] = replace(replicas[0], in_flight=BALANCE_DIFFERENCE)
    assert policy.pick(replicas, prompt(0), RNG).name == "a"
    replicas[0] = replace(replicas[0], in_flight=BALANCE_DIFFERENCE + 1)
    assert policy.pick(replicas, prompt(0), RNG).name == "b"


def test_it_can_be_asked_why() -> None:
    policy, replicas = CacheAware(), [AView("a"), AView("b")]
    policy.pick(replicas, prompt(0), RNG)
    assert [score.cost for score in policy.scores(replicas, prompt(0))] == [0, 1]
