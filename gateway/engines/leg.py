"""What the next engine is asked, so that it goes on where the last one broke off. Pure.

Every way that an engine offers is one function; an adapter names those that its engine knows,
best first. All of them end in a request whose stream is read by `ResumedStream`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from gateway.engines.kept import Kept, Why
from gateway.wire.ask import TRUE, Ask, Operation, encode_string
from gateway.wire.unreadable import UNREADABLE

# what a continuation would do again from its beginning, or not at all
_NEVER: Final = frozenset(
    (
        "echo",
        "use_beam_search",
        "prompt_logprobs",
        "suffix",
        "prompt_embeds",
        "truncate_prompt_tokens",
        "kv_transfer_params",
        "ec_transfer_params",
        "include_stop_str_in_output",
    )
)
_GRAMMARS: Final = frozenset(
    (
        "structured_outputs",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "grammar",
        "json_schema",
        "functions",
    )
)
_SPECIAL: Final = _NEVER | _GRAMMARS | {"best_of", "response_format", "tool_choice"}
_UNSET: Final = (b"null", b"false", b"[]", b"{}", b"0")
_FREE_TOOL_CHOICES: Final = (b'"auto"', b'"none"')
# about the template, or about chat only: nothing that plain completions know
_CHAT_ONLY: Final = (
    "messages",
    "max_completion_tokens",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
    "reasoning_effort",
    "include_reasoning",
    "documents",
    "top_logprobs",
    "logprobs",
)

_type = msgspec.json.Decoder(dict[str, object])
_messages = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_integer: msgspec.json.Decoder[int] = msgspec.json.Decoder(int)
_number: msgspec.json.Decoder[float] = msgspec.json.Decoder(float)
_string = msgspec.json.Decoder(str)
_stops: msgspec.json.Decoder[str | list[str]] = msgspec.json.Decoder(str | list[str])

Changes = dict[str, msgspec.Raw | None]


class Way(StrEnum):
    """How the next engine is told what was said."""

    CHAT_IDS = "chat_ids"
    COMPLETION_IDS = "completion_ids"
    TEXT = "text"


class Leg(msgspec.Struct, frozen=True, gc=False):
    """What to ask. `counted`: the tokens of the answer that it starts from.

    `remaining`: how many more there may be; None: the call sets no limit.
    """

    way: Way
    ask: Ask
    counted: int
    remaining: int | None


def hindrance(ask: Ask) -> Why | None:
    """Why no engine could ever go on with the answer to this call; None: it may be possible."""
    fields = ask.fields
    if ask.operation is not Operation.CHAT and ask.operation is not Operation.COMPLETION:
        return Why.OPERATION
    if ask.n != 1:
        return Why.CHOICES
    if ask.operation is Operation.COMPLETION and not _is_one_prompt(fields):
        return Why.CHOICES
    if fields.keys().isdisjoint(_SPECIAL):
        return None
    return _special_hindrance(fields)


def longest_stop(ask: Ask) -> int:
    """Characters of the longest stop string; 0 when there is none."""
    return max(map(len, stops_of(ask)), default=0)


def stops_of(ask: Ask) -> tuple[str, ...]:
    """The stop strings."""
    raw = ask.fields.get("stop")
    if raw is None or bytes(raw) in (b"null", b"[]"):
        return ()
    try:
        given = _stops.decode(raw)
    except UNREADABLE:
        return ()  # the engine refuses it
    return (given,) if isinstance(given, str) else tuple(given)


def chat_ids(ask: Ask, kept: Kept) -> Leg | Why:
    """VLLM's chat with a prompt of token ids: its parsers run on, its template does not."""
    if ask.operation is not Operation.CHAT or _has_media(ask):
        return Why.NO_WAY
    why = _ids_hindrance(ask, kept)
    if why is not None:
        return why
    counted, prompt = kept.place.tokens, kept.go_on_from_ids()
    given = msgspec.Raw(b'{"prompt_token_ids":[' + prompt + b"]}")
    changes: Changes = {"kv_transfer_params": given, "return_token_ids": TRUE}
    return _leg(Way.CHAT_IDS, ask, Operation.CHAT, changes, counted)


def completion_ids(ask: Ask, kept: Kept) -> Leg | Why:
    """A plain completion of token ids, for chat without anything that has to be parsed."""
    if ask.operation is Operation.CHAT and (
        kept.has_reasoning or _is_set(ask, "tools") or _is_set(ask, "logprobs") or _has_media(ask)
    ):
        return Why.NO_WAY
    why = _ids_hindrance(ask, kept)
    if why is not None:
        return why
    counted, prompt = kept.place.tokens, kept.go_on_from_ids()
    changes: Changes = {}
    if ask.operation is Operation.CHAT:
        changes |= dict.fromkeys(_CHAT_ONLY)
    changes |= {"prompt": msgspec.Raw(b"[" + prompt + b"]"), "return_token_ids": TRUE}
    return _leg(Way.COMPLETION_IDS, ask, Operation.COMPLETION, changes, counted)


def text(
    ask: Ask, kept: Kept, repeated: int, flags: Mapping[str, msgspec.Raw], *, continues: bool
) -> Leg | Why:
    """The text so far as the beginning of the answer, but for `repeated` bytes of it.

    `flags`: how chat is told to go on with its last message. `continues`: the client's own last
    message was the beginning of the answer.
    """
    if kept.has_reasoning:
        return Why.REASONING
    is_strict = bool(kept.text[len(kept.text) - repeated :].strip())
    if is_strict and not is_greedy(ask):
        return Why.NO_WAY
    said = bytes(kept.text[: len(kept.text) - repeated]).decode()
    if not said:
        return Why.NO_CONTENT
    counted = kept.place.tokens if kept.with_ids else kept.events
    changes: Changes = {}
    if ask.operation is Operation.CHAT:
        messages = _continued(ask.fields["messages"], said, continues=continues)
        if messages is None:
            return Why.NO_WAY
        changes |= {"messages": messages} | dict(flags)
    else:
        prompt = ask.fields["prompt"]
        if bytes(prompt)[:1] != b'"':
            return Why.NO_WAY
        changes["prompt"] = encode_string(_string.decode(prompt) + said)
    kept.go_on_from_text(repeated, is_strict=is_strict)
    return _leg(Way.TEXT, ask, ask.operation, changes, counted)


def trimmed(ask: Ask, kept: Kept, repeated: int = 0) -> int:
    """How many bytes at the end of the text are to be said again.

    Those `repeated`, and the spaces before them, which a chat template may take away.
    """
    if ask.operation is not Operation.CHAT:
        return repeated
    return len(kept.text) - len(kept.text[: len(kept.text) - repeated].rstrip())


def is_greedy(ask: Ask) -> bool:
    """Whether an engine that is asked again says the same again."""
    raw = ask.fields.get("temperature")
    try:
        return raw is not None and _number.decode(raw) == 0
    except UNREADABLE:
        return False


def begun_stop(said: str, stops: tuple[str, ...]) -> int:
    """How many bytes at the end of a text may be the beginning of a stop string."""
    longest = 0
    for stop in stops:
        for size in range(min(len(said), len(stop) - 1), longest, -1):
            if said.endswith(stop[:size]):
                longest = size
                break
    return len(said[len(said) - longest :].encode())


def _ids_hindrance(ask: Ask, kept: Kept) -> Why | None:
    if not kept.with_ids or kept.prompt is None:
        return Why.NO_WAY
    if kept.has_reasoning and _is_set(ask, "thinking_token_budget"):
        return Why.REASONING
    if not kept.hides_ids and kept.tokens != kept.place.tokens:
        return Why.PARAMETER  # the client has seen ids that would come again
    if kept.is_at_place:
        return None
    # what the client has seen of it must come again, the same
    return None if is_greedy(ask) and not kept.has_reasoning else Why.NO_WAY


def _leg(way: Way, ask: Ask, operation: Operation, changes: Changes, counted: int) -> Leg:
    remaining = None
    if ask.max_tokens is not None and ask.max_tokens > 0:
        remaining = max(0, ask.max_tokens - counted)
        left = msgspec.Raw(str(remaining).encode())
        changes["max_tokens"] = left
        if "max_completion_tokens" in ask.fields and operation is Operation.CHAT:
            changes["max_completion_tokens"] = left
    if _is_set(ask, "min_tokens"):
        try:
            least = _integer.decode(ask.fields["min_tokens"])
        except UNREADABLE:
            least = 0
        changes["min_tokens"] = msgspec.Raw(str(max(0, least - counted)).encode())
    fields = ask.fields | {name: raw for name, raw in changes.items() if raw is not None}
    for name, raw in changes.items():
        if raw is None:
            fields.pop(name, None)
    next_ask = msgspec.structs.replace(
        ask, operation=operation, fields=fields, max_tokens=remaining
    )
    return Leg(way, next_ask, counted, remaining)


def _continued(messages: msgspec.Raw, said: str, *, continues: bool) -> msgspec.Raw | None:
    """The conversation with the answer so far; None when it cannot be put in."""
    turns = _messages.decode(messages)
    if continues and turns and bytes(turns[-1].get("role", b"")) == b'"assistant"':
        begun = turns[-1].get("content")
        if begun is None or bytes(begun)[:1] != b'"':
            return None
        turns[-1] = turns[-1] | {"content": encode_string(_string.decode(begun) + said)}
    else:
        turns.append({"role": msgspec.Raw(b'"assistant"'), "content": encode_string(said)})
    return msgspec.Raw(msgspec.json.encode(turns))


def _is_one_prompt(fields: Mapping[str, msgspec.Raw]) -> bool:
    """A text, or token ids: not several prompts."""
    prompt = bytes(fields.get("prompt", b""))
    return prompt[:1] == b'"' or prompt[1:].lstrip()[:1].isdigit()


def _special_hindrance(fields: Mapping[str, msgspec.Raw]) -> Why | None:
    for name, raw in fields.items():
        value = bytes(raw)
        if name not in _SPECIAL or value in _UNSET:
            continue
        if name in _NEVER:
            return Why.PARAMETER
        if name in _GRAMMARS:
            return Why.STRUCTURED
        if name == "best_of" and value != b"1":
            return Why.CHOICES
        if name == "response_format" and not _is_text_format(value):
            return Why.STRUCTURED
        if name == "tool_choice" and value not in _FREE_TOOL_CHOICES:
            return Why.TOOLS
    return None


def _is_text_format(value: bytes) -> bool:
    try:
        return _type.decode(value).get("type") == "text"
    except UNREADABLE:
        return False


def _has_media(ask: Ask) -> bool:
    """Whether a message holds more than text: then its token ids are not all of it."""
    try:
        contents = [bytes(turn.get("content", b"")) for turn in _messages.decode(_said(ask))]
        parts = [part for said in contents if said[:1] == b"[" for part in _messages.decode(said)]
    except UNREADABLE:
        return True
    return any(bytes(part.get("type", b"")) != b'"text"' for part in parts)


def _said(ask: Ask) -> msgspec.Raw:
    return ask.fields.get("messages", msgspec.Raw(b"[]"))


def _is_set(ask: Ask, name: str) -> bool:
    value = ask.fields.get(name)
    return value is not None and bytes(value) not in _UNSET
