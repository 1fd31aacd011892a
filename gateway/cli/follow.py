"""The lines of a file that grows, as `tail -F` follows it: over rotation and truncation."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

LONGEST_BYTES: Final = 1024 * 1024
_EVERY_S: Final = 0.25


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Until its end. A line that is too long comes in pieces."""
    while line := stream.readline(LONGEST_BYTES):
        yield line


def followed(path: Path, sleep: Callable[[float], object]) -> Iterator[bytes | None]:
    """Each whole line; None whenever the end is reached for now. Without an end.

    Raises OSError when the file is not there at first; later it is waited for.
    """
    stream: BinaryIO = path.open("rb")
    begun = b""
    try:
        while True:
            for piece in lines_of(stream):
                begun += piece
                if begun.endswith(b"\n") or len(begun) >= LONGEST_BYTES:
                    yield begun
                    begun = b""
            yield None
            sleep(_EVERY_S)
            other = _replaced(path, stream)
            if other is not None:
                stream.close()
                stream, begun = other, b""
            elif os.fstat(stream.fileno()).st_size < stream.tell():
                stream.seek(0)
                begun = b""
    finally:
        stream.close()


def _replaced(path: Path, stream: BinaryIO) -> BinaryIO | None:
    """The file that has taken the place of this one, once nothing is left to read of it."""
    mine = os.fstat(stream.fileno())
    try:
        now = path.stat()
        if (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino):
            return None
        return None if stream.tell() < mine.st_size else path.open("rb")
    except OSError:
        return None
