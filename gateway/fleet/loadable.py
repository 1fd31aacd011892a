"""Which adapters a replica has, may be told to load, and can spare. Pure.

What the engine lists counts; what we had it load counts at once. An engine that does not list its
adapters is taken to have them all. A load that failed is not tried again there for a while.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

# probes, which come every two seconds
_REFUSED_FOR: Final = 15


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter. `path`: where the engine finds it; None: it cannot be told to load it."""

    name: str
    path: str | None = None


class Loadable:
    """The adapters of one replica. `known` None: it has not been listed, or cannot be."""

    __slots__ = ("_in_use", "_ours", "_refused", "known")

    def __init__(self) -> None:
        self.known: frozenset[str] | None = None
        self._in_use: dict[str, int] = {}
        self._ours: dict[str, None] = {}  # that we had loaded, the least recently used first
        self._refused: dict[str, int] = {}

    def listed(self, names: Collection[str]) -> None:
        """What the engine says that it has; asked again at a steady pace."""
        self.known = frozenset(names)
        for name in [name for name in self._ours if name not in self.known]:
            del self._ours[name]  # somebody else unloaded it, or the engine started anew
        self._refused = {name: left - 1 for name, left in self._refused.items() if left > 1}

    def has(self, name: str) -> bool:
        return self.known is None or name in self.known

    def may_load(self, adapter: Adapter) -> bool:
        """Whether a call for it may go here, loading it first where it has to be."""
        if self.has(adapter.name):
            return True
        return adapter.path is not None and adapter.name not in self._refused

    def loaded(self, name: str) -> None:
        """It has been loaded for us."""
        self.known = (self.known or frozenset()) | {name}
        self._ours[name] = None
        self._refused.pop(name, None)

    def lost(self, name: str) -> None:
        """It is not there, whatever was listed."""
        self.known = (self.known or frozenset()) - {name}
        self._ours.pop(name, None)

    def refused(self, name: str) -> None:
        """It could not be loaded."""
        self._refused[name] = _REFUSED_FOR

    def begin(self, name: str) -> None:
        """A call that uses it begins."""
        self._in_use[name] = self._in_use.get(name, 0) + 1
        if name in self._ours:
            self._ours[name] = self._ours.pop(name)

    def end(self, name: str) -> None:
        left = self._in_use[name] - 1
        if left:
            self._in_use[name] = left
        else:
            del self._in_use[name]

    def spare(self, most: int) -> Sequence[str]:
        """What must be unloaded before one more is loaded, so that there are `most` of ours.

        The least recently used go first; one that a call uses now never does.
        """
        excess = len(self._ours) + 1 - most
        return [name for name in self._ours if name not in self._in_use][: max(0, excess)]


class Has(Protocol):
    """A replica, as far as its adapters and its room matter."""

    adapters: Loadable
    in_flight: int
    most: int


State = TypeVar("State", bound=Has)


def having(states: Sequence[State], adapter: Adapter) -> Sequence[State]:
    """The replicas where calls for this adapter may go.

    Those that have it, while one of them has room; else also those that may load it.
    """
    loaded = [one for one in states if one.adapters.has(adapter.name)]
    if adapter.path is None or any(one.in_flight < one.most for one in loaded):
        return loaded
    able = [one for one in states if one.adapters.may_load(adapter)]
    return [one for one in able if one.in_flight < one.most] or loaded or able
