import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.catalog import seed_of
from gateway.routing.rendezvous import mixed
from gateway.routing.split import drawn

KEYS = [mixed(n) for n in range(1, 20_001)]
RNG = random.Random(0)
A, B, C = (seed_of(name) for name in "abc")
WEIGHTS = st.floats(0.1, 100)


def share(of: int, *shares: tuple[float, int]) -> float:
    return Counter(drawn(shares, key, RNG) for key in KEYS)[of] / len(KEYS)


def test_shares_of_callers_converge_to_the_weights() -> None:
    assert 0.045 < share(1, (95, A), (5, B)) < 0.055
    assert 0.19 < share(0, (1, A), (1, B), (3, C)) < 0.21


def test_shares_of_calls_do_so_too_where_nobody_is_kept() -> None:
    rng = random.Random(1)
    found = Counter(drawn([(95, A), (5, B)], None, rng) for _ in range(20_000))
    assert 0.045 < found[1] / 20_000 < 0.055


def test_raising_a_canary_moves_only_the_difference_and_only_to_it() -> None:
    before = [drawn([(95, A), (5, B)], key, RNG) for key in KEYS]
    after = [drawn([(90, A), (10, B)], key, RNG) for key in KEYS]
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {(0, 1)}
    assert 0.04 < len(moved) / len(KEYS) < 0.06


@given(st.integers(0, (1 << 64) - 1), WEIGHTS, WEIGHTS, WEIGHTS, st.floats(1, 10))
def test_a_share_that_grows_never_gives_a_key_up(
    key: int, a: float, b: float, c: float, more: float
) -> None:
    before = drawn([(a, A), (b, B), (c, C)], key, RNG)
    after = drawn([(a, A), (b * more, B), (c, C)], key, RNG)
    assert after in (before, 1)


@given(st.integers(0, (1 << 64) - 1), WEIGHTS, WEIGHTS, WEIGHTS)
def test_who_goes_leaves_the_others_where_they_are(key: int, a: float, b: float, c: float) -> None:
    before = drawn([(a, A), (b, B), (c, C)], key, RNG)
    after = drawn([(a, A), (b, B), (0, C)], key, RNG)
    assert before in (after, 2)


@given(st.one_of(st.none(), st.integers(0, (1 << 64) - 1)))
def test_without_a_weight_nobody_comes(key: int | None) -> None:
    assert drawn([(0, A), (2, B)], key, RNG) == 1


def test_it_is_the_same_in_every_process_and_after_every_start() -> None:
    # written down once: a change would move every caller
    assert [drawn([(1, A), (1, B)], key, RNG) for key in KEYS[:16]] == (
        [1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1]
    )
