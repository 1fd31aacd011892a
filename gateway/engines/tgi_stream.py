"""Read TGI's streams: its OpenAI chunks, and the events of its own API.

In its chunks every delta repeats the role, the id is empty, and in completions the finish
reason is an empty string until the last; OpenAI's SDK would add the roles up. They are shown
as OpenAI sends them: the role in an event of its own, before the first content.
"""

from collections.abc import Callable, Mapping

import msgspec
from typing_extensions import override

from gateway.engines.adapter import Shown
from gateway.engines.kept import Kept
from gateway.engines.openai_shapes import Chunk
from gateway.engines.openai_stream import OpenAiStream, ReadError
from gateway.engines.tgi_shapes import read_event
from gateway.errors import GatewayError, StreamBroken
from gateway.wire.ask import Ask, Operation, encode_string
from gateway.wire.sse import data_event, event_data
from gateway.wire.unreadable import UNREADABLE
from gateway.wire.usage import Usage

_NULL = msgspec.Raw(b"null")
_top = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class TgiStream(OpenAiStream):
    """TGI's chat completions and completions."""

    def __init__(
        self,
        ask: Ask,
        shown: Shown,
        read_error: ReadError,
        finish_reasons: Mapping[str, str],
        kept: Kept | None = None,
    ) -> None:
        super().__init__(ask, shown, read_error, finish_reasons, kept)
        self._owes_role = ask.operation is Operation.CHAT

    @override
    def event(self, event: bytes) -> bytes | None:
        shown = super().event(event)
        if self._owes_role and shown is not None and (self.content_events or self.finish_reason):
            self._owes_role = False
            return self._role() + shown
        return shown

    @override
    def _as_shown(self, chunk: Chunk) -> Callable[[bytes], bytes]:
        return self._in_openais_words

    def _in_openais_words(self, event: bytes) -> bytes:
        fields = _top.decode(event_data(event) or b"{}")
        if bytes(fields.get("id", b'""')) == b'""':
            fields["id"] = encode_string(self._shown.id)
        if "model" in fields:
            fields["model"] = encode_string(self._shown.model)
        choices = _choices.decode(fields.get("choices", b"[]"))
        for choice in choices:
            if "delta" in choice:
                delta = _top.decode(choice["delta"])
                delta.pop("role", None)
                choice["delta"] = msgspec.Raw(msgspec.json.encode(delta))
            if bytes(choice.get("finish_reason", b"null")) == b'""':
                choice["finish_reason"] = _NULL
        fields["choices"] = msgspec.Raw(msgspec.json.encode(choices))
        return data_event(msgspec.json.encode(fields))

    def _role(self) -> bytes:
        delta = {"role": "assistant", "content": ""}
        return data_event(
            msgspec.json.encode(
                {
                    "object": "chat.completion.chunk",
                    "id": self._shown.id,
                    "created": self._shown.created,
                    "model": self._shown.model,
                    "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
                }
            )
        )


class TgiNativeStream:
    """The stream of `/generate_stream`: token events, the last of which has the whole text."""

    def __init__(self, read_error: ReadError, *, shows_details: bool) -> None:
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.failure: GatewayError | None = None
        self.content_events = 0
        self.is_complete = False
        self._read_error = read_error
        self._shows_details = shows_details

    def event(self, event: bytes) -> bytes | None:
        data = event_data(event)
        if not data:
            return event
        try:
            read = read_event(data)
        except UNREADABLE:
            self.content_events += 1
            return event
        if read.error is not None:
            self.failure = self._read_error(data)
            return None
        self.content_events += 1
        if read.generated_text is None:
            return event
        self.is_complete = True
        details = read.details
        if details is not None:
            self.usage = Usage(details.input_length, details.generated_tokens)
            self.finish_reason = details.finish_reason
            if not self._shows_details:
                return data_event(msgspec.json.encode(_top.decode(data) | {"details": _NULL}))
        return event

    def end(self) -> bytes | None:
        if not self.is_complete and self.failure is None:
            self.failure = StreamBroken("the engine ended the answer before it was complete")
        return None
