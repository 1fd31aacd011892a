"""Add an event of an OpenAI stream to what is kept of the answer, and hide what only we asked for.

The token ids that were asked for are replaced by the null that the engine sends otherwise, so
the client sees the very bytes that it would have seen.
"""

from typing import Final

import msgspec

from gateway.engines.kept import Kept, Why
from gateway.engines.openai_shapes import ABSENT, Choice, Chunk
from gateway.wire.sse import data_event, event_data

IDS: Final = b'"token_ids":'
NO_IDS: Final = b'"token_ids":null'
_PROMPT_IDS: Final = b'"prompt_token_ids":'
_NULL = msgspec.Raw(b"null")
_top = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def keep(kept: Kept, chunk: Chunk, event: bytes) -> bytes:
    """Keep what this event adds; gives the event without what is to be hidden."""
    shown = event
    if is_given(chunk.prompt_token_ids):
        kept.read_prompt(bytes(chunk.prompt_token_ids))
        shown = _hidden(kept, shown, _PROMPT_IDS, chunk.prompt_token_ids)
    for choice in chunk.choices:
        if is_given(choice.prompt_token_ids):
            kept.read_prompt(bytes(choice.prompt_token_ids))
            shown = _hidden(kept, shown, _PROMPT_IDS, choice.prompt_token_ids)
        if choice.finish_reason != "abort":
            _add(kept, choice)
        if is_given(choice.token_ids):
            shown = _hidden(kept, shown, IDS, choice.token_ids)
    return shown


def is_given(value: msgspec.Raw) -> bool:
    """Whether a raw field was there and not null."""
    return value is not ABSENT and bytes(value) not in (b"", b"null")


def _add(kept: Kept, choice: Choice) -> None:
    ids = b""
    if kept.with_ids and is_given(choice.token_ids):
        ids = bytes(choice.token_ids).strip(b"[]").replace(b" ", b"")
    delta = choice.delta
    if delta is None:
        kept.add((choice.text or "").encode(), ids)
        return
    if is_given(delta.tool_calls):
        kept.give_up(Why.TOOLS)
    thought = delta.reasoning or delta.reasoning_content
    if thought and not delta.content:
        kept.add_reasoning(thought.encode(), ids)
    elif delta.content is not None or ids:
        kept.has_reasoning |= bool(thought)
        kept.add((delta.content or "").encode(), ids)


def _hidden(kept: Kept, event: bytes, name: bytes, ids: msgspec.Raw) -> bytes:
    """The event with null in place of ids that the client did not ask for."""
    if not kept.hides_ids:
        return event
    # quotes inside a JSON string are escaped, so this can only match the field itself
    start = event.find(name) + len(name)
    end = start + len(ids)
    if event[start:end] == bytes(ids):
        return event[:start] + b"null" + event[end:]
    return _without_ids(event)


def _without_ids(event: bytes) -> bytes:
    fields = _top.decode(event_data(event) or b"{}")
    choices = _choices.decode(fields.get("choices", b"[]"))
    for holder in (fields, *choices):
        for name in ("token_ids", "prompt_token_ids"):
            if name in holder:
                holder[name] = _NULL
    fields["choices"] = msgspec.Raw(msgspec.json.encode(choices))
    return data_event(msgspec.json.encode(fields))
