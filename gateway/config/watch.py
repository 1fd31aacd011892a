"""Notice that the configuration file has changed, however it is replaced.

The folder is watched, not the file: editors and Kubernetes replace files by renaming, and a
ConfigMap swaps a symbolic link beside the file. SIGHUP asks for a reload by hand.
"""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import awatch


def fingerprint(path: Path) -> bytes | None:
    """What the file holds now, in short; None when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None


async def file_changes(path: Path) -> AsyncIterator[None]:
    """Yield whenever the file's content has changed."""
    known = fingerprint(path)
    async for _ in awatch(path.parent, recursive=False, debounce=600, step=200):
        now = fingerprint(path)
        if now != known:
            known = now
            yield
