"""Read the stream of an engine that goes on with another's answer. No I/O.

The client must not notice: no second role, the first engine's id and time of creation, nothing
that was said before, the usage of one call. Such streams are rare, so every event of them is
taken apart; the first engine's are not.
"""

import msgspec

from gateway.engines.adapter import AnswerStream
from gateway.engines.kept import Kept
from gateway.engines.kept_usage import same_in_all, usage_event, usage_so_far
from gateway.engines.leg import Leg
from gateway.errors import GatewayError, StreamBroken
from gateway.wire.ask import Ask, Operation
from gateway.wire.sse import DONE, EventSplitter, data_event, event_data
from gateway.wire.unreadable import UNREADABLE
from gateway.wire.usage import Usage

Fields = dict[str, msgspec.Raw]

_top = msgspec.json.Decoder(Fields)
_many = msgspec.json.Decoder(list[Fields])
_string: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_counts = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")
_LENGTH = msgspec.Raw(b'"length"')


class ResumedStream:
    """An `AnswerStream` over another: `inner` reads what the engine sends for this leg."""

    def __init__(self, inner: AnswerStream, ask: Ask, leg: Leg, kept: Kept) -> None:
        self._inner = inner
        self._kept = kept
        self._leg = leg
        self._is_chat = ask.operation is Operation.CHAT
        self._shows_usage = ask.include_usage
        self._prompt_tokens = kept.prompt_tokens
        self._same = same_in_all(kept.first)
        self._failure: GatewayError | None = None

    @property
    def usage(self) -> Usage | None:
        """That of the whole call: the prompt once, and every token of the answer."""
        told = self._inner.usage
        return None if told is None else self._whole_usage(told)

    @property
    def finish_reason(self) -> str | None:
        return self._inner.finish_reason

    @property
    def failure(self) -> GatewayError | None:
        return self._failure or self._inner.failure

    @failure.setter
    def failure(self, failure: GatewayError | None) -> None:
        self._failure = failure

    @property
    def content_events(self) -> int:
        return self._inner.content_events

    @property
    def is_complete(self) -> bool:
        return self._inner.is_complete

    @property
    def kept(self) -> Kept | None:
        return self._kept

    def event(self, event: bytes) -> bytes | None:
        self._kept.dropped_bytes = 0
        shown = self._inner.event(event)
        if self._kept.diverged:
            self._failure = StreamBroken("the engine did not go on with the same answer")
            return None
        if shown is None:
            return None
        return b"".join(map(self._continued, EventSplitter(len(shown)).feed(shown))) or None

    def end(self) -> bytes | None:
        return self._inner.end()

    def _continued(self, event: bytes) -> bytes:
        data = event_data(event)
        if data is None or data == b"[DONE]":
            return event
        try:
            fields = _top.decode(data)
            choices = _many.decode(fields.get("choices", b"[]"))
        except UNREADABLE:
            return event
        fields |= self._same
        if "usage" in fields:
            fields["usage"] = self._usage(fields["usage"])
        if choices:
            shown = [choice for choice in map(self._choice, choices) if choice is not None]
            if not shown:
                return b""
            fields["choices"] = msgspec.Raw(msgspec.json.encode(shown))
        return data_event(msgspec.json.encode(fields))

    def _choice(self, choice: Fields) -> Fields | None:
        """A choice of an event as the client gets to see it; None when it says nothing new."""
        if self._is_chat and "text" in choice:
            choice = _as_chat(choice)
        if not self._is_chat:
            choice = choice | {"text": self._unsaid(choice.get("text", _NULL))}
            says = bytes(choice["text"]) != b'""'
        else:
            delta = _top.decode(choice.get("delta", b"{}"))
            delta.pop("role", None)
            if "content" in delta:
                delta["content"] = self._unsaid(delta["content"])
            choice = choice | {"delta": msgspec.Raw(msgspec.json.encode(delta))}
            says = any(bytes(value) not in (b'""', b"null") for value in delta.values())
        for name in ("finish_reason", "token_ids"):  # ids: of a client that asked for them
            says = says or bytes(choice.get(name, b"null")) != b"null"
        return choice if says else None

    def _unsaid(self, raw: msgspec.Raw) -> msgspec.Raw:
        if not self._kept.dropped_bytes:
            return raw
        text = _string.decode(raw) or ""
        return msgspec.Raw(msgspec.json.encode(text.encode()[self._kept.dropped_bytes :].decode()))

    def _usage(self, raw: msgspec.Raw) -> msgspec.Raw:
        told = self.usage
        if told is None or bytes(raw) == b"null":
            return raw
        fields = _counts.decode(raw)
        counts = {
            "prompt_tokens": told.prompt_tokens,
            "completion_tokens": told.completion_tokens,
            "total_tokens": told.prompt_tokens + told.completion_tokens,
        }
        fields |= {name: msgspec.Raw(str(count).encode()) for name, count in counts.items()}
        details = fields.get("prompt_tokens_details")
        if details is not None and bytes(details) != b"null":
            cached = msgspec.Raw(str(told.cached_tokens).encode())
            known = _counts.decode(details) | {"cached_tokens": cached}
            fields["prompt_tokens_details"] = msgspec.Raw(msgspec.json.encode(known))
        return msgspec.Raw(msgspec.json.encode(fields))

    def _whole_usage(self, told: Usage) -> Usage:
        prompt = self._prompt_tokens
        if prompt is None:
            prompt = max(0, told.prompt_tokens - self._leg.counted)
        completion = max(0, told.prompt_tokens + told.completion_tokens - prompt)
        return Usage(prompt, completion, min(told.cached_tokens, prompt))


def closing(ask: Ask, kept: Kept) -> bytes:
    """What ends an answer of which only the end was missing: it has all tokens it may have."""
    said: Fields = {"text": msgspec.Raw(b'""')}
    if ask.operation is Operation.CHAT:
        said = {"delta": msgspec.Raw(b"{}")}
    choice = {"index": msgspec.Raw(b"0"), **said, "logprobs": _NULL, "finish_reason": _LENGTH}
    event = same_in_all(kept.first) | {"choices": msgspec.Raw(msgspec.json.encode([choice]))}
    usage = usage_so_far(kept)
    end = data_event(msgspec.json.encode(event))
    if ask.include_usage and usage is not None:
        end += usage_event(kept, usage)
    return end + DONE


def _as_chat(choice: Fields) -> Fields:
    """A choice of a plain completion in the words of chat."""
    delta = {"content": choice["text"]}
    chat = {name: value for name, value in choice.items() if name not in ("text", "logprobs")}
    chat.pop("prompt_token_ids", None)
    return chat | {"delta": msgspec.Raw(msgspec.json.encode(delta)), "logprobs": _NULL}
