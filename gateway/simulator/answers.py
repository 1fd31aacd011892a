"""What a simulated engine says: the next token follows from all bytes before it, and the seed.

So an answer that is cut and continued elsewhere, from token ids or from text, goes on with the
very same words, as greedy decoding does on real engines.
"""

import zlib
from collections.abc import Iterable, Iterator

from gateway.simulator.tokens import encode, token_bytes

_SENTENCE = (
    "the gateway keeps every stream alive while engines come and go because a request "
    "that has begun must end in a whole answer or in one honest error so it reads routes "
    "counts relays retries resumes and settles each call exactly once "
)
_WORDS = tuple(_SENTENCE.split())
_UNICODE = ("é", "ü", "日本", "語", "🚀", "👩‍🚀", "ß", "Ω", "“ok”", "naïve")  # as meant


class Speaker:
    """One answer, token by token."""

    def __init__(self, prompt: Iterable[int], *, seed: int, unicode: bool) -> None:
        self._state = zlib.crc32(str(seed).encode())
        for token in prompt:
            self._hear(token)
        self._unicode = unicode
        self._pending: list[int] = []

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if not self._pending:
            self._pending = list(encode(self._word()))
        token = self._pending.pop(0)
        self._hear(token)
        return token

    def _hear(self, token: int) -> None:
        self._state = zlib.crc32(token_bytes(token), self._state)

    def _word(self) -> str:
        if self._unicode and self._state % 3 == 0:
            return _UNICODE[self._state // 3 % len(_UNICODE)]
        return " " + _WORDS[self._state % len(_WORDS)]
