import json
from typing import Any

import pytest

from gateway.engines import ENGINES
from gateway.engines.adapter import Shown
from gateway.engines.assembled import Assembled
from gateway.engines.assembled_shapes import Blank
from gateway.errors import EngineFault
from gateway.wire.ask import Operation, read_ask
from gateway.wire.sse import EventSplitter
from tests.support.transcripts import TRANSCRIPTS, Transcript

PAIRS = [
    ("vllm-0.32.0", "chat-stream-usage", "chat"),
    ("vllm-0.32.0", "chat-stream-logprobs", "chat-logprobs"),
    ("vllm-0.32.0", "completions-stream-usage", "completions"),
    ("vllm-0.32.0", "chat-stream-stop-string", "chat-stop-string"),
    ("llamacpp", "chat-stream-usage", "chat"),
    ("llamacpp", "chat-stream-logprobs", "chat-logprobs"),
    ("llamacpp", "completions-stream-usage", "completions"),
    ("llamacpp", "chat-stream-stop-string", "chat-stop-string"),
]
# of this very answer, or of the cache at that time
OWN = ("id", "created", "timings", "usage")


@pytest.mark.parametrize(("engine", "stream", "whole"), PAIRS)
def test_a_recorded_stream_is_the_recorded_whole_answer(
    engine: str, stream: str, whole: str
) -> None:
    adapter = ENGINES[engine.partition("-")[0]]
    folder = TRANSCRIPTS / engine
    streamed, wanted = (Transcript.load(folder / f"{name}.json") for name in (stream, whole))
    operation = Operation.CHAT if whole.startswith("chat") else Operation.COMPLETION
    ask = read_ask(streamed.asked.body.encode(), operation)
    reader = adapter.stream(ask, Shown("tiny", "id", 1))
    assembled = Assembled(operation, adapter.blank(operation), 10_000)
    for event in EventSplitter(10**6).feed(streamed.answered.body):
        assembled.add(reader.event(event) or b"")
    whole_answer = json.loads(wanted.answered.body)
    if not ask.include_usage:
        del whole_answer["usage"]
    assert own(json.loads(assembled.answer())) == own(whole_answer)


def own(answer: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in answer.items() if name not in OWN}
    usage = answer.get("usage")
    if usage:
        kept["tokens"] = [usage["prompt_tokens"], usage["completion_tokens"]]
        kept["usage names"] = sorted(usage)
    return kept


def assembled(*chunks: Any, operation: Operation = Operation.CHAT, **more: Any) -> dict[str, Any]:
    one = Assembled(operation, more.pop("blank", Blank()), more.pop("max_bytes", 1000))
    one.add(b": ping\n\n")
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()
        one.add(b"data: " + data + b"\n\n")
    one.add(b"data: [DONE]\n\n")
    answer: dict[str, Any] = json.loads(one.answer())
    return answer


def a_delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [choice]}


def test_reasoning_is_put_together_beside_the_content() -> None:
    answer = assembled(
        a_delta(role="assistant", content=""),
        a_delta(reasoning="Hm", reasoning_content="Hm"),
        a_delta(reasoning="m.", reasoning_content="m."),
        a_delta(content="Yes"),
        a_delta("stop", content="!"),
    )
    (choice,) = answer["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "Yes!",
        "reasoning": "Hmm.",
        "reasoning_content": "Hmm.",
    }
    assert (choice["finish_reason"], answer["object"]) == ("stop", "chat.completion")


@pytest.mark.parametrize(("engine", "content"), [("vllm", None), ("llamacpp", "")])
def test_a_model_that_only_thought_has_said_what_its_engine_says(
    engine: str, content: str | None
) -> None:
    blank = ENGINES[engine].blank(Operation.CHAT)
    answer = assembled(a_delta("length", reasoning="Hm"), blank=blank)
    assert answer["choices"][0]["message"]["content"] == content
    assert assembled(a_delta("stop"), blank=blank)["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (b"{no json", "could not be read"),
        ({"choices": 1}, "could not be read"),
        ({"choices": [{"delta": {"content": "x" * 1001}}]}, "too large"),
        ({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, "a tool unasked"),
        ({"choices": [{"index": 0}, {"index": 1}]}, "more answers than one"),
    ],
)
def test_what_is_no_whole_answer_is_the_engines_fault(chunk: Any, why: str) -> None:
    with pytest.raises(EngineFault, match=why):
        assembled(a_delta(content="a"), chunk, a_delta("stop"))


def test_logprobs_count_for_the_bound() -> None:
    entry = {"token": "x" * 600, "logprob": -1.0}
    chunk = a_delta(content="x")
    chunk["choices"][0]["logprobs"] = {"content": [entry]}
    assert assembled(chunk)["choices"][0]["logprobs"] == {"content": [entry]}
    with pytest.raises(EngineFault, match="too large"):
        assembled(chunk, chunk)


@pytest.mark.parametrize("content", [None, []])
def test_logprobs_without_a_token_add_none(content: list[Any] | None) -> None:
    chunk = a_delta(content="x")
    chunk["choices"][0]["logprobs"] = {"content": content}
    assert "logprobs" in assembled(chunk)["choices"][0]
