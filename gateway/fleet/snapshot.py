"""What a routing policy sees of a replica: figures of one moment, not to be changed."""

from typing import Protocol


class ReplicaView(Protocol):
    """One replica that may be picked.

    `load` is requests there, our own and those of others; `turns` how often it was picked,
    divided by its weight; `kv_cache_used_ratio` 0 to 1, None when unknown.
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
