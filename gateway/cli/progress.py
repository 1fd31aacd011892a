"""Progress bars of long commands: on stderr, and only on a terminal."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


class Bar:
    """One bar for each part of the work, the newest at the bottom."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None
        self._failed = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, what: str, total: int | None, done: int = 0) -> None:
        """A part of the work. `total` None: nobody knows."""
        self._failed = 0
        self._task = self._progress.add_task(what, total=total, completed=done, note="")

    def advance(self, *, failed: bool = False) -> None:
        """One more is done."""
        if self._task is None:
            return
        self._failed += failed
        note = f"{self._failed:,} failed" if self._failed else ""
        self._progress.update(self._task, advance=1, note=note)
