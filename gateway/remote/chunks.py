"""What is read of the events of a streamed answer. `logprobs` stay bytes until they are asked for.

Source: OpenAI's API reference, chat.completion.chunk and text_completion; the reasoning fields
are those of vLLM (`reasoning`, before 0.16 `reasoning_content`).
"""

import msgspec

# msgspec has no "raw or null": what is absent is this very object, null is b"null"
ABSENT = msgspec.Raw(b"null")


class Delta(msgspec.Struct):
    """What an event adds to a chat answer."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw = ABSENT


class Choice(msgspec.Struct):
    """A choice in an event."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = ABSENT


class Chunk(msgspec.Struct):
    """An event."""

    choices: list[Choice] = []
    usage: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


read_chunk = msgspec.json.Decoder(Chunk).decode
