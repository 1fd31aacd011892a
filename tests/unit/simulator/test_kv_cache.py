from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from gateway.simulator.kv_cache import BLOCK_TOKENS, Holding, KvCache, block_hashes

CAPACITY = 12


def prompt(*blocks: int, rest: int = 0) -> list[int]:
    """A prompt of these blocks, each filled with its number, and some tokens more."""
    return [block for block in blocks for _ in range(BLOCK_TOKENS)] + [99] * rest


class KvCacheUnderLoad(RuleBasedStateMachine):
    """Requests come, grow and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = KvCache(CAPACITY)
        self.held: list[tuple[Holding, int]] = []  # and how many blocks it needs

    @rule(
        blocks=st.lists(st.integers(0, 2), max_size=6),
        rest=st.integers(0, BLOCK_TOKENS - 1),
        more=st.integers(0, 40),
    )
    def hold(self, blocks: list[int], rest: int, more: int) -> None:
        tokens = prompt(*blocks, rest=rest)
        holding = self.cache.hold(tokens, more)
        if holding is None:
            return
        assert 0 <= holding.cached_tokens <= max(0, len(tokens) - 1)
        needed = -(-max(1, len(tokens) + more) // BLOCK_TOKENS)
        assert len(holding.hashes) + holding.private_blocks == needed
        self.held.append((holding, needed))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def grow(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.held) - 1))
        holding, needed = self.held[at]
        if self.cache.grow(holding):
            self.held[at] = holding, needed + 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        holding, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.cache.release(holding)

    @invariant()
    def it_never_holds_more_than_its_capacity(self) -> None:
        assert self.cache.used <= CAPACITY
        assert self.cache.used + len(self.cache._unused) <= CAPACITY
        assert 0 <= self.cache.used_ratio <= 1

    @invariant()
    def what_is_used_is_what_requests_hold_with_shared_blocks_counted_once(self) -> None:
        shared = {block for holding, _ in self.held for block in holding.hashes}
        private = sum(holding.private_blocks for holding, _ in self.held)
        assert self.cache.used == len(shared) + private

    @invariant()
    def a_block_is_used_or_unused(self) -> None:
        assert not set(self.cache._users) & set(self.cache._unused)

    @override
    def teardown(self) -> None:
        for holding, _ in self.held:
            self.cache.release(holding)
        assert self.cache.used == 0


TestKvCacheUnderLoad = KvCacheUnderLoad.TestCase


def held(cache: KvCache, tokens: list[int]) -> Holding:
    holding = cache.hold(tokens)
    assert holding is not None
    return holding


def test_a_prompt_that_was_there_before_is_cached_but_for_its_last_token() -> None:
    cache = KvCache(CAPACITY)
    cache.release(held(cache, prompt(1, 2)))
    assert held(cache, prompt(1, 2)).cached_tokens == 2 * BLOCK_TOKENS - 1


def test_only_a_common_beginning_is_cached() -> None:
    cache = KvCache(CAPACITY)
    held(cache, prompt(1, 2, 3))
    assert held(cache, prompt(1, 2, 7)).cached_tokens == 2 * BLOCK_TOKENS
    assert held(cache, prompt(7, 2, 3)).cached_tokens == 0


def test_a_running_prompt_is_shared_not_copied() -> None:
    cache = KvCache(CAPACITY)
    held(cache, prompt(1, 2))
    held(cache, prompt(1, 2))
    assert cache.used == 2


def test_the_longest_unused_is_forgotten_first() -> None:
    cache = KvCache(4)
    cache.release(held(cache, prompt(1, 1)))
    cache.release(held(cache, prompt(2, 2)))
    held(cache, prompt(3))
    assert held(cache, prompt(2, 2)).cached_tokens == 2 * BLOCK_TOKENS - 1


def test_the_end_of_a_prompt_is_forgotten_before_its_beginning() -> None:
    """Before, the beginning went first, and with it the use of all that followed.

    vLLM frees the blocks of a request in reverse order for the same reason.
    """
    cache = KvCache(3)
    cache.release(held(cache, prompt(1, 2, 3)))
    other = held(cache, prompt(7))
    cache.release(other)
    assert held(cache, prompt(1, 2)).cached_tokens == 2 * BLOCK_TOKENS - 1


def test_there_is_no_room_for_more_than_the_capacity() -> None:
    cache = KvCache(2)
    first = held(cache, prompt(1, rest=1))
    assert cache.hold(prompt(2)) is None
    assert not cache.grow(first)


@given(st.lists(st.integers(0, 3), max_size=70), st.lists(st.integers(0, 3), max_size=70))
def test_hashes_are_equal_exactly_as_far_as_the_tokens_are(one: list[int], two: list[int]) -> None:
    for at, (left, right) in enumerate(zip(block_hashes(one), block_hashes(two), strict=False), 1):
        end = at * BLOCK_TOKENS
        assert (left == right) == (one[:end] == two[:end])
