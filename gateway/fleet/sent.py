"""What a replica was given to compute of late, by this process. No I/O.

Engines' figures are seconds old, and what others send is not known at all; but if every process
spreads what it sends evenly, so is the sum.
"""

from typing import Final

# how much of it counts after one more call to any of the replicas: the last thirty or so do
FADE: Final = 0.97


class Calls:
    """How many calls with a prompt the replicas of a variant have had, together."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Sent:
    """Blocks of prompts for one replica. `calls` is shared with its siblings."""

    __slots__ = ("_blocks", "_since", "calls")

    def __init__(self) -> None:
        self.calls = Calls()
        self._blocks = 0.0
        self._since = 0

    @property
    def blocks(self) -> float:
        """What was sent, the older the less."""
        faded: float = FADE ** (self.calls.count - self._since)
        return self._blocks * faded

    def add(self, blocks: int) -> None:
        """A prompt was sent of which so many blocks are to be computed."""
        self.calls.count += 1
        self._blocks = self.blocks + blocks
        self._since = self.calls.count

    def share(self, calls: Calls) -> None:
        """Fade with these calls from now on."""
        self._blocks = self.blocks
        self.calls = calls
        self._since = calls.count
