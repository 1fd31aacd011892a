"""What a routing policy sees of a replica: figures of one moment, not to be changed."""

from collections.abc import Sequence
from typing import Protocol


class ReplicaView(Protocol):
    """One replica that may be picked.

    `load` is requests there, our own and those of others; `turns` how often it was picked,
    divided by its weight; `kv_cache_used_ratio` 0 to 1, None when unknown. `prefilling`: blocks of
    prompts that it has yet to compute; `sent`: those that it was sent to compute of late, by this
    process; `is_shared`: whether others send there, too. `seed`: a number of its own, the same in
    every process.
    """

    @property
    def name(self) -> str: ...

    @property
    def weight(self) -> float: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def load(self) -> float: ...

    @property
    def turns(self) -> float: ...

    @property
    def kv_cache_used_ratio(self) -> float | None: ...

    @property
    def prefilling(self) -> float: ...

    @property
    def sent(self) -> float: ...

    @property
    def is_shared(self) -> bool: ...

    @property
    def seed(self) -> int: ...

    def known_blocks(self, blocks: Sequence[int]) -> int:
        """How many blocks of a prompt, from its beginning, are likely in its KV cache."""
        ...

    def has_seen(self, key: int) -> bool:
        """Whether we sent a prompt there that has this key."""
        ...
