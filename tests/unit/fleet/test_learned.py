from hypothesis import given
from hypothesis import strategies as st

from gateway.engines.adapter import Load
from gateway.fleet.learned import START, Learned


def load(running: float, waiting: float = 0, used: float | None = None) -> Load:
    return Load(running=running, waiting=waiting, kv_cache_used_ratio=used)


def test_it_begins_with_what_fits_into_the_cache() -> None:
    assert Learned(Load(kv_cache_tokens=16_384)).target == 64
    assert Learned(Load(kv_cache_tokens=10)).target == 1
    assert Learned(Load(kv_cache_tokens=10_000_000)).target == START
    assert Learned(Load()).target == START


def test_an_engine_that_is_full_twice_shows_its_size() -> None:
    learned = Learned(Load())
    learned.probed(load(32, 100), 132, was_reached=False)
    assert learned.target == START
    learned.probed(load(32, 90), 122, was_reached=False)
    assert learned.target == 34


def test_requests_that_have_just_come_are_no_proof() -> None:
    learned = Learned(Load())
    learned.probed(load(0, 50), 50, was_reached=False)
    learned.probed(load(50, 0), 50, was_reached=False)
    learned.probed(load(0, 50), 50, was_reached=False)
    assert learned.target == START


def test_only_our_part_of_what_runs_is_ours() -> None:
    learned = Learned(Load())
    for _ in range(2):
        learned.probed(load(32, 32), 16, was_reached=False)
    assert learned.target == 9


def test_the_sliver_that_waits_is_wanted() -> None:
    learned = Learned(Load())
    for _ in range(2):
        learned.probed(load(64, 64), 128, was_reached=False)
    assert learned.target == 68
    for _ in range(5):
        learned.probed(load(64, 4), 68, was_reached=True)
    assert learned.target == 68


def test_it_grows_when_it_is_reached_and_nothing_waits() -> None:
    learned = Learned(Load(kv_cache_tokens=2048))
    assert learned.target == 8
    learned.probed(load(8), 8, was_reached=False)
    assert learned.target == 8
    learned.probed(load(8), 8, was_reached=True)
    assert learned.target == 10
    learned.probed(load(8, used=0.99), 8, was_reached=True)
    assert learned.target == 10


def test_a_refusal_bounds_it() -> None:
    learned = Learned(Load())
    learned.refused(12)
    assert learned.target == 12
    learned.refused(0)
    assert learned.target == 1


@given(
    size=st.integers(1, 300),
    start=st.integers(1, 200_000),
    others=st.integers(0, 50),
)
def test_under_steady_pressure_it_finds_the_engines_size(
    size: int, start: int, others: int
) -> None:
    """An engine that runs `size` at once, ours and others' in equal parts of what is there."""
    learned = Learned(Load(kv_cache_tokens=start))
    for _ in range(120):
        ours = learned.target
        there = ours + others
        running = min(size, there)
        learned.probed(load(running, there - running), ours, was_reached=True)
    there = learned.target + others
    assert there >= min(size, others + 1)
    sliver = max(1, size // 16)
    assert learned.target <= max(1.0, size * 1.25 + 2 * sliver + 2)
