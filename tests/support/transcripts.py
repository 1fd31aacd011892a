"""Recorded answers of real engines: what was asked, and the bytes that came back.

A transcript is one JSON file in `tests/golden/transcripts/ENGINE/`, recorded by
`tests/engines/record_transcripts.py`. The body is kept in the pieces it came in: one per chunk of
a chunked answer (vLLM sends one event per chunk), else split after newlines. `wire()` gives the
answer back as it was on the wire. Bytes that are not UTF-8 are kept as base64.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from tests.support.engine_home import CHECKOUT

TRANSCRIPTS = CHECKOUT / "tests" / "golden" / "transcripts"

Framing = Literal["chunked", "content-length", "until-close", "none"]
Ending = Literal["complete", "closed", "reset", "silent", "unfinished", "no-answer"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The request. `body` is text exactly as sent; empty when there was none."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def wire(self, host: str) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        raw = self.body.encode()
        if raw or self.method == "POST":
            lines.append(f"content-length: {len(raw)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + raw


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer: head as text, body in pieces, and how the connection's part in it ended.

    `silent`: the connection stayed open, but nothing came for as long as the recorder waited;
    `unfinished`: it still came when the reader had to stop.
    """

    status_line: str
    headers: tuple[tuple[str, str], ...]
    framing: Framing
    pieces: tuple[bytes, ...]
    ending: Ending

    @property
    def status(self) -> int:
        return int(self.status_line.split()[1])

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def events(self) -> list[bytes]:
        """The payloads of a stream's `data:` lines, `[DONE]` included."""
        lines = self.body.replace(b"\r\n", b"\n").split(b"\n")
        return [line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:")]

    def wire(self) -> bytes:
        """The bytes an engine would send to give this answer again."""
        head = [self.status_line, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(head).encode("latin-1") + b"".join(self.wire_pieces())

    def wire_pieces(self) -> list[bytes]:
        if self.framing != "chunked":
            return list(self.pieces)
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces]
        return [*chunks, b"0\r\n\r\n"] if self.ending == "complete" else chunks


@dataclass(frozen=True, slots=True)
class Transcript:
    """One exchange with an engine started with `flags`; `note` says what was done to it."""

    engine: str
    version: str
    flags: tuple[str, ...]
    note: str
    asked: Asked
    answered: Answered

    @classmethod
    def load(cls, path: Path) -> Self:
        document = json.loads(path.read_text())
        asked, answered = document["asked"], document["answered"]
        body = asked.get("json", "")
        return cls(
            engine=document["engine"],
            version=document["version"],
            flags=tuple(document["flags"]),
            note=document["note"],
            asked=Asked(
                asked["method"],
                asked["path"],
                _headers_of(asked["headers"]),
                compact_json(body) if "json" in asked else asked["text"],
            ),
            answered=Answered(
                answered["status_line"],
                _headers_of(answered["headers"]),
                answered["framing"],
                tuple(_bytes_of(piece) for piece in answered["pieces"]),
                answered["ending"],
            ),
        )

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._document(), ensure_ascii=False, indent=1)
        path.write_text(f"{text}\n")

    def _document(self) -> dict[str, object]:
        is_chunked = self.answered.framing == "chunked"
        body_lines = self.answered.body.splitlines(keepends=True)
        pieces = list(self.answered.pieces) if is_chunked else body_lines
        return {
            "engine": self.engine,
            "version": self.version,
            "flags": self.flags,
            "note": self.note,
            "asked": {
                "method": self.asked.method,
                "path": self.asked.path,
                "headers": [f"{name}: {value}" for name, value in self.asked.headers],
                **_readable(self.asked.body),
            },
            "answered": {
                "status_line": self.answered.status_line,
                "headers": [f"{name}: {value}" for name, value in self.answered.headers],
                "framing": self.answered.framing,
                "pieces": [_text_of(piece) for piece in pieces],
                "ending": self.answered.ending,
            },
        }


def compact_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _readable(body: str) -> dict[str, object]:
    """As JSON where that loses nothing, else as text."""
    try:
        value = json.loads(body)
    except ValueError:
        return {"text": body}
    return {"json": value} if compact_json(value) == body else {"text": body}


def _headers_of(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    split = (line.partition(": ") for line in lines)
    return tuple((name, value) for name, _, value in split)


def _text_of(piece: bytes) -> str | dict[str, str]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(piece).decode()}


def _bytes_of(piece: str | dict[str, str]) -> bytes:
    return piece.encode() if isinstance(piece, str) else base64.b64decode(piece["base64"])
