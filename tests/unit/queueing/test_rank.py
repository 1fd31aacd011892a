import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.queueing.counters import cost
from gateway.queueing.rank import Rank, Waiter


def a_waiter(rank: Rank, caller: str, tokens: float = 100, weight: float = 1) -> Waiter:
    tally = rank.counters.of(caller, weight)
    return Waiter(caller, tally, "interactive", tokens)


def joined(rank: Rank, *callers: str, tokens: float = 100) -> list[Waiter]:
    waiters = [a_waiter(rank, caller, tokens) for caller in callers]
    for waiter in waiters:
        rank.join(waiter)
    return waiters


def order(rank: Rank) -> str:
    told = ""
    while len(rank):
        told += rank.next().caller
    return told


def test_callers_take_turns_however_many_calls_they_have() -> None:
    rank = Rank()
    joined(rank, *"aaaaaabb")
    assert order(rank) == "ababaaaa"


def test_of_one_caller_the_first_call_goes_first() -> None:
    rank = Rank()
    first, second = joined(rank, "a", "a")
    assert rank.next() is first
    assert rank.next() is second


def test_a_weight_is_a_share() -> None:
    rank = Rank()
    for _ in range(30):
        rank.join(a_waiter(rank, "a", weight=3))
        rank.join(a_waiter(rank, "b"))
    told = "".join(rank.next().caller for _ in range(24))
    assert told.count("a") == 18


def test_who_leaves_is_not_charged_and_leaves_once() -> None:
    rank = Rank()
    one, two = joined(rank, "a", "b")
    assert rank.leave(one)
    assert not rank.leave(one)
    assert one.tally.served == 0
    assert list(rank) == [two]
    assert len(rank) == 1


def test_a_newcomer_is_next_but_has_no_credit() -> None:
    rank = Rank()
    joined(rank, *"a" * 50)
    for _ in range(20):
        rank.next()
    joined(rank, *"bbb")
    # both are level at first: one is in turn, then the other
    assert sorted(rank.next().caller + rank.next().caller) == ["a", "b"]


@given(
    backlog=st.lists(st.sampled_from("abc"), max_size=40),
    costs=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 50), max_size=4),
)
def test_as_many_are_before_a_call_as_are_said_to_be(
    backlog: list[str], costs: dict[str, int]
) -> None:
    """Where all calls of a caller are alike the forecast is right to one call for each caller."""
    rank = Rank()
    for caller in backlog:
        tokens = costs.get(caller, 10)
        waiter = a_waiter(rank, caller, tokens)
        waiter.tally.usual_cost = tokens
        rank.join(waiter)
    newcomer = a_waiter(rank, "d", costs.get("d", 10))
    newcomer.tally.usual_cost = newcomer.cost
    said = rank.ahead_of(newcomer)
    rank.join(newcomer)
    before = 0
    while rank.next() is not newcomer:
        before += 1
    assert abs(said - before) <= len(set(backlog))


@given(
    weights=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    places=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_callers_that_always_wait_are_served_alike(
    weights: tuple[int, int], places: int, seed: int
) -> None:
    """VTC's bound: the tokens served to two callers, for their weight, never lie further apart
    than what two calls and the calls in the engine may take, whatever was predicted."""
    rng = random.Random(seed)
    most = 1000.0
    rank = Rank()
    served = [0.0, 0.0]
    running: list[tuple[Waiter, float]] = []
    for index, caller in enumerate("ab"):
        for _ in range(3):
            rank.join(a_waiter(rank, caller, rng.uniform(1, most), weights[index]))
    for _ in range(300):
        while len(running) < places:
            waiter = rank.next()
            index = "ab".index(waiter.caller)
            rank.join(a_waiter(rank, waiter.caller, rng.uniform(1, most), weights[index]))
            running.append((waiter, rng.uniform(1, most)))
        waiter, true = running.pop(rng.randrange(len(running)))
        waiter.tally.settle(waiter.cost, true, 0)
        served["ab".index(waiter.caller)] += cost(true, 0)
        apart = abs(served[0] / weights[0] - served[1] / weights[1])
        assert apart <= (2 + 2 * places) * most / min(weights)


def test_the_longest_for_its_weight_is_known() -> None:
    rank = Rank()
    assert rank.longest() is None
    joined(rank, *"aab")
    last, *others = (a_waiter(rank, "c", weight=10) for _ in range(4))
    for waiter in (*others, last):
        rank.join(waiter)
    longest = rank.longest()
    assert longest is not None
    assert longest.caller == "a"
    assert rank.length_of(longest) == 2
    assert rank.length_of(last) == 0.4
    assert rank.length_of(a_waiter(rank, "new"), more=1) == 1
