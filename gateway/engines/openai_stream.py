"""Read a streamed answer in OpenAI's form, event by event, at little cost.

An event is parsed once, for the few fields that matter to us; its bytes are relayed as they
came unless something in them has to change: the model's name, a finish reason of the engine's
own, a usage chunk that the client did not ask for.
"""

from collections.abc import Callable, Mapping

import msgspec

from gateway.engines.adapter import Shown
from gateway.engines.keep import IDS, NO_IDS, is_given, keep
from gateway.engines.kept import Kept, Why
from gateway.engines.kept_usage import usage_event, usage_so_far
from gateway.engines.openai_shapes import ABSENT, Choice, Chunk, read_chunk
from gateway.errors import GatewayError, StreamBroken
from gateway.wire.ask import Ask, encode_string
from gateway.wire.sse import DONE, data_event, event_data
from gateway.wire.unreadable import UNREADABLE
from gateway.wire.usage import Usage, read_usage

_top = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

ReadError = Callable[[bytes], GatewayError]


class OpenAiStream:
    """The stream of any engine that speaks OpenAI's chunks.

    `read_error` names the failure in an error event; `finish_reasons` maps the engine's own
    words to OpenAI's, "abort" excepted, which means that the engine gave up.
    """

    def __init__(
        self,
        ask: Ask,
        shown: Shown,
        read_error: ReadError,
        finish_reasons: Mapping[str, str],
        kept: Kept | None = None,
    ) -> None:
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.failure: GatewayError | None = None
        self.content_events = 0
        self.is_complete = False
        self._shown = shown
        self._shows_usage = ask.include_usage
        self._read_error = read_error
        self._finish_reasons = finish_reasons
        self._unfinished: set[int] = set()
        self._is_done = False
        self._has_final_usage = False
        self._likeness: Likeness | None = None
        self._kept = kept

    def event(self, event: bytes) -> bytes | None:
        likeness = self._likeness
        if likeness is not None and (shown := likeness.shown(event)):
            self.content_events += 1
            if self._kept is not None:
                self._kept.add(likeness.text, likeness.ids)
            return shown
        data: bytes | None
        if event.startswith(b"data: {"):
            data = event[6:]
        else:
            data = event_data(event)
            if data is None:
                return event
            if data == b"[DONE]":
                return self._done(event)
            if not data:
                return None
        try:
            chunk = read_chunk(data)
        except UNREADABLE:
            return self._unreadable(event)
        if is_given(chunk.error):
            self.failure = self._read_error(bytes(chunk.error))
            return None
        return self._chunk(event, chunk)

    def end(self) -> bytes | None:
        if self._is_done or self.failure:
            return None
        done = self._done(DONE)
        if done is not None and self.usage is None and self._kept is not None:
            self.usage = usage_so_far(self._kept)
            if self.usage is not None and self._shows_usage:
                return usage_event(self._kept, self.usage) + done
        return done

    def _chunk(self, event: bytes, chunk: Chunk) -> bytes | None:
        if chunk.usage is not ABSENT and (usage := read_usage(chunk.usage)):
            self.usage = usage
            if not chunk.choices:
                self._has_final_usage = True
                if not self._shows_usage:
                    return None
        if self._kept is not None:
            event = keep(self._kept, chunk, event)
        reworded = False
        for choice in chunk.choices:
            has_content = _has_content(choice)
            self.content_events += has_content
            reason = choice.finish_reason
            if not reason:
                self._unfinished.add(choice.index)
                if has_content and len(chunk.choices) == 1:
                    text = choice.text if choice.delta is None else choice.delta.content
                    self._likeness = self._likeness_of(event, text or "", chunk)
            elif reason == "abort":
                self.failure = StreamBroken("the engine stopped before the answer was complete")
                return None
            else:
                reworded |= reason in self._finish_reasons
                self.finish_reason = self._finish_reasons.get(reason, reason)
                self._unfinished.discard(choice.index)
        event = self._as_shown(chunk)(event)
        if self._kept is not None and chunk.choices:
            self._kept.begin(event)
        return self._reworded(event) if reworded else event

    def _likeness_of(self, event: bytes, text: str, chunk: Chunk) -> "Likeness | None":
        kept = self._kept
        if kept is None or not kept.with_ids:
            return Likeness.of(event, text, self._as_shown(chunk))
        if not kept.hides_ids or event.count(NO_IDS) != 1:
            return None  # the ids are the client's, and differ in every event
        return Likeness.of(event, text, self._as_shown(chunk), hides_ids=True)

    def _done(self, event: bytes) -> bytes | None:
        # the usage chunk comes after the last token, so it proves as much as a finish reason
        is_whole = self.finish_reason is not None and not self._unfinished
        if not is_whole and not self._has_final_usage:
            self.failure = StreamBroken("the engine ended the answer before it was complete")
            return None
        self._is_done = self.is_complete = True
        return event

    def _unreadable(self, event: bytes) -> bytes:
        """Relay what we do not understand, and count it: it may be content."""
        self.content_events += 1
        if self._kept is not None:
            self._kept.give_up(Why.UNREADABLE)
        return event

    def _as_shown(self, chunk: Chunk) -> Callable[[bytes], bytes]:
        """What turns this event, and all that are like it, into what the client sees."""

        def show(event: bytes) -> bytes:
            if chunk.model is None or chunk.model == self._shown.model:
                return event
            return self._renamed(event, chunk.model)

        return show

    def _renamed(self, event: bytes, engine_model: str) -> bytes:
        # Quotes inside a JSON string are escaped, so this can only match a key and its value.
        shown = bytes(encode_string(self._shown.model))
        old = b'"model":' + bytes(encode_string(engine_model))
        renamed = event.replace(old, b'"model":' + shown, 1)
        if renamed is not event and renamed != event:
            return renamed
        return edited(event, {"model": msgspec.Raw(shown)})

    def _reworded(self, event: bytes) -> bytes:
        fields = _top.decode(event_data(event) or b"")
        choices = _choices.decode(fields["choices"])
        for choice in choices:
            reason = msgspec.json.decode(choice.get("finish_reason", b"null"))
            if reason in self._finish_reasons:
                choice["finish_reason"] = encode_string(self._finish_reasons[reason])
        fields["choices"] = msgspec.Raw(msgspec.json.encode(choices))
        return data_event(msgspec.json.encode(fields))


class Likeness:
    """A content event, and how another looks that differs from it in nothing but the text.

    Most events of a stream do, so most need no parsing: when all bytes around the text are the
    same, and the text holds no quote and no backslash, the JSON around it is the same too. Where
    token ids were asked for and the client did not, they differ as well: `text` and `ids` are
    those of the event that was looked at last.
    """

    __slots__ = (
        "_after",
        "_before",
        "_between",
        "_is_as_sent",
        "_shown_after",
        "_shown_before",
        "_text_from",
        "_text_to",
        "ids",
        "text",
    )

    def __init__(
        self, before: bytes, between: bytes, after: bytes, shown_before: bytes, shown_after: bytes
    ) -> None:
        """The text stands after `before`; ids, where there are any, after `between`."""
        self.text = b""
        self.ids = b""
        self._before = before
        self._between = between
        self._after = after
        self._text_from = len(before)
        self._text_to = -len(after)
        self._shown_before = shown_before
        self._shown_after = shown_after
        self._is_as_sent = not between and shown_before == before and shown_after == after

    @classmethod
    def of(
        cls, event: bytes, text: str, show: Callable[[bytes], bytes], *, hides_ids: bool = False
    ) -> "Likeness | None":
        """None when the text cannot be told apart from the rest for certain.

        `hides_ids`: the engine's own events have ids in place of the null in this one.
        """
        for key in (b'"content":"', b'"text":"'):
            if event.count(key) != 1:
                continue
            start = event.find(key) + len(key)
            end = event.find(b'"', start)
            if text and event[start:end] == text.encode() and b"\\" not in event[start:end]:
                before, after = event[:start], event[end:]
                shown = show(before + after)
                if shown.endswith(after):
                    shown_before, shown_after = shown[: -len(after)], after
                elif shown.startswith(before):
                    shown_before, shown_after = before, shown[len(before) :]
                else:
                    continue
                between = b""
                if hides_ids:
                    between, _, after = after.partition(NO_IDS)
                    between, after = between + IDS + b"[", b"]" + after
                return cls(before, between, after, shown_before, shown_after)
        return None

    def shown(self, event: bytes) -> bytes | None:
        """What the client gets in place of an event of this likeness; None for any other."""
        if not event.startswith(self._before) or not event.endswith(self._after):
            return None
        text = event[self._text_from : self._text_to]
        if self._between:
            text, _, ids = text.partition(self._between)
            if not ids.replace(b",", b"").isdigit():
                return None
            self.ids = ids
        if not text or b'"' in text or b"\\" in text:
            return None
        self.text = text
        if self._is_as_sent:
            return event
        return self._shown_before + text + self._shown_after


def edited(event: bytes, changes: Mapping[str, msgspec.Raw]) -> bytes:
    """The event with some top-level fields of its JSON replaced."""
    return data_event(msgspec.json.encode(_top.decode(event_data(event) or b"") | dict(changes)))


def _has_content(choice: Choice) -> bool:
    delta = choice.delta
    if delta is None:
        return bool(choice.text)
    return bool(
        delta.content or delta.reasoning or delta.reasoning_content or is_given(delta.tool_calls)
    )
