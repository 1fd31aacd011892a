"""Send a workload over HTTP through a router to simulated engines.

The router is a command: `{urls}` in it stands for the engines' addresses (as many words), `{port}`
for where it shall listen, `{spare}` for one more free port. Engines and arrivals can be slowed
down together, so that a busy machine disturbs the figures less; times are divided by that again.
"""

import os
import shlex
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from gateway.experiment.figures import Call, Engine, Figures, figures_of
from gateway.experiment.front import MODEL, body_of
from gateway.experiment.plan import ENGINE
from gateway.experiment.workload import Session, Workload
from gateway.remote.address import headers_of
from gateway.remote.answer import Answer, Question
from gateway.remote.endpoint import AskFailed, Endpoint
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.serve import serve_engine
from gateway.wire.http import Origin

_READY_S = 60.0
_LOOK_S = 0.2
_END_S = 10.0
_TIMEOUT_S = 600.0


class RouterFailed(Exception):
    """A router could not be started, or does not answer."""


@dataclass(frozen=True, slots=True)
class Router:
    """A router to measure: its name, and the words of its command."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def parsed(cls, text: str) -> "Router":
        """`NAME=COMMAND`. Raises ValueError."""
        name, _, command = text.partition("=")
        words = tuple(shlex.split(command))
        if not name or not words:
            raise ValueError("must be NAME=COMMAND")
        if "{urls}" not in words or not any("{port}" in word for word in words):
            raise ValueError("the command must have the words {urls} and {port}")
        return cls(name, words)

    def with_places(self, urls: Sequence[str], port: int, spare: int) -> list[str]:
        """The command for these engines."""
        known = {"{port}": str(port), "{spare}": str(spare)}
        words: list[str] = []
        for word in self.command:
            if word == "{urls}":
                words += urls
                continue
            for name, value in known.items():
                word = word.replace(name, value)  # noqa: PLW2901  # one after another
            words.append(word)
        return words


@dataclass(frozen=True, slots=True)
class HttpPlan:
    """One workload over so many engines, `slowdown` times as slow as they are said to be."""

    workload: Workload
    replicas: int = 4
    duration_s: float = 60.0
    warmup_s: float = 20.0
    slowdown: float = 1.0
    seed: int = 1


async def measured(router: Router, plan: HttpPlan, log: Path = Path(os.devnull)) -> Figures:
    """Raises RouterFailed. What the router says goes into `log`."""
    slow = plan.slowdown
    options = replace(
        ENGINE,
        models=(MODEL,),
        prefill_s_per_token=ENGINE.prefill_s_per_token * slow,
        inter_token_s=ENGINE.inter_token_s * slow,
        inter_token_s_per_running=ENGINE.inter_token_s_per_running * slow,
    )
    sessions = plan.workload.sessions(
        replicas=plan.replicas, duration_s=plan.duration_s, seed=plan.seed
    )
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(serve_engine(options)) for _ in range(plan.replicas)
        ]
        endpoint = await stack.enter_async_context(_routed(router, engines, log))
        drive = _Drive(endpoint, slow, plan.duration_s)
        await drive.run(sessions)
        done = [
            Engine(
                engine.scheduler.cache_queries,
                engine.scheduler.cache_hits,
                engine.counts.generated_tokens,
            )
            for engine in engines
        ]
    return figures_of(
        plan.workload.name,
        router.name,
        drive.calls,
        done,
        warmup_s=plan.warmup_s,
        until_s=plan.duration_s,
    )


class _Drive:
    def __init__(self, endpoint: Endpoint, slowdown: float, until_s: float) -> None:
        self.calls: list[Call] = []
        self._endpoint = endpoint
        self._slowdown = slowdown
        self._until_s = until_s
        self._began_s = 0.0

    async def run(self, sessions: Sequence[Session]) -> None:
        self._began_s = self._endpoint.clock.now_s()
        async with anyio.create_task_group() as group:
            for session in sessions:
                await anyio.sleep(max(0.0, session.starts_s - self._passed_s()) * self._slowdown)
                group.start_soon(self._follow, session)

    async def _follow(self, session: Session) -> None:
        for turn in session.turns:
            await anyio.sleep(turn.pause_s * self._slowdown)
            if self._passed_s() >= self._until_s:
                return
            body = body_of(turn.prompt, max_tokens=turn.answer_tokens, stream=True, ignore_eos=True)
            sent_s = self._passed_s()
            answer = await self._endpoint.stream(Question("/chat/completions", body))
            self.calls.append(self._call(sent_s, answer))

    def _call(self, sent_s: float, answer: Answer) -> Call:
        first_s = answer.times_s[0] if answer.times_s else answer.ended_s
        return Call(
            sent_s=sent_s,
            first_token_s=(first_s - self._began_s) / self._slowdown,
            done_s=(answer.ended_s - self._began_s) / self._slowdown,
            answer_tokens=answer.completion_tokens,
            failure=None if answer.failure is None else answer.failure.message,
        )

    def _passed_s(self) -> float:
        return (self._endpoint.clock.now_s() - self._began_s) / self._slowdown


@asynccontextmanager
async def _routed(
    router: Router, engines: Sequence[SimulatedEngine], log: Path
) -> AsyncIterator[Endpoint]:
    port, spare = _free_ports(2)
    command = router.with_places([engine.url for engine in engines], port, spare)
    try:
        with log.open("ab") as output:
            process = await anyio.open_process(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
    except OSError as failed:
        raise RouterFailed(f"{router.name}: {command[0]}: {failed.strerror}") from failed
    try:
        origin = Origin("http", "127.0.0.1", port)
        async with Endpoint(origin, headers_of(None, ()), timeout_s=_TIMEOUT_S) as endpoint:
            await _until_it_answers(router, process, endpoint)
            yield endpoint
    finally:
        if process.returncode is None:
            process.terminate()
        with anyio.move_on_after(_END_S, shield=True):
            await process.wait()
        if process.returncode is None:
            process.kill()


async def _until_it_answers(router: Router, process: anyio.abc.Process, endpoint: Endpoint) -> None:
    """Raises RouterFailed."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "ready?"}], "max_tokens": 1}
    with anyio.move_on_after(_READY_S) as scope:
        while process.returncode is None:
            try:
                await endpoint.whole("POST", "/chat/completions", body)
            except AskFailed:
                await anyio.sleep(_LOOK_S)
            else:
                return
    how = "does not answer" if scope.cancelled_caught else f"ended with {process.returncode}"
    raise RouterFailed(f"{router.name} {how}")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
