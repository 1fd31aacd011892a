"""A worker's place among its siblings, as its parent hands it down: open files, and a number."""

import mmap
import os
import tempfile
from dataclasses import astuple, dataclass
from typing import Self

from typing_extensions import override

from gateway.clock import SystemClock
from gateway.telemetry.cells import SLOT_BYTES, SharedCells
from gateway.telemetry.recent import Recent


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker inherits; the first five are open files.

    `parent` ends when the parent does, `counts` is the memory of the metrics, `stories` that of
    recent calls, and what is written to `serves` says that this worker has come to serve;
    `number` is this worker's, from 0, and `workers` how many serve together.
    """

    listener: int
    parent: int
    counts: int
    stories: int
    serves: int
    number: int
    workers: int

    @classmethod
    def read(cls, text: str) -> Self:
        """From the command line."""
        return cls(*map(int, text.split(":")))

    @override
    def __str__(self) -> str:
        return ":".join(str(value) for value in astuple(self))

    @property
    def files(self) -> tuple[int, ...]:
        return (self.listener, self.parent, self.counts, self.stories, self.serves)

    def cells(self) -> SharedCells:
        """Where this worker counts."""
        memory = memoryview(mmap.mmap(self.counts, 0))
        return SharedCells(memory, self.number, SystemClock.now_s)

    def recent(self) -> Recent | None:
        """Where this worker remembers calls; None: it does not."""
        if not os.fstat(self.stories).st_size:
            return None
        places = os.fstat(self.counts).st_size // SLOT_BYTES  # a spare one among them
        return Recent(mmap.mmap(self.stories, 0), self.number, places)


def shared_memory(size_bytes: int) -> int:
    """An open file of zeros that workers can share.

    It needs no name and no folder. Only what is used takes memory. Where the system has no such
    files it is a temporary one.
    """
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("gateway-workers")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.ftruncate(file, size_bytes)
    return file
