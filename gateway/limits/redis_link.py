"""The line to Redis: one batch at a time, with a deadline, and never one that comes too late.

A batch whose answer did not come may have been done, or be done later. It is *given up*: the
next one carries a higher epoch, after which the script refuses every older one. So whatever
follows can put right what may have been done, without a race.

The limits' clock is Redis's own, which people can set. Each batch says what it must show at
least, by this process's steady clock since the last prompt answer; the script corrects it.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Final

import msgspec
from redis import exceptions

from gateway.clock import Clock
from gateway.limits.redis_batch import Batch, Reply, read_reply

SCRIPT: Final = (files("gateway.limits") / "limits.lua").read_text()
# an answer that took longer says too little about what time it is
_PROMPT_S = 0.25

_FAILURES = (
    exceptions.RedisError,
    exceptions.RedisClusterException,
    OSError,
    TimeoutError,
    msgspec.DecodeError,
)

Evaluate = Callable[[Sequence[str], Sequence[bytes]], Awaitable[bytes]]


class StoreAway(Exception):  # named for what happened
    """Redis did not answer, or could not do it. `reason` is one of a few words, for logs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RedisLink:
    """Sends batches for one process of the gateway. `evaluate` runs the script.

    `alive`: how many such processes there were when we last asked.
    """

    def __init__(self, evaluate: Evaluate, clock: Clock, *, prefix: str, lease_s: float) -> None:
        self.prefix = prefix
        self.process = f"process/{secrets.token_hex(8)}"
        self.birth = ""
        self.alive = 1
        self._evaluate = evaluate
        self._now_s = clock.now_s
        self._lease_us = lease_s * 1e6
        self._epoch = 1
        self._count = 0
        # what the limits' clock showed, and when: not before there was a prompt answer
        self._known: tuple[float, float] | None = None

    def batch(self) -> Batch:
        """An empty one."""
        return Batch(self.prefix)

    async def send(
        self,
        batch: Batch,
        timeout_s: float,
        *,
        is_heartbeat: bool = False,
        is_telling: bool = False,
    ) -> Reply:
        """Raises StoreAway: then the batch was not done, or will be given up by the next."""
        sent_s = self._now_s()
        argument = batch.encode(
            epoch=self._epoch,
            birth=self.birth,
            expected_us=self._expected_us(sent_s),
            lease_us=self._lease_us,
            is_heartbeat=is_heartbeat,
            is_telling=is_telling,
            count=self._count,
        )
        known = ("clock", self.process, "processes")
        keys = [*(self.prefix + name for name in known), *batch.keys]
        fresh_id = secrets.token_hex(8).encode()
        is_answered = False
        try:
            async with asyncio.timeout(timeout_s):
                reply = read_reply(await self._evaluate(keys, (argument, fresh_id)))
            is_answered = True
        except _FAILURES as exc:
            raise StoreAway(reason_for(exc)) from exc
        finally:
            if not is_answered:
                self._epoch += 1
        if reply.results is not None:
            if reply.birth != self.birth:
                self._known = None
            self.birth, self._count = reply.birth, reply.count
            self.alive = reply.alive or self.alive
        now_s = self._now_s()
        if now_s - sent_s < _PROMPT_S and reply.birth == self.birth:
            self._known = float(reply.now), now_s
        return reply

    def _expected_us(self, now_s: float) -> float | None:
        if self._known is None:
            return None
        known_us, known_at_s = self._known
        return known_us + (now_s - known_at_s) * 1e6


def reason_for(error: Exception) -> str:
    """A word for the log and the metrics; what an error says itself may name addresses."""
    for word, reason in _WORDS.items():
        if isinstance(error, exceptions.ResponseError) and word in str(error):
            return reason
    return next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "error")


# of an error inside a script only the text tells what it was
_WORDS: Final = {
    "WRONGTYPE": "wrong_type",
    "OOM": "out_of_memory",
    "READONLY": "read_only",
    "NOPERM": "not_allowed",
}
# in this order: most of them are kinds of a connection error
_REASONS: Final[dict[type[Exception], str]] = {
    exceptions.ReadOnlyError: "read_only",
    exceptions.OutOfMemoryError: "out_of_memory",
    exceptions.AuthenticationError: "not_allowed",
    exceptions.NoPermissionError: "not_allowed",
    exceptions.BusyLoadingError: "loading",
    exceptions.ClusterDownError: "cluster_down",
    exceptions.TimeoutError: "timeout",
    TimeoutError: "timeout",
    exceptions.ConnectionError: "unreachable",
    OSError: "unreachable",
}
