"""One mirrored call, as people are told of it, and the last of them. No I/O."""

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

REMEMBERED: Final = 200
MAX_CHARACTERS: Final = 4096


class Side(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One of two answers. `text` is there where content is recorded, cut to MAX_CHARACTERS."""

    variant: str
    replica: str
    finish_reason: str | None = None
    completion_tokens: int | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    text: str | None = None


class Comparison(msgspec.Struct, frozen=True):
    """`first_difference` in characters. `time` is in seconds since 1970."""

    time: float
    request_id: str
    model: str
    shadow: str
    operation: str
    stream: bool
    greedy: bool
    same: bool
    common_prefix_ratio: float | None
    first_difference: int | None
    cosine: float | None
    answers: dict[str, Side]


class Comparisons:
    """The last ones of this worker."""

    def __init__(self) -> None:
        self._known: deque[Comparison] = deque(maxlen=REMEMBERED)

    def add(self, one: Comparison) -> None:
        self._known.append(one)

    def __iter__(self) -> Iterator[Comparison]:
        """The newest first."""
        return reversed(self._known)
