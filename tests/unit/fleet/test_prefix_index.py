from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.prefix_index import MAX_KEYS, PrefixIndex
from gateway.wire.prefix import Prefix


def prefix(*blocks: int, own: int = -1) -> Prefix:
    return Prefix(blocks, shared_key=-2, own_key=own)


def test_what_was_sent_is_known_up_to_where_prompts_differ() -> None:
    index = PrefixIndex()
    index.add(prefix(1, 2, 3, 4))
    assert index.matched((1, 2, 3, 4, 5)) == 4
    assert index.matched((1, 2, 8, 9)) == 2
    assert index.matched((7, 2)) == index.matched(()) == 0


def test_it_knows_the_keys_of_what_was_sent() -> None:
    index = PrefixIndex()
    index.add(prefix(1, own=42))
    assert 42 in index
    assert 41 not in index


def test_the_end_of_a_prompt_is_forgotten_before_its_beginning() -> None:
    index = PrefixIndex(capacity=3)
    index.add(prefix(1, 2, 3, 4))
    assert index.matched((1, 2, 3, 4)) == 3


def test_the_longest_unused_is_forgotten_first() -> None:
    index = PrefixIndex(capacity=4)  # two prompts of two blocks
    for first in (10, 20, 10, 30):
        index.add(prefix(first, first + 1, own=-first))
    assert index.matched((20, 21)) == 0
    assert index.matched((10, 11)) == index.matched((30, 31)) == 2


def test_where_something_was_sent_is_remembered_longer_than_its_blocks() -> None:
    index = PrefixIndex(capacity=2)
    index.add(prefix(1, 2, own=-1))
    index.add(prefix(3, 4, own=-3))
    assert index.matched((1, 2)) == 0
    assert -1 in index
    for own in range(1, MAX_KEYS):
        index.add(prefix(3, 4, own=own))
    assert -1 not in index


@given(
    st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12), max_size=20),
    st.integers(1, 20),
)
def test_it_never_holds_more_than_it_may(prompts: list[list[int]], capacity: int) -> None:
    index = PrefixIndex(capacity)
    for blocks in prompts:
        index.add(prefix(*blocks))
        assert len(index) <= capacity
        assert 0 <= index.matched(blocks) <= len(blocks)


def test_a_replica_that_started_anew_knows_nothing() -> None:
    index = PrefixIndex()
    index.add(prefix(1, 2))
    index.clear()
    assert index.matched((1, 2)) == len(index) == 0
    assert -1 not in index
