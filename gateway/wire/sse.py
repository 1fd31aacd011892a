"""Split a byte stream into server-sent events, and read the data of one. No I/O.

Events come out as the very bytes that went in, their closing blank line included, so whoever
relays them changes nothing. Line ends may be LF, CRLF or CR, cut anywhere.

Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream".
"""

import re

# A blank line: two line ends in a row, where CR LF is one line end. A CR behind another line end
# waits for the next byte, which may be its LF; behind a CR it does not, since whoever ends lines
# with CR sends nothing more until the next event: an LF after it belongs to the next event.
_END_OF_EVENT = re.compile(rb"(?:\r\n|\n)(?:\r\n|\n|\r(?=[^\n]))|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_KEEP_ALIVE = re.compile(rb"(?::[^\r\n]*|[\r\n])*")

DONE = b"data: [DONE]\n\n"


class EventTooLarge(Exception):
    """An event grew past the bound; the stream cannot be read on."""


class EventSplitter:
    """Cuts pieces of a stream into whole events, holding back at most `max_event_bytes`."""

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._carry = bytearray()
        self._at_start = True
        self._is_between_events = False
        self._has_cr = False  # somewhere in what is held back

    def feed(self, piece: bytes) -> list[bytes]:
        """The events completed by `piece`, oldest first. Raises EventTooLarge."""
        if self._at_start:
            piece = self._without_mark(piece)
            self._is_between_events = not self._at_start
        # nearly always a piece is one whole event
        if self._is_between_events and b"\r" not in piece:
            if piece.find(b"\n\n") == len(piece) - 2 >= 0:
                return [piece]
            *events, rest = piece.split(b"\n\n")
            if not rest:
                return [event + b"\n\n" for event in events]
        return self._cut(piece)

    def rest(self) -> bytes:
        """What came after the last whole event."""
        return bytes(self._carry)

    def _without_mark(self, piece: bytes) -> bytes:
        self._carry += piece
        head = bytes(self._carry)
        if len(head) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(head):
            return b""
        self._at_start = False
        self._carry.clear()
        return head.removeprefix(_BYTE_ORDER_MARK)

    def _cut(self, piece: bytes) -> list[bytes]:
        # the blank line may begin in the last three bytes that were held back
        searched = max(0, len(self._carry) - 3)
        self._carry += piece
        self._has_cr = self._has_cr or b"\r" in piece
        events: list[bytes] = []
        start = 0
        while (end := self._end_of_event(max(start, searched))) >= 0:
            events.append(bytes(self._carry[start:end]))
            start = end
        del self._carry[:start]
        if not self._carry:
            self._has_cr = False
        if len(self._carry) > self._max_event_bytes:
            raise EventTooLarge
        self._is_between_events = not self._carry and not self._at_start
        return events

    def _end_of_event(self, start: int) -> int:
        """Where the first event ends that does so behind `start`; -1 when none does."""
        if not self._has_cr:
            at = self._carry.find(b"\n\n", start)
            return at if at < 0 else at + 2
        match = _END_OF_EVENT.search(self._carry, start)
        return match.end() if match else -1


def is_keep_alive(piece: bytes) -> bool:
    """Whether all that these bytes say is comments and blank lines."""
    return _KEEP_ALIVE.fullmatch(piece) is not None


def event_data(event: bytes) -> bytes | None:
    """The `data` of one event, its lines joined by LF; None when it has none (a comment)."""
    lines = [
        line[5:].removeprefix(b" ") if line[4:5] == b":" else b""
        for line in _LINE_END.split(event)
        if line == b"data" or line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None


def data_event(data: bytes) -> bytes:
    """One event with this data, which holds no line end."""
    return b"data: " + data + b"\n\n"
