"""What the gateway reads of the answers of engines that speak OpenAI's API.

Only the few fields that matter: everything else stays bytes. These structs are on their own
because msgspec reads their annotations when it runs, which compiled modules do not keep.
"""

import msgspec

# msgspec has no "raw or null": what is absent is this very object, null is b"null"
ABSENT = msgspec.Raw()


class Finish(msgspec.Struct):
    """A choice of a whole answer."""

    finish_reason: str | None = None


class Summary(msgspec.Struct):
    """A whole answer."""

    model: str | None = None
    id: str | None = None
    choices: list[Finish] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class Delta(msgspec.Struct):
    """What an event adds to a choice."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw = ABSENT


class Choice(msgspec.Struct):
    """A choice in an event."""

    index: int = 0
    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    token_ids: msgspec.Raw = ABSENT
    prompt_token_ids: msgspec.Raw = ABSENT


class Chunk(msgspec.Struct):
    """An event."""

    model: str | None = None
    choices: list[Choice] = []
    usage: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    prompt_token_ids: msgspec.Raw = ABSENT


class Listed(msgspec.Struct):
    """One of the models that an engine lists. `parent`: what it adapts."""

    id: str
    parent: str | None = None


class Listing(msgspec.Struct):
    """The models that an engine lists."""

    data: list[Listed]


read_listing = msgspec.json.Decoder(Listing).decode
read_summary = msgspec.json.Decoder(Summary).decode
read_chunk = msgspec.json.Decoder(Chunk).decode
