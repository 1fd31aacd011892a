"""Token counts as an engine reports them."""

import msgspec

from gateway.wire.unreadable import UNREADABLE


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call. `cached_tokens`: the part of the prompt that was in the KV cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Reported(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Said | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    generated_text: str | None = None


# OpenAI's rule of thumb for English text
_BYTES_PER_TOKEN = 4

_answer = msgspec.json.Decoder(_Answer)
_reported = msgspec.json.Decoder(_Reported | None)
_ABSURD = 1 << 40


def read_usage(raw: msgspec.Raw | bytes) -> Usage | None:
    """None when the engine gave no usage, or counts that cannot be true."""
    try:
        given = _reported.decode(raw)
    except UNREADABLE:
        return None
    if given is None:
        return None
    details = given.prompt_tokens_details
    usage = Usage(
        prompt_tokens=given.prompt_tokens,
        completion_tokens=given.completion_tokens,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
    )
    is_sane = (
        0 <= usage.prompt_tokens < _ABSURD
        and 0 <= usage.completion_tokens < _ABSURD
        and 0 <= usage.cached_tokens < _ABSURD
    )
    return usage if is_sane else None


def count_output(body: bytes) -> int:
    """About how many tokens a whole answer has, for an engine that does not say."""
    try:
        answer = _answer.decode(body)
    except UNREADABLE:
        return 0
    texts = [answer.generated_text]
    for choice in answer.choices:
        texts += [choice.text, choice.message.content if choice.message else None]
    size_bytes = sum(len(text.encode()) for text in texts if text)
    return -(-size_bytes // _BYTES_PER_TOKEN)
