"""Make a model read an answer that another wrote, and say what it would have written. No I/O.

Two ways: vLLM tells `prompt_logprobs` for all tokens of a prompt that ends with the answer, in
one request; any engine that goes on with a text tells its next token after each beginning of the
answer, one request for each. Chat requests end with the assistant's message so far, which vLLM
continues when told so and llama.cpp by default; an endpoint that begins a new message instead is
found out, since it is first made to read an answer of its own (see `reader`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gateway.quality.positions import Position
from gateway.remote.prompt_file import Prompt

Way = Literal["prompt_logprobs", "continue_final_message", "prefill", "none"]
WAYS: tuple[Way, ...] = ("prompt_logprobs", "continue_final_message", "prefill")
PATHS = {"chat": "/chat/completions", "completions": "/completions"}


@dataclass(frozen=True, slots=True)
class Asking:
    """How prompts become requests. `top_logprobs` 0: none are asked for."""

    model: str
    operation: Literal["chat", "completions"] = "chat"
    max_tokens: int = 256
    top_logprobs: int = 20
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return PATHS[self.operation]

    def body(self, prompt: Prompt) -> dict[str, object]:
        """Greedy, streamed, with usage and logprobs."""
        asked = self._base(prompt, "")
        asked |= {"max_tokens": self.max_tokens, "stream": True}
        asked |= {"stream_options": {"include_usage": True}} | self._logprobs()
        return self._with_more(asked)

    def reading(self, prompt: Prompt, text: str, way: Way) -> dict[str, object]:
        """One token after `text`, or with `prompt_logprobs` what was thought along it."""
        asked = self._base(prompt, text) | {"max_tokens": 1}
        if way == "prompt_logprobs":
            asked["prompt_logprobs"] = self.top_logprobs
        else:
            asked |= self._logprobs()
        if text and way != "prefill" and self.operation == "chat":
            asked |= {"continue_final_message": True, "add_generation_prompt": False}
        return self._with_more(asked)

    def _base(self, prompt: Prompt, begun: str) -> dict[str, object]:
        asked: dict[str, object] = {"model": self.model, "temperature": 0.0}
        if self.operation == "completions":
            return asked | {"prompt": prompt.text + begun}
        messages = list(prompt.messages)
        if begun:
            messages.append({"role": "assistant", "content": begun})
        return asked | {"messages": messages}

    def _logprobs(self) -> dict[str, object]:
        if not self.top_logprobs:
            return {}
        if self.operation == "completions":
            return {"logprobs": self.top_logprobs}
        return {"logprobs": True, "top_logprobs": self.top_logprobs}

    def _with_more(self, asked: dict[str, object]) -> dict[str, object]:
        return {k: v for k, v in (asked | dict(self.more)).items() if v is not None}


def beginnings(answer: Sequence[Position]) -> list[str | None]:
    """The text before each token; None where it ends within a character."""
    texts: list[str | None] = []
    before = b""
    for position in answer:
        try:
            texts.append(before.decode())
        except UnicodeDecodeError:
            texts.append(None)
        before += position.token
    return texts


def tail_of(read: Sequence[Position], answer: Sequence[Position]) -> tuple[Position | None, ...]:
    """The view of each token of the answer that ends a prompt; None where it was cut elsewhere.

    Both end alike, so a token is the same when as many bytes come after it and it is as long.
    """
    known = {(after, one.token): one for after, one in _from_end(read)}
    return tuple(known.get((after, one.token)) for after, one in _from_end(answer))[::-1]


def _from_end(positions: Sequence[Position]) -> list[tuple[int, Position]]:
    """Each with the number of bytes behind it, the last first."""
    told: list[tuple[int, Position]] = []
    after = 0
    for position in reversed(positions):
        told.append((after, position))
        after += len(position.token)
    return told


def thinks_alike(
    read: Sequence[Position | None], written: Sequence[Position], least: int = 3
) -> bool:
    """Whether an endpoint that reads itself is itself, at two of three places that are known.

    One place in three may be cut into other tokens; an endpoint that begins a new message instead
    of going on is right hardly ever.
    """
    known = [(one, wrote) for one, wrote in zip(read, written, strict=False) if one is not None]
    hits = sum(is_itself(one, wrote) for one, wrote in known)
    return len(known) >= least and 3 * hits >= 2 * len(known)


def is_itself(read: Position, written: Position, tolerance_nats: float = 0.25) -> bool:
    """Whether a model that reads its own answer thinks what it thought when it wrote it."""
    if read.best != written.best:
        return False
    return abs(read.top.get(read.best, 0.0) - written.top.get(read.best, 0.0)) <= tolerance_nats
