"""Which text format whoever scrapes wants: Prometheus' own, or OpenMetrics. Pure.

Only OpenMetrics has exemplars. Whoever names it before, or likes it better than, plain text gets
it; whoever names neither gets Prometheus' format.

Source: RFC 9110, Accept; OpenMetrics 1.0, content negotiation; Prometheus 3, scrape protocols.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final


class Format(StrEnum):
    """A text format, as its content type."""

    PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


_KINDS: Final = {
    ("application/openmetrics-text", "1.0.0"): Format.OPENMETRICS,
    ("application/openmetrics-text", ""): Format.OPENMETRICS,
    ("text/plain", "0.0.4"): Format.PROMETHEUS,
    ("text/plain", ""): Format.PROMETHEUS,
}


def wanted(accept: str | None) -> Format:
    """What to answer to this `Accept` header; None: there was none."""
    best, best_quality = Format.PROMETHEUS, 0.0
    for kind, quality in _ranges(accept or ""):
        if quality > best_quality:
            best, best_quality = kind, quality
    return best


def _ranges(accept: str) -> Iterator[tuple[Format, float]]:
    """The formats that we have, and how much each is wanted."""
    for given in accept.split(","):
        name, *parameters = (part.strip().lower() for part in given.split(";"))
        pairs = dict(one.partition("=")[::2] for one in parameters)
        kind = _KINDS.get((name, pairs.get("version", "").strip('"')))
        if kind is not None:
            yield kind, _quality(pairs.get("q", "1"))


def _quality(text: str) -> float:
    """0 for what is no quality."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
