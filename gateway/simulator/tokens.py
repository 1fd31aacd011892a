"""A stand-in tokenizer: reversible, about four bytes a token, blind to characters.

A character of several bytes may be split over two tokens, as byte-level BPE does, so text is
held back until it is whole. An id is its bytes read as a number behind their length, so ids say
everything and no vocabulary is needed.
"""

import codecs
import re
from collections.abc import Iterable

_PIECES = re.compile(rb" ?[A-Za-z]{1,6}|[\s\S]{1,3}")


def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text; half a surrogate pair, which no text can hold, counts as a "?"."""
    return encode_bytes(text.encode(errors="replace"))


def encode_bytes(raw: bytes) -> tuple[int, ...]:
    """Token ids of bytes, which may begin or end within a character."""
    return tuple(int.from_bytes(bytes([len(piece)]) + piece) for piece in _PIECES.findall(raw))


def token_bytes(token: int) -> bytes:
    """The bytes behind an id; empty for an id that is none."""
    raw = token.to_bytes(max(1, (token.bit_length() + 7) // 8)) if token > 0 else b""
    return raw[1:] if raw and raw[0] == len(raw) - 1 else b""


def decode(tokens: Iterable[int]) -> str:
    """The text behind ids."""
    return b"".join(map(token_bytes, tokens)).decode(errors="replace")


class Detokenizer:
    """Text as it grows, whole characters only, and nothing that may become a stop string.

    `holds_always`: as much is held back as a stop string may need, whatever it says; that is
    vLLM's way, while others look whether it begins one.
    """

    def __init__(self, stops: tuple[str, ...] = (), *, holds_always: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._always_held = max(map(len, stops), default=1) - 1 if holds_always else 0
        self._whole = ""
        self._held = ""
        self.hit: str | None = None

    def feed(self, token: int, *, last: bool = False) -> str:
        """The text that may be shown now. `hit` is the stop string that ended it, if one did."""
        self._whole += self._decoder.decode(token_bytes(token), last)
        if self._decoder.getstate()[0]:
            return ""  # engines wait until the text of all tokens is whole
        self._held, self._whole = self._held + self._whole, ""
        for stop in self._stops:
            at = self._held.find(stop)
            if at >= 0:
                self.hit = stop
                shown, self._held = self._held[:at], ""
                return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) if last else max(0, len(self._held) - max(keep, self._always_held))
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
