"""How many tokens a call will take, before anybody has counted. Pure.

The prompt is measured in bytes, which the bytes per token that a model's engines have reported
turn into tokens; where the client sent tokens, they are counted. The output is the most that the
client allows, or what answers of this model usually take. What was estimated is corrected when
the call is over, so an estimate has to be about right, and cheap.

Source: 4 bytes per token to begin with is OpenAI's rule of thumb for English text.
"""

import re
from typing import Final

import msgspec

from gateway.wire.ask import Ask, Operation
from gateway.wire.usage import Usage

_BYTES_PER_TOKEN: Final = 4.0
_OUTPUT_TOKENS: Final = 256.0
# images and sounds, which are no text: so many tokens each
_MEDIA_SIGNS: Final = (b";base64,", b'"input_audio"')
_MEDIA = re.compile(rb'(?:;base64,|"data"\s*:\s*")([A-Za-z0-9+/=_\-]{1024,})')
_MEDIA_TOKENS: Final = 1000
_LEAST_MEDIA_BYTES: Final = 1024
# the last few dozen calls count most
_MEMORY: Final = 0.98
_PROMPT_FIELDS: Final = frozenset(("messages", "prompt", "input", "inputs", "tools", "functions"))
# what engines take themselves when the client says nothing
_TGI_OUTPUT_TOKENS: Final = 100


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call. `prompt_bytes` 0: the prompt's tokens were counted, not estimated."""

    prompt_tokens: int
    output_tokens: int
    prompt_bytes: int = 0


class _Parameters(msgspec.Struct):
    max_new_tokens: int | None = None
    best_of: int | None = None


_list = msgspec.json.Decoder(list[msgspec.Raw])
_parameters = msgspec.json.Decoder(_Parameters | None)
_count = msgspec.json.Decoder(int)


class Estimator:
    """Learns from one model's usage."""

    def __init__(self) -> None:
        self._bytes = _BYTES_PER_TOKEN
        self._tokens = 1.0
        self._outputs = _OUTPUT_TOKENS
        self._answers = 1.0

    @property
    def bytes_per_token(self) -> float:
        return self._bytes / self._tokens

    @property
    def usual_output_tokens(self) -> float:
        return self._outputs / self._answers

    def estimate(self, ask: Ask) -> Estimate:
        prompts, counted, size_bytes, media = _prompt(ask)
        tokens = counted + media * _MEDIA_TOKENS + round(size_bytes / self.bytes_per_token)
        output = self._output(ask) * prompts
        return Estimate(max(1, tokens), output, 0 if counted or media else size_bytes)

    def learn(self, estimate: Estimate, usage: Usage) -> None:
        """What the engine counted for a call that was answered whole."""
        if estimate.prompt_bytes and usage.prompt_tokens:
            self._bytes = self._bytes * _MEMORY + estimate.prompt_bytes
            self._tokens = self._tokens * _MEMORY + usage.prompt_tokens
        if usage.completion_tokens:
            self._outputs = self._outputs * _MEMORY + usage.completion_tokens
            self._answers = self._answers * _MEMORY + 1

    def _output(self, ask: Ask) -> int:
        match ask.operation:
            case Operation.EMBEDDINGS:
                return 0
            case Operation.GENERATE:
                given = _tgi_parameters(ask)
                asked = given.max_new_tokens
                each = _TGI_OUTPUT_TOKENS if asked is None or asked < 0 else asked
                return each * max(1, given.best_of or 1)
            case _:
                most = ask.max_tokens
                each = round(self.usual_output_tokens) if most is None or most < 0 else most
                return each * max(1, ask.n, _best_of(ask))


def _prompt(ask: Ask) -> tuple[int, int, int, int]:
    """How many prompts there are; their tokens where the client sent tokens; bytes; media."""
    prompts, counted, size_bytes, media = 1, 0, 0, 0
    for name in _PROMPT_FIELDS & ask.fields.keys():
        raw = bytes(ask.fields[name])
        if name in ("prompt", "input") and raw[:1] == b"[":
            prompts, tokens = _several(raw)
            if tokens:
                counted += tokens
                continue
        size_bytes += len(raw)
        if len(raw) > _LEAST_MEDIA_BYTES and any(sign in raw for sign in _MEDIA_SIGNS):
            for found in _MEDIA.finditer(raw):
                media += 1
                size_bytes -= len(found[1])
    if ask.operation is Operation.EMBEDDINGS:
        prompts = 1
    return prompts, counted, size_bytes, media


def _several(value: bytes) -> tuple[int, int]:
    """Of a list: how many prompts it holds, and how many tokens where they are token ids."""
    try:
        parts = _list.decode(value)
        if not parts:
            return 1, 0
        first = bytes(memoryview(parts[0])[:1])
        if first.isdigit():
            return 1, len(parts)
        if first == b"[":
            return len(parts), sum(len(_list.decode(part)) for part in parts)
    except msgspec.DecodeError:
        return 1, 0
    return len(parts), 0


def _tgi_parameters(ask: Ask) -> _Parameters:
    raw = ask.fields.get("parameters")
    try:
        return (None if raw is None else _parameters.decode(raw)) or _Parameters()
    except msgspec.DecodeError:
        return _Parameters()


def _best_of(ask: Ask) -> int:
    raw = ask.fields.get("best_of")
    try:
        return 1 if raw is None else _count.decode(raw)
    except msgspec.DecodeError:
        return 1
