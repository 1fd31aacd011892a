"""Calls wait here while every replica of a variant has as many requests as it is to have.

A place that comes free, by the end of a request or because a replica may have more, is given to
the call whose turn it is (`line`) within the same step of the loop: no place is free while a call
that could have it waits. A call that would wait for too long is refused when it comes. Calls for
engines that are away (`fleet.waking`) wait in the same lines, with bounds of their own. Nothing
here costs anything while there is room.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import anyio

from gateway.auth.keys import Caller
from gateway.clock import Clock
from gateway.errors import Overloaded
from gateway.fleet.catalog import Variant
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.resting import Resting
from gateway.fleet.state import FleetState
from gateway.fleet.waking import is_away
from gateway.queueing.flow import Flow
from gateway.queueing.line import Line
from gateway.queueing.rank import Waiter
from gateway.queueing.refusals import Refused, refusal, waking_refusal
from gateway.queueing.ticket import Ticket
from gateway.routing.policy import RoutingPolicy
from gateway.wire.ask import Ask
from gateway.wire.prefix import Prefix

LOOK_EVERY_S: Final = 0.25
# OpenAI's rule of thumb; what was truly served is charged in the end
_BYTES_PER_TOKEN: Final = 4
# what is told of a refusal: who, and why
Told = Callable[[Variant, str, Refused], None]


class _Queue:
    """One variant's: `verdicts` are what its waiting calls wait for."""

    __slots__ = ("flow", "line", "variant", "verdicts")

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.line = Line()
        self.flow = Flow()
        self.verdicts: dict[Waiter, asyncio.Future[Lease | Overloaded | None]] = {}


class Place:
    """What a waiting call got. `lease` None: it is to look for a replica again."""

    __slots__ = ("lease", "ticket")

    def __init__(self, lease: Lease | None, ticket: Ticket | None) -> None:
        self.lease = lease
        self.ticket = ticket


class Queues:
    """The queues of all variants. `told` is called for every refusal."""

    def __init__(
        self,
        *,
        fleet: FleetState,
        policies: Mapping[str, RoutingPolicy],
        resting: Resting,
        clock: Clock,
        rng: random.Random,
        told: Told,
    ) -> None:
        self._fleet = fleet
        self._policies = policies
        self._resting = resting
        self._clock = clock
        self._rng = rng
        self._told = told
        self._queues: dict[str, _Queue] = {}
        fleet.on_room = self._give

    def waiting(self, variant: str) -> int:
        """How many calls wait for a variant, by its name."""
        queue = self._queues.get(variant)
        return 0 if queue is None else len(queue.line)

    def lengths(self) -> list[tuple[Variant, int]]:
        """How many calls wait, for every variant that calls have waited for."""
        return [(queue.variant, len(queue.line)) for queue in self._queues.values()]

    def expected_s(self, variant: str) -> float | None:
        """How long a call that came now would wait at the end of the line; None: nobody can say."""
        queue = self._queues.get(variant)
        if queue is None:
            return None
        return self._wait_s(queue, len(queue.line), self._clock.now_s())

    async def wait(
        self,
        variant: Variant,
        caller: Caller,
        ask: Ask,
        prefix: Prefix,
        *,
        waited_s: float,
        left_s: float,
        tried: Sequence[ReplicaState],
        ticket: Ticket | None,
        patience_s: float | None = None,
    ) -> Place:
        """A place on a replica of the variant that was not tried. Raises Overloaded.

        `prefix`: what its prompt begins with, where the policy reads that. `waited_s`: how long
        the call has waited before; `left_s`: until its deadline. `ticket`:
        of the place that it had before, None: it had none. `patience_s`: after how long it looks
        for a replica again, None: it waits for this one.
        """
        queue = self._of(variant)
        now_s = self._clock.now_s()
        plan, wake = caller.plan, variant.wake if is_away(self._fleet, variant) else None
        tally = queue.line.tally(caller.name, plan.weight, plan.priority)
        prompt_tokens = ask.body_bytes / _BYTES_PER_TOKEN
        is_paid = ticket is not None and ticket.tally is tally
        cost = 0.0 if is_paid else tally.predicted(prompt_tokens, _most_output(ask))
        waiter = Waiter(
            caller.name,
            tally,
            plan.priority,
            cost,
            is_first=bool(tried or waited_s),
            tried=[state.name for state in tried if state.variant.name == variant.name],
            prefix=prefix,
        )
        if wake is not None:
            allowed_s = min(wake.max_wait_s - waited_s, left_s)
            self._admit(queue, waiter, allowed_s, None)
        else:
            allowed_s = variant.queue.max_wait_s - waited_s
            needs_s = tally.needs_s or self._usual_s(variant.name)
            if needs_s is not None:  # a place that comes later than this is wasted
                allowed_s = min(allowed_s, left_s - needs_s)
            expected_s = self._wait_s(queue, queue.line.ahead_of(waiter), now_s)
            self._admit(queue, waiter, allowed_s, expected_s)
            queue.flow.begin(now_s)
            for state in self._fleet.replicas_of(variant.name):
                state.was_full = True
                state.on_free = self._freed
        lease = await self._verdict(queue, waiter, allowed_s, patience_s)
        if lease is None or is_paid:
            return Place(lease, ticket)
        if ticket is not None:
            ticket.refund()
        return Place(lease, Ticket(tally, cost, prompt_tokens, self._clock.now_s()))

    def look(self) -> None:
        """Look again at who could go on: what no event announces, such as the end of a rest."""
        for name, queue in self._queues.items():
            if queue.line:
                self._give(name)
                if is_away(self._fleet, queue.variant):
                    queue.flow.end(self._clock.now_s())  # how long they are away is no pace
                elif not any(state.is_usable for state in self._fleet.replicas_of(name)):
                    self._send_off(queue)

    def _of(self, variant: Variant) -> _Queue:
        queue = self._queues.get(variant.name)
        if queue is None:
            queue = self._queues[variant.name] = _Queue(variant)
        queue.variant = variant
        return queue

    def _admit(
        self, queue: _Queue, waiter: Waiter, allowed_s: float, expected_s: float | None
    ) -> None:
        """Let it join the line, or raise why it must not. `expected_s` None: nobody can say."""
        line = queue.line
        if allowed_s <= 0 or (expected_s is not None and expected_s > allowed_s):
            raise self._refused(queue, waiter, Refused.LONG)
        if len(line) >= max_waiting(self._fleet, queue.variant):
            out = line.to_displace(waiter) if line else None
            if out is None:
                raise self._refused(queue, waiter, Refused.FULL)
            self._leave(queue, out)
            self._decide(queue, out, self._refused(queue, out, Refused.DISPLACED))
        line.join(waiter)

    async def _verdict(
        self, queue: _Queue, waiter: Waiter, allowed_s: float, patience_s: float | None
    ) -> Lease | None:
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[Lease | Overloaded | None] = loop.create_future()
        queue.verdicts[waiter] = verdict
        if patience_s is not None and patience_s < allowed_s:
            timer = loop.call_later(max(0.0, patience_s), self._look_elsewhere, queue, waiter)
        else:
            timer = loop.call_later(allowed_s, self._expire, queue, waiter)
        # a place may have come free, or a rest ended, without a word
        self._give(queue.variant.name)
        try:
            found = await verdict
        except asyncio.CancelledError:
            if verdict.done() and not verdict.cancelled():
                given = verdict.result()
                if isinstance(given, Lease):
                    waiter.tally.charge(-waiter.cost)
                    given.release()
            raise
        finally:
            timer.cancel()
            queue.verdicts.pop(waiter, None)
            self._leave(queue, waiter)
        if isinstance(found, Overloaded):
            raise found
        return found

    def _freed(self, state: ReplicaState) -> None:
        self._give(state.variant.name)

    def _give(self, name: str) -> None:
        """Give every place that is free to the call whose turn it is."""
        queue = self._queues.get(name)
        if queue is None or not queue.line:
            return
        states = self._fleet.replicas_of(name)
        if not states:
            if not is_away(self._fleet, queue.variant):
                self._send_off(queue)
            return
        for state in states:
            state.on_free = self._freed
        policy = self._policies[queue.variant.policy]
        while roomy := self._with_room(states):
            waiter = queue.line.next(partial(_suits, roomy))
            if waiter is None:
                break
            verdict = queue.verdicts.get(waiter)
            if verdict is None or verdict.done():
                waiter.tally.charge(-waiter.cost)  # it is about to leave
                continue
            now_s = self._clock.now_s()
            queue.flow.begin(now_s)
            queue.flow.given(now_s)
            state = policy.pick(_for(waiter, roomy), waiter.prefix, self._rng)
            verdict.set_result(Lease(state, waiter.prefix))
        if not queue.line:
            self._empty(queue)

    def _with_room(self, states: Sequence[ReplicaState]) -> list[ReplicaState]:
        """Replicas that may have another request; those that rest only when all do."""
        usable = [state for state in states if state.is_usable]
        if self._resting.until_s:
            resting = self._resting.at(self._clock.now_s())
            usable = [state for state in usable if state not in resting] or usable
        return [state for state in usable if state.in_flight < state.most]

    def _send_off(self, queue: _Queue) -> None:
        """Nothing can be had here now: all look for a replica again, elsewhere too."""
        for waiter in list(queue.line):
            self._look_elsewhere(queue, waiter)

    def _look_elsewhere(self, queue: _Queue, waiter: Waiter) -> None:
        self._leave(queue, waiter)
        self._decide(queue, waiter, None)

    def _expire(self, queue: _Queue, waiter: Waiter) -> None:
        if queue.line.leave(waiter):
            self._decide(queue, waiter, self._refused(queue, waiter, Refused.OVER))

    def _decide(self, queue: _Queue, waiter: Waiter, verdict: Overloaded | None) -> None:
        future = queue.verdicts.get(waiter)
        if future is not None and not future.done():
            future.set_result(verdict)

    def _leave(self, queue: _Queue, waiter: Waiter) -> None:
        if queue.line.leave(waiter) and not queue.line:
            self._empty(queue)

    def _empty(self, queue: _Queue) -> None:
        queue.flow.end(self._clock.now_s())
        for state in self._fleet.replicas_of(queue.variant.name):
            state.on_free = None

    def _wait_s(self, queue: _Queue, ahead: float, now_s: float) -> float | None:
        """Until a call with so many before it gets a place; None: nobody can say yet."""
        name = queue.variant.name
        places = sum(s.most for s in self._fleet.replicas_of(name) if s.is_usable)
        return queue.flow.wait_s(ahead, now_s, places=places, usual_s=self._usual_s(name))

    def _usual_s(self, name: str) -> float | None:
        """How long answers of this variant take; None: none has been seen yet."""
        known = [s.usual_s for s in self._fleet.replicas_of(name) if s.usual_s]
        return sum(known) / len(known) if known else None

    def _refused(self, queue: _Queue, waiter: Waiter, why: Refused) -> Overloaded:
        self._told(queue.variant, waiter.priority, why)
        if is_away(self._fleet, queue.variant):
            return waking_refusal(queue.variant, why)
        gone_s = self._wait_s(queue, len(queue.line), self._clock.now_s())
        return refusal(queue.variant, why, gone_s)


async def keep_looking(queues: Queues) -> None:
    """Until cancelled."""
    while True:
        await anyio.sleep(LOOK_EVERY_S)
        queues.look()


def max_waiting(fleet: FleetState, variant: Variant) -> int:
    """How many calls may wait for a variant now."""
    if variant.wake is not None and is_away(fleet, variant):
        return variant.wake.max_waiting
    return variant.queue.max_waiting


def _for(waiter: Waiter, states: Sequence[ReplicaState]) -> list[ReplicaState]:
    return [state for state in states if state.name not in waiter.tried]


def _suits(states: Sequence[ReplicaState], waiter: Waiter) -> bool:
    return not waiter.tried or bool(_for(waiter, states))


def _most_output(ask: Ask) -> float | None:
    """Tokens that the client allows the answer to have; None: it did not say."""
    if ask.max_tokens is None or ask.max_tokens < 0:
        return None
    return float(ask.max_tokens * max(1, ask.n))
