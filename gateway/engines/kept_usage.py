"""The usage of an answer whose engine is gone: what is known of it is counted. Pure."""

from typing import Final

import msgspec

from gateway.engines.kept import Kept
from gateway.wire.sse import data_event, event_data
from gateway.wire.usage import Usage

Fields = dict[str, msgspec.Raw]

# what all events of an answer have in common
_SAME: Final = ("id", "object", "created", "model", "system_fingerprint")
_NO_CHOICES: Final = msgspec.Raw(b"[]")
_top = msgspec.json.Decoder(Fields)


def usage_so_far(kept: Kept) -> Usage | None:
    """None when the engine did not tell token ids."""
    prompt = kept.prompt_tokens
    return None if prompt is None else Usage(prompt, kept.tokens)


def usage_event(kept: Kept, usage: Usage) -> bytes:
    """The event that tells a usage, as one of this answer."""
    counts = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    told = msgspec.Raw(msgspec.json.encode(counts))
    event = same_in_all(kept.first) | {"choices": _NO_CHOICES, "usage": told}
    return data_event(msgspec.json.encode(event))


def same_in_all(event: bytes | None) -> Fields:
    """What every event of the answer says that begins with this one."""
    fields = _top.decode((event and event_data(event)) or b"{}")
    return {name: fields[name] for name in _SAME if name in fields}
