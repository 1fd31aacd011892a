"""Continuous batching with honest timing. Pure: time is what the caller makes of it.

An engine works in steps. A step admits waiting requests in order while there is room for them,
computes uncached tokens of their prompts, `max_num_batched_tokens` at most, and gives every
request whose prompt is computed one token; its length is the prefill's plus the time between
tokens at this batch size. A prompt that is too long for one step is computed over several, while
others get their tokens (chunked prefill). When the KV cache is full, the youngest request goes
back to the queue and is computed again, as vLLM does.
"""

from collections import deque
from dataclasses import dataclass, field

from gateway.simulator.kv_cache import BLOCK_TOKENS, Holding, KvCache
from gateway.simulator.options import EngineOptions


@dataclass(eq=False, slots=True)
class Work:
    """One request in the engine. `produced` tokens of at most `max_tokens` are done.

    `uncomputed` tokens of its prompt are still to be computed before the next one comes.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    produced: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    uncomputed: int = 0
    holding: Holding | None = field(default=None, repr=False)


class Scheduler:
    """`start_step` says how long the next step takes; `finish_step` who got a token in it."""

    def __init__(self, options: EngineOptions) -> None:
        self.waiting: deque[Work] = deque()
        self.running: list[Work] = []
        self.preemptions = 0
        self.cache_queries = 0
        self.cache_hits = 0
        self.cache = KvCache(max(1, options.kv_cache_tokens // BLOCK_TOKENS))
        self._options = options
        self._is_short_of_room = False

    def add(self, work: Work) -> bool:
        """False when the queue is full: beyond those that the next step can admit."""
        bound = self._options.max_queued
        free = 0 if self._is_short_of_room else self._options.max_num_seqs - len(self.running)
        if bound is not None and len(self.waiting) >= bound + free:
            return False
        self.waiting.append(work)
        return True

    def remove(self, work: Work) -> None:
        """The request is done, or not wanted any more. Idempotent."""
        if work in self.running:
            self.running.remove(work)
        elif work in self.waiting:
            self.waiting.remove(work)
        self._release(work)

    def start_step(self) -> float | None:
        """Seconds that the next step takes; None when there is nothing to do."""
        options = self._options
        room = options.max_num_batched_tokens
        for work in self.running:
            room -= self._compute(work, room)
        self._is_short_of_room = False
        while room > 0 and self.waiting and len(self.running) < options.max_num_seqs:
            work = self.waiting[0]
            work.holding = self.cache.hold(work.prompt, work.produced)
            if work.holding is None:
                self._is_short_of_room = True
                break
            self.waiting.popleft()
            self.running.append(work)
            work.cached_tokens = work.holding.cached_tokens
            self.cache_queries += len(work.prompt)
            self.cache_hits += work.cached_tokens
            work.uncomputed = len(work.prompt) + work.produced - work.cached_tokens
            room -= self._compute(work, room)
        if not self.running:
            return None
        batch = len(self.running)
        decode_s = options.inter_token_s + options.inter_token_s_per_running * batch
        computed = options.max_num_batched_tokens - room
        return computed * options.prefill_s_per_token + decode_s

    def _compute(self, work: Work, room: int) -> int:
        """How many tokens of its prompt are computed in this step."""
        computed = min(work.uncomputed, room)
        work.uncomputed -= computed
        return computed

    def finish_step(self) -> list[Work]:
        """The requests that have one token more than before."""
        served: list[Work] = []
        for work in list(self.running):
            if work.holding is None or work.uncomputed:
                continue  # sent back to the queue within this step, or not computed yet
            held = (len(work.prompt) + work.produced) % BLOCK_TOKENS
            if held == 0 and not self._grow(work):
                continue
            work.produced += 1
            served.append(work)
        return served

    def _grow(self, work: Work) -> bool:
        while work.holding is not None:
            if self.cache.grow(work.holding):
                return True
            if len(self.running) == 1:
                return True  # alone: let it finish, there is nobody to make room for
            self._send_back(self.running[-1])
        return False

    def _send_back(self, work: Work) -> None:
        self.running.remove(work)
        self._release(work)
        self.waiting.appendleft(work)
        work.preemptions += 1
        self.preemptions += 1

    def _release(self, work: Work) -> None:
        if work.holding is not None:
            self.cache.release(work.holding)
            work.holding = None
