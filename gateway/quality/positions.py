"""What a model thought at each position of an answer, read from any of four forms. No I/O.

Chat completions (and llama.cpp's completions) give `content: [{token, bytes, logprob,
top_logprobs}]`; OpenAI's completions give parallel lists; vLLM's `prompt_logprobs` give a mapping
from token id for every token of the prompt. Tokens are told apart by their bytes: by the text
where an engine gives no bytes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Position:
    """One token: its own log probability (natural), and those of the likeliest."""

    token: bytes
    logprob: float
    top: Mapping[bytes, float]

    @property
    def best(self) -> bytes:
        """The likeliest token; the token itself where nothing else is known."""
        return max(self.top, key=self.top.__getitem__, default=self.token)


class _Alternative(msgspec.Struct):
    token: str = ""
    logprob: float | None = None
    raw: list[int] | None = msgspec.field(default=None, name="bytes")

    def key(self) -> bytes:
        return self.token.encode(errors="replace") if self.raw is None else bytes(self.raw)

    def value(self) -> float:
        return -math.inf if self.logprob is None else self.logprob


class _Entry(_Alternative):
    top_logprobs: list[_Alternative] = []


class _Logprobs(msgspec.Struct):
    content: list[_Entry] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _PromptToken(msgspec.Struct):
    logprob: float
    decoded_token: str | None = None


_read = msgspec.json.Decoder(_Logprobs).decode
_PromptLogprobs = list[dict[str, _PromptToken] | None]


def read_positions(pieces: Iterable[msgspec.Raw]) -> tuple[Position, ...]:
    """The positions of a whole answer, whose events brought these pieces; none of no sense."""
    positions: list[Position] = []
    for piece in pieces:
        try:
            given = _read(piece)
        except msgspec.DecodeError:
            return ()
        positions += _listed(given.content) if given.content is not None else _parallel(given)
    return tuple(positions)


def _listed(entries: Sequence[_Entry]) -> list[Position]:
    return [
        Position(entry.key(), entry.value(), {one.key(): one.value() for one in entry.top_logprobs})
        for entry in entries
    ]


def _parallel(given: _Logprobs) -> list[Position]:
    tokens, own = given.tokens or [], given.token_logprobs or []
    tops = given.top_logprobs or [None] * len(tokens)
    return [
        Position(
            token.encode(errors="replace"),
            -math.inf if logprob is None else logprob,
            {text.encode(errors="replace"): value for text, value in (top or {}).items()},
        )
        for token, logprob, top in zip(tokens, own, tops, strict=False)
    ]


def read_prompt_positions(raw: bytes) -> tuple[Position, ...]:
    """The tokens of a prompt, of a whole answer to it; the first has no position.

    vLLM puts the token that is really there first. None where the answer has no such field.
    """
    answer = msgspec.json.decode(raw)
    given = _prompt_logprobs_of(answer)
    try:
        entries = msgspec.convert(given, type=_PromptLogprobs | None)
    except msgspec.ValidationError:
        return ()
    positions: list[Position] = []
    for entry in entries or ():
        if not entry:
            continue
        top = {(t.decoded_token or "").encode(errors="replace"): t.logprob for t in entry.values()}
        actual = next(iter(entry.values()))
        token = (actual.decoded_token or "").encode(errors="replace")
        positions.append(Position(token, actual.logprob, top))
    return tuple(positions)


def _prompt_logprobs_of(answer: object) -> object:
    if not isinstance(answer, dict):
        return None
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    inner = first.get("prompt_logprobs") if isinstance(first, dict) else None
    return answer.get("prompt_logprobs") or inner
