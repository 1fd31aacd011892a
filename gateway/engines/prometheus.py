"""Read the few samples we need out of an engine's Prometheus text, quickly and forgivingly."""

import math
import re
from collections.abc import Iterable

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Samples:
    """The samples of some metrics, by name. Lines without a finite number are passed over."""

    def __init__(self, text: bytes, names: Iterable[str]) -> None:
        wanted = frozenset(names)
        self._found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for name, labels, value in _SAMPLE.findall(text.decode(errors="replace")):
            if name not in wanted:
                continue
            try:
                number = float(value)
            except ValueError:
                continue
            if math.isfinite(number):
                self._found.setdefault(name, []).append((dict(_LABEL.findall(labels)), number))

    def total(self, *names: str) -> float | None:
        """The sum over all label sets of the first of these metrics that is there."""
        for name in names:
            if found := self._found.get(name):
                return sum(value for _, value in found)
        return None

    def largest(self, *names: str) -> float | None:
        """The largest value of the first of these metrics that is there."""
        for name in names:
            if found := self._found.get(name):
                return max(value for _, value in found)
        return None

    def labels(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Every label set of a metric with its value."""
        return self._found.get(name, [])
