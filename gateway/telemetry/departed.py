"""Which replicas' series are to be given up. Pure.

Pods have new names for ever, so what was counted for those that are gone cannot be kept for ever:
for half an hour, long enough for every scraper, or until too many have gone since.
"""

from collections.abc import Collection
from typing import Final

from gateway.telemetry.cells import Labels

KEEP_S: Final = 1800.0
MOST: Final = 500


class Departed:
    """Remembers since when each has been gone."""

    def __init__(self, keep_s: float = KEEP_S, most: int = MOST) -> None:
        self._keep_s = keep_s
        self._most = most
        self._since_s: dict[Labels, float] = {}

    def due(
        self, counted: Collection[Labels], present: Collection[Labels], now_s: float
    ) -> set[Labels]:
        """Those to give up now, of all that something was counted for; the longest gone first."""
        gone = [route for route in counted if route not in present]
        self._since_s = {route: self._since_s.get(route, now_s) for route in gone}
        by_age = sorted(gone, key=lambda route: self._since_s[route])
        surplus = max(0, len(by_age) - self._most)
        return {
            route
            for number, route in enumerate(by_age)
            if number < surplus or now_s - self._since_s[route] >= self._keep_s
        }
