"""What is read of the events that are put together as a whole answer.

On their own for the same reason as `openai_shapes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class Blank:
    """What an engine's whole answers say always, and its streams never: mostly nulls.

    `has_null_content`: where a message has only reasoning; elsewhere its content is empty.
    """

    answer: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    choice: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    message: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    usage: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    has_null_content: bool = False


class Part(msgspec.Struct):
    """What an event adds to the message."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"")


class PieceChoice(msgspec.Struct):
    """A choice in an event."""

    delta: Part | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"")


class Piece(msgspec.Struct):
    """An event."""

    choices: list[PieceChoice] = []


class Logprobs(msgspec.Struct):
    """Those of a chat's event: a list with an entry for each token."""

    content: msgspec.Raw = msgspec.Raw(b"null")


read_piece = msgspec.json.Decoder(Piece).decode
read_logprobs = msgspec.json.Decoder(Logprobs).decode
