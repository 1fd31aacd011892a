"""GGUF files as small as they can be."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

LLAMA: Mapping[str, Any] = {
    "general.architecture": "llama",
    "general.file_type": 7,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 2048,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}
TENSORS: Sequence[tuple[str, tuple[int, ...], int]] = (
    ("token_embd.weight", (64, 3), 8),
    ("output.weight", (64, 3), 0),
)


def a_gguf(
    told: Mapping[str, Any] = LLAMA,
    tensors: Sequence[tuple[str, tuple[int, ...], int]] = TENSORS,
) -> bytes:
    """The head of a file: its metadata, and where its tensors are."""
    content = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(told))
    for key, value in told.items():
        content += _text(key) + _value(value)
    for name, shape, kind in tensors:
        content += _text(name) + struct.pack("<I", len(shape))
        content += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, 0)
    return content


def _text(text: str) -> bytes:
    written = text.encode()
    return struct.pack("<Q", len(written)) + written


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case _:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
