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
from gateway.wire.tgi_parameters import read_parameters
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
_CONTENT: Final = {
    Operation.CHAT: "messages",
    Operation.COMPLETION: "prompt",
    Operation.EMBEDDINGS: "input",
    Operation.GENERATE: "inputs",
}
_MAY_BE_LISTS: Final = (Operation.COMPLETION, Operation.EMBEDDINGS)
# what engines take themselves when the client says nothing
_TGI_OUTPUT_TOKENS: Final = 100


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call. `prompt_bytes` 0: the prompt's tokens were counted, not estimated."""

    prompt_tokens: int
    output_tokens: int
    prompt_bytes: int = 0


_list = msgspec.json.Decoder(list[msgspec.Raw])
_count: msgspec.json.Decoder[int] = msgspec.json.Decoder(int)


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
        fields = ask.fields
        content = fields.get(_CONTENT[ask.operation])
        size_bytes = 0
        if content is not None:
            # a size alone costs nothing; most prompts are text and hold one prompt
            size_bytes = len(content)
            if size_bytes > _LEAST_MEDIA_BYTES or ask.operation in _MAY_BE_LISTS:
                return self._estimate_closely(ask, bytes(content))
        if "tools" in fields:
            size_bytes += len(fields["tools"])
        prompt = max(1, round(size_bytes * self._tokens / self._bytes))
        return Estimate(prompt, self._output(ask), size_bytes)

    def _estimate_closely(self, ask: Ask, content: bytes) -> Estimate:
        prompts, counted, size_bytes, media = _prompt(content, ask.operation)
        if tools := ask.fields.get("tools"):
            size_bytes += len(tools)
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
                given = read_parameters(ask.fields.get("parameters"))
                asked = given.max_new_tokens
                each = _TGI_OUTPUT_TOKENS if asked is None or asked < 0 else asked
                return each * max(1, given.best_of or 1)
            case _:
                most = ask.max_tokens
                each = round(self.usual_output_tokens) if most is None or most < 0 else most
                return (
                    each * max(1, ask.n, _best_of(ask))
                    if ask.n != 1 or "best_of" in ask.fields
                    else each
                )


def _prompt(content: bytes, operation: Operation) -> tuple[int, int, int, int]:
    """How many prompts there are; their tokens where the client sent tokens; bytes; media."""
    prompts, counted, media = 1, 0, 0
    if operation in _MAY_BE_LISTS and content.startswith(b"["):
        prompts, counted = _several(content)
        if operation is Operation.EMBEDDINGS:
            prompts = 1
        if counted:
            return prompts, counted, 0, 0
    size_bytes = len(content)
    if any(sign in content for sign in _MEDIA_SIGNS):
        for found in _MEDIA.finditer(content):
            media += 1
            size_bytes -= len(found[1])
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


def _best_of(ask: Ask) -> int:
    raw = ask.fields.get("best_of")
    try:
        return 1 if raw is None else _count.decode(raw)
    except msgspec.DecodeError:
        return 1
