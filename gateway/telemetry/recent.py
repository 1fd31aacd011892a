"""The last calls of every worker, in memory that all of them can read.

Each worker writes its own ring of entries and finds calls in all rings, so whoever is asked
knows them, and those of a worker that died are still there. An entry holds the call's log line
and its story, both as JSON; it is a place of fixed size, whose number is 0 while it is written.
"""

import mmap
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

import msgspec

from gateway.telemetry.request_line import RequestLine
from gateway.telemetry.told_story import StoryTold

ENTRY_BYTES: Final = 2048
_HEAD: Final = struct.Struct("=QII")
_NUMBER: Final = struct.Struct("=Q")
_ROOM_BYTES: Final = ENTRY_BYTES - _HEAD.size
_KEPT_TRIES: Final = 4
_KEPT_CHARACTERS: Final = 200

_encode: Final = msgspec.json.Encoder().encode


class Kept(NamedTuple):
    """One entry, as bytes of JSON."""

    line: bytes
    told: bytes


class Recent:
    """`memory` holds as many rings of entries as there are workers; ours is `worker`."""

    def __init__(self, memory: mmap.mmap, worker: int, workers: int) -> None:
        self._memory = memory
        self._size = len(memory) // ENTRY_BYTES // workers
        self._first = worker * self._size
        # a worker that takes another's place goes on where that one ended
        self._written = max(
            _NUMBER.unpack_from(memory, index * ENTRY_BYTES)[0]
            for index in range(self._first, self._first + self._size)
        )

    @classmethod
    def alone(cls, entries: int) -> Self:
        """For a process without siblings."""
        return cls(mmap.mmap(-1, entries * ENTRY_BYTES), 0, 1)

    def add(self, line: RequestLine, encoded: bytes, told: StoryTold) -> None:
        """Keep a call. What of it does not fit is left out; `encoded` is the line as JSON."""
        story = _encode(told)
        if len(encoded) + len(story) > _ROOM_BYTES:
            encoded, story = _shortened(line, told)
            if len(encoded) + len(story) > _ROOM_BYTES:
                return
        memory = self._memory
        number = self._written = self._written + 1
        start = (self._first + number % self._size) * ENTRY_BYTES
        _NUMBER.pack_into(memory, start, 0)
        entry = _HEAD.pack(0, len(encoded), len(story)) + encoded + story
        memory[start : start + len(entry)] = entry
        _NUMBER.pack_into(memory, start, number)

    def find(self, request_id: str) -> list[Kept]:
        """The calls with this id, in no order. It must be one that `x-request-id` may be."""
        wanted = b'"request_id":"%b"' % request_id.encode()
        found: dict[int, Kept] = {}
        at = self._memory.find(wanted)
        while at >= 0:
            index = at // ENTRY_BYTES
            kept = self._at(index)
            if kept is not None and wanted in kept.line:
                found[index] = kept
            at = self._memory.find(wanted, at + 1)
        return list(found.values())

    def __iter__(self) -> Iterator[Kept]:
        """All of them, in no order."""
        for index in range(len(self._memory) // ENTRY_BYTES):
            kept = self._at(index)
            if kept is not None:
                yield kept

    def _at(self, index: int) -> Kept | None:
        """None: nothing is there, or its writer is at it."""
        start = index * ENTRY_BYTES
        number, line_bytes, told_bytes = _HEAD.unpack_from(self._memory, start)
        if not number or line_bytes + told_bytes > _ROOM_BYTES:
            return None
        body = start + _HEAD.size
        both = self._memory[body : body + line_bytes + told_bytes]
        if _NUMBER.unpack_from(self._memory, start)[0] != number:
            return None
        return Kept(both[:line_bytes], both[line_bytes:])


def _shortened(line: RequestLine, told: StoryTold) -> tuple[bytes, bytes]:
    """Without most words of errors, and without tries in the middle."""
    cause = line.error_cause
    if cause is not None:
        line = msgspec.structs.replace(line, error_cause=cause[:_KEPT_CHARACTERS])
    tries = told.tries
    if len(tries) > _KEPT_TRIES:
        half = _KEPT_TRIES // 2
        tries = [*tries[:half], *tries[-half:]]
    short = StoryTold(
        tries=[
            msgspec.structs.replace(one, error=one.error and one.error[: _KEPT_CHARACTERS // 2])
            for one in tries
        ],
        queue_ms=told.queue_ms,
        left_out=len(told.tries) - len(tries),
    )
    return _encode(line), _encode(short)
