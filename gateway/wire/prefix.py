"""What a prompt begins with, as hashes: enough to tell prompts with a common beginning. No I/O.

The raw JSON of tools and messages is hashed in blocks, each together with all before it, so a
block stands for everything up to its end, as in vLLM's prefix cache; text is not tokenized, and
nothing but the list of messages is parsed. Clients that write the same conversation with the same
library send the same bytes. CRC-32 costs a fifth of a cryptographic hash; a collision merely
sends a request to a replica that knows less of it than was thought.

`cache_salt`, with which a tenant keeps its cache entries to itself in vLLM, begins every hash.
"""

from collections.abc import Sequence
from typing import Literal
from zlib import crc32

import msgspec

from gateway.wire.ask import Ask, Operation

BLOCK_BYTES = 512  # about 128 tokens
_MAX_BLOCKS = 2048
_HEAD_BYTES = 64
_CONTENT = {
    Operation.CHAT: "messages",
    Operation.COMPLETION: "prompt",
    Operation.EMBEDDINGS: "input",
    Operation.GENERATE: "inputs",
}
SessionBy = Literal["header", "user", "none"]
_list = msgspec.json.Decoder(list[msgspec.Raw])


class Prefix(msgspec.Struct, frozen=True, gc=False):
    """A prompt's beginning. `blocks`: one hash for each full block, up to its end.

    `shared_key` stands for what many conversations begin with (tools and system messages), which
    is `shared_blocks` long; 0: there is none. `own_key` stands for the conversation or session.
    `past_blocks` is how long it was before its last message, 0 where nobody has answered yet.
    `has_session`: the caller said what belongs together.
    """

    blocks: tuple[int, ...] = ()
    shared_key: int = 0
    shared_blocks: int = 0
    own_key: int = 0
    past_blocks: int = 0
    has_session: bool = False


NO_PREFIX = Prefix()


def prefix_of(ask: Ask, session: bytes | None = None, salt: bytes = b"") -> Prefix:
    """`session`: what its caller says that belongs together, whatever it begins with.

    `salt`: what else must be equal, so that a cache can be shared.
    """
    fields = ask.fields
    content = memoryview(fields.get(_CONTENT[ask.operation], b""))
    start = crc32(memoryview(fields.get("cache_salt", b"")), crc32(salt))
    if "tools" in fields:
        blocks, start = _chained(memoryview(fields["tools"]), start, with_rest=True)
    else:
        blocks = []
    shared_key, shared_bytes, own_key, past_bytes = _parts(ask, content, start, bool(blocks))
    shared_blocks = len(blocks) + shared_bytes // BLOCK_BYTES
    past_blocks = len(blocks) + past_bytes // BLOCK_BYTES if past_bytes else 0
    blocks += _chained(content, start, with_rest=False)[0]
    if session is not None:
        own_key = crc32(session, start)
    return Prefix(
        tuple(blocks[:_MAX_BLOCKS]),
        shared_key,
        shared_blocks,
        own_key,
        past_blocks,
        session is not None,
    )


def session_of(ask: Ask, header: bytes | None, by: SessionBy) -> bytes | None:
    """What the caller says that belongs together; None: nothing, or it does not count."""
    if by == "none":
        return None
    if header:
        return header
    for name in ("prompt_cache_key", "user") if by == "user" else ("prompt_cache_key",):
        value = ask.fields.get(name)
        if value is not None and bytes(value).startswith(b'"'):
            return bytes(value)
    return None


def _chained(text: memoryview, start: int, *, with_rest: bool) -> tuple[list[int], int]:
    """The hash up to the end of each block, and of everything."""
    whole = len(text) if with_rest else len(text) - len(text) % BLOCK_BYTES
    whole = min(whole, _MAX_BLOCKS * BLOCK_BYTES)
    blocks: list[int] = []
    for at in range(0, whole, BLOCK_BYTES):
        start = crc32(text[at : at + BLOCK_BYTES], start)
        blocks.append(start)
    return blocks, start


def _parts(ask: Ask, content: memoryview, start: int, has_tools: bool) -> tuple[int, int, int, int]:
    """Key and bytes of what is shared, key of the conversation, bytes before its last message."""
    key = start if has_tools else 0
    if ask.operation is not Operation.CHAT:
        return key, 0, crc32(content, start), 0
    messages = _list.decode(content)  # `read_ask` has seen that it is one
    shared_bytes = 0
    own_key = start
    for number, message in enumerate(messages, 1):
        text = memoryview(message)
        own_key = crc32(text, own_key)
        if not _is_system(text):
            return key, shared_bytes, own_key, _past_bytes(content, messages[number:])
        key = own_key
        shared_bytes += len(text) + 1  # the bracket or comma before it
    return key, shared_bytes, own_key, 0


def _past_bytes(content: memoryview, following: Sequence[msgspec.Raw]) -> int:
    """How much of a conversation was there when an engine answered last; 0: none has.

    `following`: its messages after the first of a user.
    """
    if not any(b'"assistant"' in _head(memoryview(message)) for message in following):
        return 0
    return len(content) - len(memoryview(following[-1])) - 2


def _is_system(message: memoryview) -> bool:
    head = _head(message)
    return b'"system"' in head or b'"developer"' in head


def _head(message: memoryview) -> bytes:
    """Where the role is written; few clients write it after the content."""
    return message[:_HEAD_BYTES].tobytes()
