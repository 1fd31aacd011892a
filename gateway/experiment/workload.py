"""Workloads of the routing experiment: what is asked, when, and after which answer. No I/O.

A session is a series of calls, each of which waits for the answer before it and then for a
pause. Sessions begin in an open loop. The same seed makes the same sessions, whoever answers.

Sources of the shapes: conversations and agents as in Mooncake's traces (Qin et al., 2024), which
share half of their blocks; lognormal lengths and bursts with gamma distributed gaps as in BurstGPT
(Wang et al., 2024); popularity by Zipf's law.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gateway.experiment.passage import Passage, passage


@dataclass(frozen=True, slots=True)
class Turn:
    """One call: `pause_s` after the answer before, `prompt` is asked for `answer_tokens`."""

    prompt: tuple[Passage, ...]
    answer_tokens: int
    pause_s: float = 0.0

    @property
    def prompt_tokens(self) -> int:
        return sum(len(one.tokens) for one in self.prompt)


@dataclass(frozen=True, slots=True)
class Session:
    """Calls that follow one another; the first at `starts_s`."""

    starts_s: float
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """`sessions_per_s` begin for each replica; `burstiness` 1: a Poisson process, more: bursts.

    `has_reuse`: whether calls have more in common than a short system prompt.
    """

    name: str
    about: str
    sessions_per_s: float
    draw: Callable[[random.Random, "Shared"], tuple[Turn, ...]]
    shared: Callable[[random.Random], "Shared"]
    burstiness: float = 1.0
    has_reuse: bool = True

    def sessions(self, *, replicas: int, duration_s: float, seed: int) -> list[Session]:
        """All that begin within the duration, in order."""
        rng = random.Random(f"{self.name} {replicas} {seed}")
        shared = self.shared(rng)
        starts = _starts(rng, self.sessions_per_s * replicas, duration_s, self.burstiness)
        return [Session(at_s, self.draw(rng, shared)) for at_s in starts]


class Shared:
    """Passages that sessions have in common, and how popular each is."""

    def __init__(self, passages: Sequence[Passage], zipf: float) -> None:
        self._passages = passages
        self._weights = [1 / rank**zipf for rank in range(1, len(passages) + 1)]

    def one(self, rng: random.Random) -> Passage:
        return rng.choices(self._passages, self._weights)[0]

    def some(self, rng: random.Random, count: int) -> list[Passage]:
        return rng.choices(self._passages, self._weights, k=count)


def _starts(rng: random.Random, rate: float, until_s: float, burstiness: float) -> Iterator[float]:
    at_s = 0.0
    while True:
        at_s += rng.gammavariate(1 / burstiness, burstiness / rate)
        if at_s >= until_s:
            return
        yield at_s


def _length(rng: random.Random, median: float, sigma: float, most: int) -> int:
    return max(4, min(most, round(median * rng.lognormvariate(0, sigma))))


def _systems(count: int, median: int, zipf: float) -> Callable[[random.Random], Shared]:
    def draw(rng: random.Random) -> Shared:
        lengths = [_length(rng, median, 0.4, 4 * median) for _ in range(count)]
        return Shared([passage(rng, "system", length) for length in lengths], zipf)

    return draw


def _chat(rng: random.Random, shared: Shared) -> tuple[Turn, ...]:
    said = [shared.one(rng)]
    turns: list[Turn] = []
    for number in range(min(16, 1 + int(rng.expovariate(1 / 6)))):
        said.append(passage(rng, "user", _length(rng, 70, 0.8, 1500)))
        answer = _length(rng, 140, 0.6, 500)
        pause_s = rng.lognormvariate(1.6, 0.5) if number else 0.0
        turns.append(Turn(tuple(said), answer, pause_s))
        said.append(passage(rng, "assistant", answer))
    return tuple(turns)


def _single(rng: random.Random, shared: Shared) -> tuple[Turn, ...]:
    question = passage(rng, "user", _length(rng, 100, 0.7, 1500))
    return (Turn((shared.one(rng), question), _length(rng, 100, 0.5, 400)),)


def _agent(rng: random.Random, shared: Shared) -> tuple[Turn, ...]:
    said = [shared.one(rng), passage(rng, "user", _length(rng, 200, 0.8, 3000))]
    turns: list[Turn] = []
    for number in range(rng.randint(8, 20)):
        answer = _length(rng, 70, 0.5, 300)
        pause_s = rng.lognormvariate(0.2, 0.7) if number else 0.0
        turns.append(Turn(tuple(said), answer, pause_s))
        said.append(passage(rng, "assistant", answer))
        said.append(passage(rng, "tool", _length(rng, 600, 0.8, 4000)))
    return tuple(turns)


def _rag(rng: random.Random, shared: Shared) -> tuple[Turn, ...]:
    found = shared.some(rng, 4)
    system = passage(random.Random("rag"), "system", 150)
    question = passage(rng, "user", _length(rng, 40, 0.6, 400))
    return (Turn((system, *found, question), _length(rng, 150, 0.5, 500)),)


def _documents(rng: random.Random) -> Shared:
    return Shared([passage(rng, "user", _length(rng, 600, 0.4, 1500)) for _ in range(3000)], 0.6)


def _unique(rng: random.Random, _: Shared) -> tuple[Turn, ...]:
    return (
        Turn((passage(rng, "user", _length(rng, 900, 0.8, 6000)),), _length(rng, 120, 0.6, 500)),
    )


def _nothing(_: random.Random) -> Shared:
    return Shared((), 0.0)


_ALL = (
    Workload(
        "chat", "multi-turn chat, 20 system prompts of about 400 tokens", 0.55, _chat,
        _systems(20, 400, 0.8),
    ),
    Workload(
        "shared", "one question to one of 150 system prompts of about 2,500 tokens", 4.0, _single,
        _systems(150, 2500, 0.9),
    ),
    Workload(
        "agents", "agents of 8 to 20 calls whose prompts grow to 15,000 tokens", 0.08, _agent,
        _systems(12, 2500, 0.7),
    ),
    Workload(
        "bursty", "like shared, arriving in bursts (gamma, shape 1/8)", 3.0, _single,
        _systems(150, 2500, 0.9), burstiness=8.0,
    ),
    Workload(
        "rag", "4 of 3,000 documents in any order before a question", 2.0, _rag, _documents,
        has_reuse=False,
    ),
    Workload(
        "unique", "prompts with nothing in common", 4.5, _unique, _nothing, has_reuse=False,
    ),
)  # fmt: skip
WORKLOADS: Mapping[str, Workload] = MappingProxyType({one.name: one for one in _ALL})
