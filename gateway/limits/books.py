"""Who used what: sums by day, key and model."""

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.limits.store import Usage

FIELDS: Final = ("input_tokens", "output_tokens", "cached_tokens", "requests", "errors")
_MAX_DAYS = 32

Entry = tuple[str, str, str]


class Books:
    """Sums that are kept in this process. Old days are dropped, so that it stays small."""

    def __init__(self) -> None:
        self._sums: dict[Entry, list[int]] = {}
        self._days: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, usage: Usage) -> None:
        entry = (usage.day, usage.caller, usage.model)
        sums = self._sums.get(entry)
        if sums is None:
            sums = self._sums[entry] = [0] * len(FIELDS)
            self._see(usage.day)
        sums[0] += usage.input_tokens
        sums[1] += usage.output_tokens
        sums[2] += usage.cached_tokens
        sums[3] += usage.requests
        sums[4] += usage.errors

    def entries(self) -> Iterator[Usage]:
        """All sums, in the order in which they began."""
        for (day, caller, model), sums in self._sums.items():
            yield Usage(day, caller, model, *sums)

    def _see(self, day: str) -> None:
        if day in self._days:
            return
        self._days = sorted([*self._days, day])[-_MAX_DAYS:]
        oldest = self._days[0]
        for entry in [entry for entry in self._sums if entry[0] < oldest]:
            del self._sums[entry]


def in_range(
    entries: Iterable[Usage], first_day: str, last_day: str, caller: str | None
) -> list[Usage]:
    """The sums of these days (both included), of one key or of all, ordered."""
    chosen = [
        entry
        for entry in entries
        if first_day <= entry.day <= last_day and caller in (None, entry.caller)
    ]
    return sorted(chosen, key=lambda entry: (entry.day, entry.caller, entry.model))
