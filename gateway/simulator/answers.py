"""What a simulated engine says: the next token follows from all bytes before it, and the seed.

So an answer that is cut and continued elsewhere, from token ids or from text, goes on with the
very same words, as greedy decoding does on real engines: also when it was cut within a word.
"""

import zlib
from collections.abc import Iterable, Iterator

from gateway.simulator.tokens import encode_bytes, token_bytes

_SENTENCE = (
    "the gateway keeps every stream alive while engines come and go because a request "
    "that has begun must end in a whole answer or in one honest error so it reads routes "
    "counts relays retries resumes and settles each call exactly once "
)
_WORDS = tuple(f" {word}".encode() for word in _SENTENCE.split())
_UNICODE = tuple(
    word.encode()
    for word in ("é", "ü", "日本", "語", "🚀", "👩‍🚀", "ß", "Ω", "“ok”", "naïve")  # as meant
)
_LONGEST = max(map(len, _WORDS + _UNICODE))


class Speaker:
    """One answer, token by token."""

    def __init__(self, prompt: Iterable[int], *, seed: int, unicode: bool) -> None:
        self._unicode = unicode
        self._state = zlib.crc32(str(seed).encode())  # of everything before the tail
        self._tail = b""
        for token in prompt:
            self._hear(token)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        token = encode_bytes(self._rest_of_word())[0]
        self._hear(token)
        return token

    def _hear(self, token: int) -> None:
        heard = self._tail + token_bytes(token)
        cut = max(0, len(heard) - _LONGEST)
        self._state = zlib.crc32(heard[:cut], self._state)
        self._tail = heard[cut:]

    def _rest_of_word(self) -> bytes:
        """What the last bytes began, if they began a word of ours; else a new word."""
        state = self._state
        for start in range(len(self._tail)):
            begun, word = self._tail[start:], self._word(state)
            if len(begun) < len(word) and word.startswith(begun):
                return word[len(begun) :]
            state = zlib.crc32(self._tail[start : start + 1], state)
        return self._word(state)

    def _word(self, state: int) -> bytes:
        if self._unicode and state % 3 == 0:
            return _UNICODE[state // 3 % len(_UNICODE)]
        return _WORDS[state % len(_WORDS)]
