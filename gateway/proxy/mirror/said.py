"""What an answer says, read from the body that its client got. Pure.

Of a chat that is everything that was generated, in order: reasoning, text, and the tools that are
called with what. Ids, times and names of models are nobody's words.
"""

import base64
import binascii
from array import array
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from gateway.wire.unreadable import UNREADABLE

Fields = dict[str, object]
Vectors = list[Sequence[float]]

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
_SPOKEN: Final = ("reasoning_content", "reasoning", "content", "text", "refusal")
_json: Final = msgspec.json.Decoder()


def text_of(body: bytes, *, is_stream: bool) -> str | None:
    """The text of the first choice, tools included; None: it cannot be read."""
    try:
        choices = list(_choices(body, is_stream=is_stream))
    except UNREADABLE:
        return None
    if not choices:
        return None
    spoken: list[str] = []
    tools: dict[object, list[str]] = {}
    for choice in choices:
        said = _fields(choice.get("delta")) or _fields(choice.get("message")) or choice
        spoken += [text for name in _SPOKEN if isinstance(text := said.get(name), str)]
        for place, tool in enumerate(_list(said.get("tool_calls"))):
            function = _fields(tool.get("function"))
            parts = (function.get("name"), function.get("arguments"))
            known = tools.setdefault(repr(tool.get("index", place)), [])
            known += [part for part in parts if isinstance(part, str)]
    called = "".join(f"\n{name}({''.join(parts)})" for name, *parts in tools.values() if parts)
    return "".join(spoken) + called


def vectors_of(body: bytes) -> Vectors | None:
    """The embeddings, in order; None: they cannot be read."""
    try:
        rows = _list(_fields(_json.decode(body)).get("data"))
        return [_vector(row.get("embedding")) for row in rows] or None
    except (*UNREADABLE, binascii.Error, ValueError, TypeError):
        return None


def _vector(given: object) -> Sequence[float]:
    """Raises ValueError or TypeError."""
    if isinstance(given, str):  # as OpenAI's own clients ask for it
        return array("f", base64.b64decode(given, validate=True))
    if isinstance(given, list):
        return array("d", given)
    raise TypeError("no embedding")


def _choices(body: bytes, *, is_stream: bool) -> Iterator[Fields]:
    """The first choice, or what each event of a stream adds to it."""
    for one in _events(body) if is_stream else [_json.decode(body)]:
        for choice in _list(_fields(one).get("choices")):
            if choice.get("index", 0) == 0:
                yield choice


def _events(body: bytes) -> Iterator[object]:
    for line in body.split(b"\n"):
        event = line[len(_DATA) :].strip() if line.startswith(_DATA) else b""
        if event and event != _DONE:
            yield _json.decode(event)


def _fields(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Fields]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
