"""What the gateway reads of TGI's own requests and answers.

On their own for the same reason as `openai_shapes`.
"""

import msgspec


class ResponseFormat(msgspec.Struct):
    """OpenAI's response format, and what TGI adds to it."""

    type: str
    json_schema: msgspec.Raw = msgspec.Raw(b"null")
    value: msgspec.Raw = msgspec.Raw(b"null")


class Details(msgspec.Struct):
    """How a generation ended. Whole answers give no counts here, but in their headers."""

    finish_reason: str | None = None
    generated_tokens: int = 0
    input_length: int = 0


class Generated(msgspec.Struct):
    """A whole answer of `/generate`."""

    generated_text: str
    details: Details | None = None


class Event(msgspec.Struct):
    """An event of `/generate_stream`."""

    generated_text: str | None = None
    details: Details | None = None
    error: str | None = None


read_response_format = msgspec.json.Decoder(ResponseFormat).decode
read_generated = msgspec.json.Decoder(Generated).decode
read_event = msgspec.json.Decoder(Event).decode
