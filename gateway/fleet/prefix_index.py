"""Which beginnings of prompts a replica is likely to have in its KV cache. No I/O.

We remember the blocks of the prompts that we sent there, as many as its cache has room for; the
longest unused go first, and of a prompt its end before its beginning, as engines do it. It is an
estimate: other gateway processes send there, too, and room for answers is taken as well.

Source: the approximate prefix caches of SGLang's router and of the Gateway API Inference Extension.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gateway.wire.prefix import Prefix

# for engines that do not say how large their cache is: 512,000 tokens at 128 a block
DEFAULT_BLOCKS = 4000
# conversations and system prompts whose place is remembered longer than their blocks: so what has
# been evicted is computed again where it was, and not a second time elsewhere
MAX_KEYS = 4000


class PrefixIndex:
    """At most `capacity` block hashes of one replica, and the keys of what was sent there."""

    __slots__ = ("_blocks", "_keys", "capacity")

    def __init__(self, capacity: int = DEFAULT_BLOCKS) -> None:
        self.capacity = capacity
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._keys: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def matched(self, blocks: Sequence[int]) -> int:
        """How many of a prompt's blocks are here, from its beginning on.

        Beginnings outlive ends, so the border can be looked for by halves.
        """
        known = self._blocks
        low, high = 0, len(blocks)
        if not high or blocks[0] not in known:
            return 0
        while low < high:
            middle = (low + high + 1) // 2
            if blocks[middle - 1] in known:
                low = middle
            else:
                high = middle - 1
        return low

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def add(self, prefix: Prefix) -> None:
        """A prompt was sent there."""
        _remember(self._blocks, reversed(prefix.blocks), self.capacity)
        _remember(self._keys, (prefix.own_key, prefix.shared_key), MAX_KEYS)

    def clear(self) -> None:
        """The replica has lost its cache."""
        self._blocks.clear()
        self._keys.clear()


def _remember(known: OrderedDict[int, None], new: Iterable[int], most: int) -> None:
    for one in new:
        known[one] = None
        known.move_to_end(one)
    while len(known) > most:
        known.popitem(last=False)
