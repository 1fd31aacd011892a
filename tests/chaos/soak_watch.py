"""Memory and descriptors of the worker that lives longest."""

import os
import statistics
from pathlib import Path

import anyio
from typing_extensions import override

from tests.support.child import children_of

_EVERY_S = 1.0
_WARM_UP = 0.4  # of all samples
_GROWTH = 1.05
_GROWTH_BYTES = 4 * 1024 * 1024  # what an allocator may do without anything being kept
_MORE_DESCRIPTORS = 40
_FEWEST = 30
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Samples of resident bytes and of open descriptors, once a second."""

    def __init__(self, parent: int) -> None:
        self.resident_bytes: list[int] = []
        self.descriptors: list[int] = []
        self._parent = parent
        self._worker = 0

    async def for_ever(self) -> None:
        while True:
            await anyio.sleep(_EVERY_S)
            self._worker = self._worker or children_of(self._parent)[0]
            self._look(Path(f"/proc/{self._worker}"))

    def _look(self, home: Path) -> None:
        pages = int((home / "statm").read_text().split()[1])
        self.resident_bytes.append(pages * _PAGE)
        self.descriptors.append(sum(1 for _ in (home / "fd").iterdir()))

    def mistakes(self) -> list[str]:
        """Whether either grew between the time after warming up and the end."""
        count = len(self.resident_bytes)
        if count < _FEWEST:
            return [f"only {count} samples: let it run for longer"]
        found = []
        early, late = _early_and_late(self.resident_bytes)
        if late > early * _GROWTH + _GROWTH_BYTES:
            found.append(f"memory grew from {early / 1e6:.1f} to {late / 1e6:.1f} MB")
        early, late = _early_and_late(self.descriptors)
        if late > early + _MORE_DESCRIPTORS:
            found.append(f"descriptors grew from {early:.0f} to {late:.0f}")
        return found

    @override
    def __str__(self) -> str:
        if not self.resident_bytes:
            return "nothing seen"
        return f"{self.resident_bytes[-1] / 1e6:.1f} MB, {self.descriptors[-1]} descriptors"


def _early_and_late(samples: list[int]) -> tuple[float, float]:
    """Medians of the first and the last third of what follows the warm-up."""
    warm = samples[int(len(samples) * _WARM_UP) :]
    third = max(1, len(warm) // 3)
    return statistics.median(warm[:third]), statistics.median(warm[-third:])
