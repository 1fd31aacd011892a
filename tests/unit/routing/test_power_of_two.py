import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.least_loaded import cost
from gateway.routing.power_of_two import PowerOfTwo
from gateway.wire.prefix import NO_PREFIX
from tests.support.configs import AView
from tests.support.views import views


@given(views(min_size=2), st.integers())
def test_the_busiest_is_never_picked(replicas: list[AView], seed: int) -> None:
    busiest = max(map(cost, replicas))
    picked = PowerOfTwo().pick(replicas, NO_PREFIX, random.Random(seed))
    assert cost(picked) < busiest or [cost(r) for r in replicas].count(busiest) > 1


@given(views(min_size=2, max_size=2), st.integers())
def test_of_two_it_is_the_less_loaded(replicas: list[AView], seed: int) -> None:
    picked = PowerOfTwo().pick(replicas, NO_PREFIX, random.Random(seed))
    assert cost(picked) == min(map(cost, replicas))


def test_everybody_but_the_busiest_is_picked_at_some_time() -> None:
    replicas = [AView(f"r{n}", load=n) for n in range(5)]
    rng = random.Random(0)
    picked = {PowerOfTwo().pick(replicas, NO_PREFIX, rng).name for _ in range(500)}
    assert picked == {"r0", "r1", "r2", "r3"}
