"""Run a workload against simulated engines in virtual time: as fast as it can be computed. No I/O.

The engines are those of `gateway simulate` (the same scheduler and KV cache), the routing is the
gateway's own: its fleet state, leases, index and policies, as many processes of it as wanted, each
of which sees the others' requests only in the figures that engines publish every two seconds.
What is left out costs all policies the same: the network and the gateway's own time.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.experiment.front import Front, Place
from gateway.experiment.workload import Session, Turn
from gateway.simulator.options import EngineOptions
from gateway.simulator.scheduler import Scheduler, Work

SCRAPE_S = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it went: seconds since the begin of the rehearsal, and tokens."""

    replica: int
    sent_s: float
    first_token_s: float
    done_s: float
    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int

    @property
    def ttft_s(self) -> float:
        return self.first_token_s - self.sent_s


class _Engine:
    def __init__(self, number: int, options: EngineOptions) -> None:
        self.number = number
        self.scheduler = Scheduler(options)
        self.is_busy = False


@dataclass(eq=False, slots=True)
class _Open:
    session: Session
    number: int
    sent_s: float
    place: Place
    work: Work
    first_token_s: float = 0.0


class Rehearsal:
    """One run. `fronts` are the gateway's processes; each call comes to one of them at random."""

    def __init__(
        self,
        engines: int,
        options: EngineOptions,
        fronts: Sequence[Front],
        rng: random.Random,
    ) -> None:
        self.now_s = 0.0
        self.calls: list[Call] = []
        self._engines = [_Engine(number, options) for number in range(engines)]
        self._fronts = fronts
        self._rng = rng
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._open: dict[int, _Open] = {}
        self._left = 0

    def run(self, sessions: Sequence[Session]) -> list[Call]:
        """Every call of every session, in the order in which they ended."""
        self._left = sum(len(session.turns) for session in sessions)
        for session in sessions:
            self._at(session.starts_s, partial(self._ask, session, 0))
        self._scrape()
        while self._left:
            self.now_s, _, happen = heapq.heappop(self._due)
            happen()
        return self.calls

    def _at(self, when_s: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (when_s, self._count, happen))

    def _ask(self, session: Session, number: int) -> None:
        turn = session.turns[number]
        front = self._rng.choice(self._fronts)
        place = front.place(turn)
        work = Work(_tokens(turn), turn.answer_tokens)
        self._open[id(work)] = _Open(session, number, self.now_s, place, work)
        engine = self._engines[place.replica]
        engine.scheduler.add(work)
        if not engine.is_busy:
            self._step(engine)

    def _step(self, engine: _Engine) -> None:
        step_s = engine.scheduler.start_step()
        engine.is_busy = step_s is not None
        if step_s is not None:
            self._at(self.now_s + step_s, partial(self._stepped, engine))

    def _stepped(self, engine: _Engine) -> None:
        for work in engine.scheduler.finish_step():
            if work.produced == 1 and not self._open[id(work)].first_token_s:
                one = self._open[id(work)]
                one.first_token_s = self.now_s
                one.place.began()
            if work.produced >= work.max_tokens:
                engine.scheduler.remove(work)
                self._done(engine, self._open.pop(id(work)))
        self._step(engine)

    def _done(self, engine: _Engine, one: _Open) -> None:
        one.place.release()
        self._left -= 1
        self.calls.append(
            Call(
                replica=engine.number,
                sent_s=one.sent_s,
                first_token_s=one.first_token_s,
                done_s=self.now_s,
                prompt_tokens=len(one.work.prompt),
                cached_tokens=one.work.cached_tokens,
                answer_tokens=one.work.produced,
            )
        )
        following = one.number + 1
        if following < len(one.session.turns):
            pause_s = one.session.turns[following].pause_s
            self._at(self.now_s + pause_s, partial(self._ask, one.session, following))

    def _scrape(self) -> None:
        for front in self._fronts:
            for engine in self._engines:
                front.scraped(engine.number, engine.scheduler, self.now_s)
        self._at(self.now_s + SCRAPE_S, self._scrape)


def _tokens(turn: Turn) -> tuple[int, ...]:
    return tuple(token for one in turn.prompt for token in one.tokens)
