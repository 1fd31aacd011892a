"""What each request of a load test asks. The n-th is the same for the same seed. No I/O."""

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from gateway.loadtest.lengths import Length
from gateway.loadtest.synthetic import Scale, words
from gateway.loadtest.trace import TraceEntry
from gateway.remote.answer import Question
from gateway.remote.prompt_file import Prompt, a_prompt

Operation = Literal["chat", "completions"]
PATHS: Mapping[Operation, str] = {"chat": "/chat/completions", "completions": "/completions"}


class Prompts(Protocol):
    """Where prompts come from."""

    def prompt(self, number: int) -> tuple[Prompt, int | None]:
        """The n-th prompt, and how long its answer may be; None leaves it to the endpoint."""
        ...


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Drawn words. `shared_tokens` of every prompt are the same, as a system prompt is."""

    seed: str
    prompt_tokens: Length
    output_tokens: Length
    scale: Scale = field(default_factory=Scale)
    shared_tokens: int = 0

    def prompt(self, number: int) -> tuple[Prompt, int | None]:
        rng = random.Random(f"{self.seed}:{number}")
        wanted, output = self.prompt_tokens.draw(rng), self.output_tokens.draw(rng)
        return _of_words(self, wanted, rng), output


@dataclass(frozen=True, slots=True)
class Traced:
    """Drawn words, as many as the entries of a trace say."""

    seed: str
    entries: Sequence[TraceEntry]
    scale: Scale = field(default_factory=Scale)
    shared_tokens: int = 0

    def prompt(self, number: int) -> tuple[Prompt, int | None]:
        entry = self.entries[number % len(self.entries)]
        rng = random.Random(f"{self.seed}:{number}")
        return _of_words(self, entry.prompt_tokens, rng), entry.output_tokens


@dataclass(frozen=True, slots=True)
class FromFile:
    """Prompts of a file, in an order that the seed shuffles, over and over."""

    seed: str
    prompts: Sequence[Prompt]
    output_tokens: Length | None

    def prompt(self, number: int) -> tuple[Prompt, int | None]:
        rounds, place = divmod(number, len(self.prompts))
        order = _order(f"{self.seed}:order:{rounds}", len(self.prompts))
        length = self.output_tokens
        rng = random.Random(f"{self.seed}:{number}")
        return self.prompts[order[place]], None if length is None else length.draw(rng)


@functools.lru_cache(maxsize=2)
def _order(seed: str, count: int) -> tuple[int, ...]:
    """Kept, since a file may have a hundred thousand prompts and a request has no time for them."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return tuple(order)


def _of_words(source: Synthetic | Traced, tokens: int, rng: random.Random) -> Prompt:
    count = source.scale.words_for(tokens)
    shared = min(count - 1, round(source.shared_tokens / source.scale.tokens_per_word))
    if shared <= 0:
        return a_prompt(words(count, rng))
    beginning = words(shared, random.Random(f"{source.seed}:shared"))
    return a_prompt(f"{beginning} {words(count - shared, rng)}")


@dataclass(frozen=True, slots=True)
class Asking:
    """How prompts become requests. `more`: fields that are added, null ones taken away."""

    model: str
    operation: Operation = "chat"
    ignores_end: bool = False
    temperature: float = 0.0
    more: Mapping[str, object] = field(default_factory=dict)

    def question(self, prompt: Prompt, output_tokens: int | None) -> Question:
        """The request for a streamed answer with usage at its end."""
        asked: dict[str, object] = {"model": self.model}
        if self.operation == "chat":
            asked["messages"] = prompt.messages
        else:
            asked["prompt"] = prompt.text
        asked |= {
            "temperature": self.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if output_tokens is not None:
            asked["max_tokens"] = output_tokens
            if self.ignores_end:
                asked["ignore_eos"] = True
        asked |= self.more
        body = {name: value for name, value in asked.items() if value is not None}
        return Question(PATHS[self.operation], msgspec.json.encode(body))
