"""The KV cache of a simulated engine: blocks, shared by prompts with a common beginning.

A full block is known by everything up to its end, as in vLLM's prefix cache. Blocks that nobody
uses stay until room is needed, the longest unused going first.
"""

from collections import OrderedDict
from collections.abc import Sequence

BLOCK_TOKENS = 16


class KvCache:
    """`capacity` in blocks."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._users: dict[int, int] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()

    @property
    def used_ratio(self) -> float:
        """The share of blocks that running requests hold, 0 to 1."""
        return self.used / self.capacity

    def hold(self, tokens: Sequence[int], more: int = 0) -> "Holding | None":
        """Room for a prompt and `more` tokens after it; None when there is none.

        What was cached need not be computed.
        """
        hashes = block_hashes(tokens)
        cached = 0
        for block in hashes:
            if block not in self._users and block not in self._unused:
                break
            cached += 1
        blocks = -(-max(1, len(tokens) + more) // BLOCK_TOKENS)
        revived = sum(block in self._unused for block in hashes[:cached])
        shared = cached - revived
        if self.used + blocks - shared > self.capacity:
            return None
        for block in hashes:
            self._unused.pop(block, None)
            self._users[block] = self._users.get(block, 0) + 1
        private = blocks - len(hashes)
        self.used += blocks - shared
        self._make_room()
        return Holding(hashes, private, min(cached * BLOCK_TOKENS, max(0, len(tokens) - 1)))

    def grow(self, holding: "Holding") -> bool:
        """One block more for a running request; False when there is no room."""
        if self.used >= self.capacity:
            return False
        self.used += 1
        holding.private_blocks += 1
        self._make_room()
        return True

    def release(self, holding: "Holding") -> None:
        """Give a request's blocks back; those of its prompt stay cached while there is room.

        The end of a prompt is forgotten before its beginning: a beginning serves alone.
        """
        self.used -= holding.private_blocks
        for block in reversed(holding.hashes):
            self._users[block] -= 1
            if not self._users[block]:
                del self._users[block]
                self._unused[block] = None
                self.used -= 1

    def _make_room(self) -> None:
        while self.used + len(self._unused) > self.capacity:
            self._unused.popitem(last=False)


class Holding:
    """The blocks of one request. `cached_tokens` of its prompt were there already."""

    __slots__ = ("cached_tokens", "hashes", "private_blocks")

    def __init__(self, hashes: Sequence[int], private_blocks: int, cached_tokens: int) -> None:
        self.hashes = hashes
        self.private_blocks = private_blocks
        self.cached_tokens = cached_tokens


def block_hashes(tokens: Sequence[int]) -> list[int]:
    """One hash for each full block, which stands for all tokens up to its end."""
    hashes: list[int] = []
    before = 0
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        before = hash((before, tuple(tokens[start : start + BLOCK_TOKENS])))
        hashes.append(before)
    return hashes
