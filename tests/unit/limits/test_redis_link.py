import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
import pytest
from redis import exceptions

from gateway.limits.redis_link import RedisLink, StoreAway, reason_for
from tests.support.fake_clock import FakeClock


class Server:
    """Answers with what it is given, or raises it, after `takes_s` on the clock."""

    def __init__(self, *answers: Any, takes_s: float = 0.0) -> None:
        self.answers = list(answers)
        self.batches: list[list[Any]] = []
        self.keys: list[Sequence[str]] = []
        self.clock = FakeClock()
        self.takes_s = takes_s
        self.link = RedisLink(self, self.clock, prefix="p:", lease_s=10)

    async def __call__(self, keys: Sequence[str], arguments: Sequence[bytes]) -> bytes:
        self.keys.append(keys)
        self.batches.append(msgspec.msgpack.decode(arguments[0]))
        self.clock.pass_s(self.takes_s)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return msgspec.msgpack.encode(answer)

    async def send(self, **more: bool) -> Any:
        return await self.link.send(self.link.batch(), 1.0, **more)

    def told(self, which: int = -1) -> tuple[Any, ...]:
        """Epoch, birth and what the clock must show at least."""
        return tuple(self.batches[which][:3])


OK = ["1000000", "b1", []]


async def test_keys_begin_with_the_clock_and_the_process() -> None:
    server = Server(OK)
    await server.send()
    assert server.keys == [["p:clock", f"p:{server.link.process}", "p:processes"]]
    assert server.link.process.startswith("process/")


async def test_the_birth_is_learned_and_time_goes_on_from_a_prompt_answer() -> None:
    server = Server(OK, OK)
    await server.send()
    assert server.told() == (1, "", None)
    server.clock.pass_s(2)
    await server.send()
    assert server.told() == (1, "b1", 3e6)


async def test_how_many_live_is_remembered_between_heartbeats() -> None:
    server = Server(["1", "b1", [], 1, 7], ["2", "b1", [], 2, 0])
    assert server.link.alive == 1
    await server.send(is_heartbeat=True)
    await server.send()
    assert server.link.alive == 7


async def test_a_slow_answer_says_nothing_about_the_time() -> None:
    server = Server(OK, ["9000000", "b1", []], OK)
    await server.send()
    server.takes_s = 0.5
    await server.send()
    await server.send()
    assert server.told()[2] == 1e6 + 0.5e6


async def test_another_birth_counts_only_once_it_was_told_what_we_know() -> None:
    server = Server(OK, ["5", "b2"], ["5", "b2", []], OK)
    await server.send()
    assert (await server.send()).results is None
    assert server.link.birth == "b1"
    await server.send(is_telling=True)
    assert server.batches[-1][7] is True
    assert server.link.birth == "b2"


@pytest.mark.parametrize(
    "failure", [exceptions.ConnectionError("x"), exceptions.RedisClusterException("x"), OSError()]
)
async def test_a_batch_without_an_answer_is_given_up(failure: Exception) -> None:
    server = Server(failure, OK)
    with pytest.raises(StoreAway):
        await server.send()
    await server.send()
    assert [batch[0] for batch in server.batches] == [1, 2]


async def test_an_answer_that_is_none_is_no_answer() -> None:
    server = Server([1, 2, 3])
    with pytest.raises(StoreAway, match="error"):
        await server.send()


async def test_a_batch_that_takes_too_long_is_given_up() -> None:
    async def never(_keys: Sequence[str], _arguments: Sequence[bytes]) -> bytes:
        await asyncio.sleep(10)
        return b""

    link = RedisLink(never, FakeClock(), prefix="", lease_s=1)
    with pytest.raises(StoreAway, match="timeout"):
        await link.send(link.batch(), 0.01)
    with anyio.move_on_after(0.01):
        await link.send(link.batch(), 1)
    assert link._epoch == 3, "whoever is cancelled does not know what became of it either"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (exceptions.ConnectionError("10.0.0.1 refused"), "unreachable"),
        (OSError("x"), "unreachable"),
        (exceptions.TimeoutError("x"), "timeout"),
        (TimeoutError(), "timeout"),
        (exceptions.ReadOnlyError("x"), "read_only"),
        (exceptions.ResponseError("READONLY You can't write"), "read_only"),
        (exceptions.OutOfMemoryError("x"), "out_of_memory"),
        (exceptions.ResponseError("-OOM command not allowed"), "out_of_memory"),
        (exceptions.AuthenticationError("x"), "not_allowed"),
        (exceptions.NoPermissionError("x"), "not_allowed"),
        (exceptions.ResponseError("NOPERM x"), "not_allowed"),
        (exceptions.BusyLoadingError("x"), "loading"),
        (exceptions.ClusterDownError("x"), "cluster_down"),
        (exceptions.ResponseError("WRONGTYPE x"), "wrong_type"),
        (exceptions.ResponseError("STALE x"), "error"),
        (msgspec.DecodeError("x"), "error"),
    ],
)
def test_reasons_are_a_few_words(error: Exception, reason: str) -> None:
    assert reason_for(error) == reason
