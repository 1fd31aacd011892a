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

from gateway.experiment.figures import Call, Engine
from gateway.experiment.front import Front, Place
from gateway.experiment.workload import Session, Turn
from gateway.simulator.options import EngineOptions
from gateway.simulator.scheduler import Scheduler, Work

SCRAPE_S = 2.0


class _Engine:
    def __init__(self, number: int, options: EngineOptions) -> None:
        self.number = number
        self.scheduler = Scheduler(options)
        self.is_busy = False
        self.answer_tokens = 0


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
        self._until_s = 0.0

    def run(self, sessions: Sequence[Session], until_s: float) -> list[Call]:
        """Every call that was sent by `until_s`, in the order in which they ended."""
        self._until_s = until_s
        for session in sessions:
            self._at(session.starts_s, partial(self._ask, session, 0))
        self._scrape()
        while self._due and (self.now_s < until_s or self._open):
            self.now_s, _, happen = heapq.heappop(self._due)
            happen()
        return self.calls

    def engines(self) -> list[Engine]:
        """What each engine has done."""
        return [
            Engine(one.scheduler.cache_queries, one.scheduler.cache_hits, one.answer_tokens)
            for one in self._engines
        ]

    def _at(self, when_s: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (when_s, self._count, happen))

    def _ask(self, session: Session, number: int) -> None:
        if self.now_s >= self._until_s:
            return
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
        self.calls.append(Call(one.sent_s, one.first_token_s, self.now_s, one.work.produced))
        engine.answer_tokens += one.work.produced
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
