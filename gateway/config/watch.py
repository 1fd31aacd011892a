"""Notice that the configuration file has changed, however it is replaced.

The folder is watched, not the file: editors and Kubernetes replace files by renaming, and a
ConfigMap swaps a symbolic link beside the file. What no event tells of, such as a change before
the watch began or behind a link to another folder, is found by looking again every few seconds.
SIGHUP asks for a reload by hand.

The watch waits in a thread, which a cancelled task would wait for in its turn: `stop` ends it
within a fifth of a second.
"""

import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
from watchfiles import awatch

_LOOK_AGAIN_MS = 5_000


def fingerprint(path: Path) -> bytes | None:
    """What the file holds now, in short; None when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None


async def file_changes(
    path: Path, known: bytes | None, stop: anyio.Event | None = None
) -> AsyncGenerator[None, None]:
    """Yield whenever the file's content is another. `known`: the fingerprint that serves now."""
    async for _ in awatch(
        path.parent,
        recursive=False,
        debounce=600,
        step=200,
        rust_timeout=_LOOK_AGAIN_MS,
        yield_on_timeout=True,
        stop_event=stop,
    ):
        now = fingerprint(path)
        if now != known:
            known = now
            yield
