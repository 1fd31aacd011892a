import json
from typing import Any

import pytest

from gateway.engines import leg
from gateway.engines.adapter import Shown
from gateway.engines.kept import Kept
from gateway.engines.leg import Leg
from gateway.engines.resumed_stream import ResumedStream, closing
from gateway.engines.vllm import VllmAdapter
from gateway.errors import EngineFault, StreamBroken
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.usage import Usage

DONE = b"data: [DONE]\n\n"
IDS = [7, 8, 1, 2]


def event(**fields: Any) -> bytes:
    chunk = {"id": "other", "object": "x", "created": 2, "model": "org/m"} | fields
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def content(text: str, *ids: int, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None} | more
    return event(choices=[choice | {"token_ids": list(ids)}])


ROLE = event(
    choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
    prompt_token_ids=IDS,
)
FIRST = b'data: {"id":"first","object":"chat.completion.chunk","created":1,"model":"m"}\n\n'


def an_ask(operation: Operation = Operation.CHAT, **fields: Any) -> Ask:
    body = {"model": "m", "messages": [], "prompt": "x", "stream": True, "temperature": 0} | fields
    return read_ask(json.dumps(body).encode(), operation)


class Bench:
    """An answer of two tokens, "so far", and the stream that goes on with it."""

    def __init__(
        self, ask: Ask | None = None, way: Any = leg.chat_ids, *, repeats: bool = False
    ) -> None:
        self.kept = Kept(with_ids=True, hides_ids=True)
        self.kept.begin(FIRST)
        self.kept.read_prompt(b"[7,8]")
        self.kept.add(b"so", b"1")
        self.kept.add(b" far", b"2,3" if repeats else b"2")
        self.ask = ask or an_ask(stream_options={"include_usage": True})
        found = way(self.ask, self.kept)
        assert isinstance(found, Leg)
        inner = VllmAdapter().stream(found.ask, Shown("m", "ours", 3), self.kept)
        self.stream = ResumedStream(inner, self.ask, found, self.kept)

    def shown(self, given: bytes) -> dict[str, Any] | None:
        """What the client gets of an event."""
        out = self.stream.event(given)
        if out is None:
            return None
        told: dict[str, Any] = json.loads(out[6:])
        return told


def test_the_client_sees_the_first_engines_stream() -> None:
    bench = Bench()
    assert bench.shown(ROLE) is None
    told = bench.shown(content(" away", 3))
    assert told == {
        "id": "first",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "delta": {"content": " away"},
                "finish_reason": None,
                "token_ids": None,
            }
        ],
    }
    assert bench.shown(content("", 4, finish_reason="stop")) is not None
    assert bench.stream.finish_reason == "stop"
    assert bench.stream.event(DONE) == DONE
    assert bench.stream.is_complete
    assert bench.stream.content_events == 1


@pytest.mark.parametrize("details", [None, {"cached_tokens": 4}])
def test_the_usage_counts_the_prompt_once(details: Any) -> None:
    bench = Bench()
    bench.shown(ROLE)
    usage = {"prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13}
    told = bench.shown(event(choices=[], usage=usage | {"prompt_tokens_details": details}))
    assert told is not None
    cached = 0 if details is None else 2
    assert bench.stream.usage == Usage(2, 11, cached)
    counts = {"prompt_tokens": 2, "completion_tokens": 11, "total_tokens": 13}
    shown = None if details is None else {"cached_tokens": 2}
    assert told["usage"] == counts | {"prompt_tokens_details": shown}


def test_a_usage_that_says_nothing_stays_as_it_is() -> None:
    bench = Bench()
    bench.shown(ROLE)
    told = bench.shown(event(choices=[], usage=None))
    assert told is not None
    assert told["usage"] is None
    assert bench.stream.usage is None


def test_what_was_said_is_not_said_again() -> None:
    bench = Bench(repeats=True)
    bench.stream.event(ROLE.replace(b"7,8,1,2", b"7,8,1"))
    assert bench.stream.event(content(" fa", 2)) is None
    told = bench.shown(content("r away", 3))
    assert told is not None
    assert told["choices"][0]["delta"] == {"content": " away"}


def test_another_answer_breaks_the_stream() -> None:
    bench = Bench()
    assert bench.stream.event(ROLE.replace(b"7,8,1,2", b"7,8")) is None
    assert isinstance(bench.stream.failure, StreamBroken)


def test_a_plain_completion_is_shown_as_chat() -> None:
    bench = Bench(way=leg.completion_ids)
    choice = {"index": 0, "text": " away", "logprobs": None, "finish_reason": None}
    told = bench.shown(event(choices=[choice | {"prompt_token_ids": IDS, "token_ids": [3]}]))
    assert told is not None
    (shown,) = told["choices"]
    assert shown["delta"] == {"content": " away"}
    assert "text" not in shown


def test_a_plain_completion_goes_on_as_one() -> None:
    bench = Bench(an_ask(Operation.COMPLETION), way=leg.completion_ids)
    choice = {"index": 0, "text": " away", "finish_reason": None}
    told = bench.shown(event(choices=[choice | {"prompt_token_ids": IDS, "token_ids": [3]}]))
    assert told is not None
    assert told["choices"][0]["text"] == " away"


def test_what_cannot_be_read_is_passed_on() -> None:
    bench = Bench()
    assert bench.stream.event(b": ping\n\n") == b": ping\n\n"
    assert bench.stream.event(b"data: {odd\n\n") == b"data: {odd\n\n"
    assert bench.stream.kept is bench.kept


def test_a_broken_leg_says_so() -> None:
    bench = Bench()
    assert bench.stream.end() is None
    assert isinstance(bench.stream.failure, StreamBroken)
    bench.stream.failure = EngineFault("x")
    assert isinstance(bench.stream.failure, EngineFault)


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETION])
@pytest.mark.parametrize("usage", [False, True])
def test_an_answer_that_has_all_its_tokens_is_closed(operation: Operation, usage: bool) -> None:
    ask = an_ask(operation, stream_options={"include_usage": usage})
    bench = Bench(ask, way=leg.completion_ids)
    *events, done = closing(ask, bench.kept).split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    told = [json.loads(one[6:]) for one in events]
    assert {one["id"] for one in told} == {"first"}
    assert told[0]["choices"][0]["finish_reason"] == "length"
    assert ("delta" in told[0]["choices"][0]) is (operation is Operation.CHAT)
    counts = {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert [one["usage"] for one in told[1:]] == ([counts] if usage else [])


def test_where_the_engine_tells_no_ids_the_prompt_is_what_was_not_said() -> None:
    kept = Kept()
    kept.begin(FIRST)
    for piece in (b"so", b" far"):
        kept.add(piece, b"")
    ask = an_ask()
    found = leg.text(ask, kept, 0, {}, continues=True)
    assert isinstance(found, Leg)
    stream = ResumedStream(
        VllmAdapter().stream(found.ask, Shown("m", "ours", 3), kept), ask, found, kept
    )
    stream.event(event(choices=[{"index": 0, "delta": {"reasoning": "hm"}}]))
    stream.event(event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 3}))
    assert stream.usage == Usage(7, 5)
