"""Which callers have series of their own: the first ones, of all workers together.

Keys come and go, and each would be new series for ever, so the number is bounded and the rest is
told as `other`. Who has been let in is written where siblings read it: all workers show a caller
under the same name. Two that meet new callers in the same instant may both let theirs in, so
there can be as many more as there are workers.
"""

from typing import Final

from gateway.telemetry.cells import Cells

OTHER: Final = "other"
NOBODY: Final = ""
_LET_IN: Final = "callers"


class Callers:
    """`most`: how many have a name of their own."""

    def __init__(self, cells: Cells, most: int) -> None:
        self._cells = cells
        self._most = most
        self._named = {NOBODY: NOBODY}
        self._let_in: set[str] = set()
        self._is_full = False

    def shown(self, caller: str) -> str:
        """The name under which a caller is told. `NOBODY`: whoever had no valid key."""
        shown = self._named.get(caller)
        return self._decide(caller) if shown is None else shown

    def look_again(self) -> None:
        """Siblings may have let in more; once a second will do."""
        self._is_full = False

    def _decide(self, caller: str) -> str:
        if not self._is_full:
            self._let_in = {labels[0] for labels, _ in self._cells.each(_LET_IN, 1)}
            self._is_full = len(self._let_in) >= self._most
        if caller not in self._let_in:
            if self._is_full:
                return OTHER
            self._cells.cell(_LET_IN, (caller,), 1)
        self._named[caller] = caller
        return caller
