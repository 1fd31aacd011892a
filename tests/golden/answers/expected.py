"""What clients get for the answers that real engines gave: `tests/golden/transcripts` replayed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.engines import ENGINES
from gateway.engines.adapter import EngineAdapter, Shown
from gateway.errors import GatewayError
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.sse import EventSplitter
from tests.support.transcripts import TRANSCRIPTS, Answered, Transcript

_ADAPTERS: Mapping[str, str] = {"llamacpp": "llamacpp", "vllm-0.32.0": "vllm"}
ENGINES_RECORDED = tuple(_ADAPTERS)
_OPERATIONS = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/completions": Operation.COMPLETION,
    "/v1/embeddings": Operation.EMBEDDINGS,
}
_SHOWN = Shown("what-was-asked", "chatcmpl-ours", 1)


def expected_file(recorded: str) -> Path:
    return Path(__file__).parent / f"{recorded}.json"


def dumps(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def shown_answers(recorded: str) -> dict[str, object]:
    """By transcript: what the adapter makes of it. Requests we would refuse are left out."""
    adapter = ENGINES[_ADAPTERS[recorded]]
    found = {}
    for file in sorted((TRANSCRIPTS / recorded).glob("*.json")):
        outcome = _replayed(adapter, Transcript.load(file))
        if outcome is not None:
            found[file.stem] = outcome
    return found


def _replayed(adapter: EngineAdapter, transcript: Transcript) -> object:
    asked, answered = transcript.asked, transcript.answered
    if not answered.status_line:
        return None
    if asked.path == adapter.health_path:
        return {"state": adapter.state(answered.status, answered.body).value}
    if asked.path == adapter.load_path:
        load = adapter.load(answered.body)
        return {name: getattr(load, name) for name in load.__slots__}
    operation = _OPERATIONS.get(asked.path)
    if operation is None or asked.method != "POST":
        return None
    try:
        ask = read_ask(asked.body.encode(), operation, model="m")
    except GatewayError:
        return None
    if answered.status != 200:
        return _failure(adapter.refusal(answered.status, answered.body, None))
    if ask.stream:
        return _streamed(adapter, ask, answered)
    try:
        answer = adapter.answer(ask, answered.body, lambda _: None, _SHOWN)
    except GatewayError as error:
        return _failure(error)
    return {
        "changed": sorted(_changed(answered.body, answer.body)),
        "usage": msgspec.to_builtins(answer.usage),
        "finish_reason": answer.finish_reason,
    }


def _streamed(adapter: EngineAdapter, ask: Ask, answered: Answered) -> object:
    stream = adapter.stream(ask, _SHOWN)
    shown: list[bytes] = []
    splitter = EventSplitter(1 << 20)
    for event in (event for piece in answered.pieces for event in splitter.feed(piece)):
        out = stream.event(event)
        if stream.failure is not None:
            break
        shown += [] if out is None else [out]
    closing = stream.end()
    shown += [] if closing is None else [closing]
    text = b"".join(shown)
    return {
        "events": len(answered.events()),
        "shown": len(shown),
        "last": shown[-1].decode()[-60:] if shown else None,
        "digest": hashlib.sha256(text).hexdigest()[:16],
        "names": sorted({json.loads(e)["model"] for e in _data(text) if b'"model"' in e}),
        "content_events": stream.content_events,
        "usage": msgspec.to_builtins(stream.usage),
        "finish_reason": stream.finish_reason,
        "is_complete": stream.is_complete,
        "failure": None if stream.failure is None else _failure(stream.failure),
    }


def _data(text: bytes) -> list[bytes]:
    return [e[6:] for e in text.split(b"\n\n") if e.startswith(b"data: {")]


def _changed(before: bytes, after: bytes) -> set[str]:
    old, new = json.loads(before), json.loads(after)
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _failure(error: GatewayError) -> dict[str, object]:
    return {
        "class": type(error).__name__,
        "status": error.status,
        "code": error.code,
        "param": error.param,
        "message": error.public,
        "retry": error.retry.value,
    }
