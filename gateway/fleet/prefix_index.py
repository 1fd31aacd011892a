"""Which beginnings of prompts a replica is likely to have in its KV cache. No I/O.

We remember the blocks of the prompts that we sent there, as many as its cache has room for; the
longest unused go first, and of a prompt its end before its beginning, as engines do it. It is an
estimate: other gateway processes send there, too, and room for answers is taken as well.

Source: the approximate prefix caches of SGLang's router and of the Gateway API Inference Extension.
"""

from collections import OrderedDict
from collections.abc import Sequence

from gateway.wire.prefix import Prefix

# for engines that do not say how large their cache is: 512,000 tokens at 128 a block
DEFAULT_BLOCKS = 4000


class PrefixIndex:
    """At most `capacity` block hashes of one replica."""

    __slots__ = ("_blocks", "capacity")

    def __init__(self, capacity: int = DEFAULT_BLOCKS) -> None:
        self.capacity = capacity
        self._blocks: OrderedDict[int, None] = OrderedDict()

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
        return key in self._blocks

    def add(self, prefix: Prefix) -> None:
        """A prompt was sent there."""
        known = self._blocks
        for block in (*reversed(prefix.blocks), prefix.own_key, prefix.shared_key):
            known[block] = None
            known.move_to_end(block)
        while len(known) > self.capacity:
            known.popitem(last=False)

    def clear(self) -> None:
        """The replica has lost its cache."""
        self._blocks.clear()
