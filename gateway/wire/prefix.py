"""What a prompt begins with, as hashes: enough to tell prompts with a common beginning. No I/O.

The raw JSON of tools and messages is hashed in blocks, each together with all before it, so a
block stands for everything up to its end, as in vLLM's prefix cache; text is not tokenized, and
nothing but the list of messages is parsed. Clients that write the same conversation with the same
library send the same bytes. CRC-32 costs a fifth of a cryptographic hash; a collision merely
sends a request to a replica that knows less of it than was thought.

`cache_salt`, with which a tenant keeps its cache entries to itself in vLLM, begins every hash.
"""

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
_list = msgspec.json.Decoder(list[msgspec.Raw])


class Prefix(msgspec.Struct, frozen=True, gc=False):
    """A prompt's beginning. `blocks`: one hash for each full block, up to its end.

    `shared_key` stands for what many conversations begin with (tools and system messages), which
    is `shared_blocks` long; 0: there is none. `own_key` stands for the conversation or session.
    `is_continued`: an answer, or a call of the same session, came before.
    """

    blocks: tuple[int, ...] = ()
    shared_key: int = 0
    shared_blocks: int = 0
    own_key: int = 0
    is_continued: bool = False


NO_PREFIX = Prefix()


def prefix_of(ask: Ask, session: bytes | None = None) -> Prefix:
    """`session`: what its caller says that belongs together, whatever it begins with."""
    fields = ask.fields
    content = memoryview(fields.get(_CONTENT[ask.operation], b""))
    start = crc32(memoryview(fields.get("cache_salt", b"")))
    if "tools" in fields:
        blocks, start = _chained(memoryview(fields["tools"]), start, with_rest=True)
    else:
        blocks = []
    shared_key, shared_bytes, own_key, is_continued = _parts(ask, content, start, bool(blocks))
    shared_blocks = len(blocks) + shared_bytes // BLOCK_BYTES
    blocks += _chained(content, start, with_rest=False)[0]
    if session is not None:
        own_key, is_continued = crc32(session, start), True
    return Prefix(
        tuple(blocks[:_MAX_BLOCKS]), shared_key, shared_blocks, own_key or 1, is_continued
    )


def _chained(text: memoryview, start: int, *, with_rest: bool) -> tuple[list[int], int]:
    """The hash up to the end of each block, and of everything."""
    whole = len(text) if with_rest else len(text) - len(text) % BLOCK_BYTES
    whole = min(whole, _MAX_BLOCKS * BLOCK_BYTES)
    blocks: list[int] = []
    for at in range(0, whole, BLOCK_BYTES):
        start = crc32(text[at : at + BLOCK_BYTES], start)
        blocks.append(start)
    return blocks, start


def _parts(
    ask: Ask, content: memoryview, start: int, has_tools: bool
) -> tuple[int, int, int, bool]:
    """Key and bytes of what is shared, key of the conversation, whether it goes on."""
    key = start if has_tools else 0
    if ask.operation is not Operation.CHAT:
        return key, 0, crc32(content, start), False
    try:
        messages = _list.decode(content)
    except msgspec.DecodeError:
        return key, 0, crc32(content, start), False
    shared_bytes = 0
    own_key = start
    for number, message in enumerate(messages, 1):
        text = memoryview(message)
        own_key = crc32(text, own_key)
        if not _is_system(text):
            return key, shared_bytes, own_key, number < len(messages)
        key = own_key
        shared_bytes += len(text) + 1
    return key, shared_bytes, own_key, False


def _is_system(message: memoryview) -> bool:
    head = message[:_HEAD_BYTES].tobytes()
    return b'"system"' in head or b'"developer"' in head
