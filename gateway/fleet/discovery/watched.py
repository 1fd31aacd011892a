"""What the API server has said of the slices: a list, and then its changes. Pure.

A watch is lines of JSON; a line may come in pieces. `resourceVersion` is handed back as it was
given: where the next watch begins.

Source: Kubernetes API concepts, "Efficient detection of changes".
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.fleet.discovery.slices import Metadata, Slice

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
_GONE: Final = 410
_TOO_MANY: Final = 429


class Expired(Exception):
    """The server does not remember so long: everything has to be listed anew."""


class WatchBroken(ValueError):
    """The server reports a failure, or says what is no watch."""


class _List(msgspec.Struct):
    metadata: Metadata
    items: list[Slice] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: Metadata


class _Status(msgspec.Struct):
    code: int = 0


class Lines:
    """Splits bytes into lines, of `MAX_LINE_BYTES` at most."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now, without empty ones. Raises WatchBroken."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise WatchBroken("a line is too long")
        return [line for line in whole if line.strip()]


class Watched:
    """The slices as far as they are known. `version`: what was seen last."""

    def __init__(self) -> None:
        self.version = ""
        self._slices: dict[str, Slice] = {}

    @property
    def slices(self) -> Iterator[Slice]:
        return iter(self._slices.values())

    def listed(self, body: bytes) -> str:
        """Take in a page of the list; what asks for the next one, empty after the last.

        Raises ValueError.
        """
        page = msgspec.json.decode(body, type=_List)
        self._slices |= {one.metadata.name: one for one in page.items or ()}
        self.version = page.metadata.resourceVersion
        return page.metadata.continue_

    def changed(self, line: bytes) -> bool:
        """Take in an event; whether any slice has changed. Raises Expired, ValueError."""
        event = msgspec.json.decode(line, type=_Event)
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                one = msgspec.json.decode(event.object, type=Slice)
                if event.type == "DELETED":
                    self._slices.pop(one.metadata.name, None)
                else:
                    self._slices[one.metadata.name] = one
                self.version = one.metadata.resourceVersion or self.version
                return True
            case "BOOKMARK":
                seen = msgspec.json.decode(event.object, type=_Bookmark)
                self.version = seen.metadata.resourceVersion or self.version
                return False
            case "ERROR":
                code = msgspec.json.decode(event.object, type=_Status).code
                if code == _GONE:
                    raise Expired
                raise WatchBroken(f"the API server reports a failure ({code})")
            case _:
                return False  # of a newer server
