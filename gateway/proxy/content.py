"""Prompt and answer as attributes of a span, where the operator wants them recorded. Pure.

What cannot be read, or is too long, is left out: a trace is no archive.

Source: OpenTelemetry semantic conventions for generative AI, "Recording content on attributes";
messages are JSON by its schemas (`role` and `parts`).
"""

from typing import Final

import msgspec

from gateway.telemetry.otlp import Value
from gateway.wire.ask import Ask, Operation

Fields = dict[str, object]

MAX_CHARACTERS: Final = 64 * 1024
_PROMPTS: Final = {
    Operation.COMPLETION: "prompt",
    Operation.EMBEDDINGS: "input",
    Operation.GENERATE: "inputs",
}
_json = msgspec.json.Decoder()


def content_of(ask: Ask, answer: bytes) -> dict[str, Value | None]:
    """`answer` is the body that the client got: JSON, or server-sent events."""
    found = {
        "gen_ai.input.messages": _encoded(_input(ask)),
        "gen_ai.output.messages": _encoded(_output(answer, is_stream=ask.stream)),
    }
    return {
        name: text if text is not None and len(text) <= MAX_CHARACTERS else None
        for name, text in found.items()
    }


def _encoded(messages: list[Fields]) -> str | None:
    return msgspec.json.encode(messages).decode() if messages else None


def _input(ask: Ask) -> list[Fields]:
    if ask.operation is Operation.CHAT:
        return [_message(one) for one in _objects(_read(bytes(ask.fields["messages"])))]
    prompt = _read(bytes(ask.fields.get(_PROMPTS[ask.operation], b"null")))
    return [] if prompt is None else [{"role": "user", "parts": _parts(prompt)}]


def _message(given: Fields) -> Fields:
    if given.get("role") == "tool":
        said = {"id": given.get("tool_call_id"), "response": given.get("content")}
        return {"role": "tool", "parts": [{"type": "tool_call_response"} | said]}
    parts = _parts(given.get("content"))
    for call in _objects(given.get("tool_calls")):
        function = _object(call.get("function"))
        facts = {"name": function.get("name"), "arguments": function.get("arguments")}
        parts.append({"type": "tool_call", "id": call.get("id")} | facts)
    return {"role": given.get("role"), "parts": parts}


def _parts(content: object) -> list[Fields]:
    """Text as text; images and the like by their kind alone."""
    if content is None:
        return []
    parts: list[Fields] = []
    for one in content if isinstance(content, list) else [content]:
        fields = _object(one)
        if fields and "text" not in fields:
            parts.append({"type": fields.get("type")})
        else:
            parts.append({"type": "text", "content": fields.get("text", one)})
    return parts


def _output(answer: bytes, *, is_stream: bool) -> list[Fields]:
    if not is_stream:
        return _whole(_object(_read(answer)))
    texts: dict[object, str] = {}
    reasons: dict[object, object] = {}
    for line in answer.split(b"\n"):
        event = _object(_read(line[5:])) if line.startswith(b"data:") else {}
        # one token of TGI's own, or choices
        for choice in (_object(event.get("token")), *_objects(event.get("choices"))):
            said = _object(choice.get("delta")) or choice
            text = said.get("content") or said.get("text")
            index = repr(choice.get("index", 0))
            if isinstance(text, str):
                texts[index] = texts.get(index, "") + text
            reasons[index] = choice.get("finish_reason") or reasons.get(index)
    return [_said(text, reasons[index]) for index, text in texts.items()]


def _whole(body: Fields) -> list[Fields]:
    if "generated_text" in body:
        return [_said(body["generated_text"], None)]
    messages: list[Fields] = []
    for choice in _objects(body.get("choices")):
        reason = choice.get("finish_reason")
        if message := _object(choice.get("message")):
            told = _message({"role": "assistant"} | message)
            messages.append(told | {"finish_reason": reason})
        else:
            messages.append(_said(choice.get("text"), reason))
    return messages


def _said(text: object, reason: object) -> Fields:
    parts = [{"type": "text", "content": text}]
    return {"role": "assistant", "parts": parts, "finish_reason": reason}


def _object(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Fields]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _read(text: bytes) -> object:
    """None: it is no JSON."""
    try:
        return _json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
