"""Several workers on one socket: one door, one set of figures, whoever dies."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.simulator.options import EngineOptions
from tests.support.child import children_of, logged, state_of
from tests.support.openmetrics import ACCEPT, exemplars
from tests.support.otlp_receiver import http_receiver
from tests.support.running import FAST, until
from tests.support.served import LONG, PATH, SLOW, Served, a_stream, chat, served, the_rest

T = TypeVar("T")

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc"),
]


@asynccontextmanager
async def two_workers(
    folder: Path, options: EngineOptions = FAST, **more: Any
) -> AsyncIterator[Served]:
    async with served(folder, "--workers", "2", options=options, **more) as it:
        await both_serve(it)
        yield it


async def both_serve(it: Served) -> None:
    """Wait until there are two workers, and each of them answers."""
    await until(lambda: len(workers_of(it)) == 2, within_s=20)
    for pid in workers_of(it):
        async with alone(it, pid):
            assert (await fresh(it, "GET", "/health")).status_code == 200


def workers_of(it: Served) -> Sequence[int]:
    return children_of(it.child.process.pid)


@asynccontextmanager
async def alone(it: Served, worker: int) -> AsyncIterator[None]:
    """Let the others stand still, so that this worker takes every new connection."""
    others = [pid for pid in workers_of(it) if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        await until(lambda: all(state_of(pid) == "T" for pid in others), within_s=5)
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


async def by_each(it: Served, ask: Callable[[], Awaitable[T]]) -> list[T]:
    """Ask every worker."""
    answers: list[T] = []
    for pid in workers_of(it):
        async with alone(it, pid):
            answers.append(await ask())
    return answers


async def call(it: Served, times: int, **more: Any) -> None:
    for _ in range(times):
        assert (await fresh(it, "POST", PATH, json=chat(**more))).status_code == 200


async def fresh(it: Served, method: str, path: str, **more: Any) -> httpx.Response:
    """Ask over a connection of its own, which any worker may take."""
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.request(method, it.url + path, **more)


async def total(it: Served, name: str, **labels: str) -> float:
    text = (await fresh(it, "GET", "/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_every_scrape_shows_what_all_workers_have_counted(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as it:
        one, other = workers_of(it)
        async with alone(it, one):
            await call(it, 5)
        async with alone(it, other):
            await call(it, 7)
        await until(lambda: len(it.lines) == 12, within_s=10)
        requests = await by_each(it, lambda: total(it, "gateway_requests_total"))
        name = "gen_ai_server_request_duration_seconds_count"
        durations = await by_each(it, lambda: total(it, name))
        tokens = await by_each(it, lambda: total(it, "gateway_tokens_total", type="output"))
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert requests == durations == [12, 12]
    assert tokens == [12 * 6] * 2


async def test_any_worker_names_the_newest_trace_and_the_same_callers(tmp_path: Path) -> None:
    keys = [{"name": name, "secret": {"value": f"sk-{name}-key"}} for name in ("a", "b", "c")]
    with http_receiver() as collector:
        telemetry = {"otlp_endpoint": collector.url, "max_callers": 2}
        async with two_workers(tmp_path, keys=keys, telemetry=telemetry) as it:
            for worker, names in zip(workers_of(it), ("ab", "cb"), strict=True):
                async with alone(it, worker):
                    for name in names:
                        login = {"authorization": f"Bearer sk-{name}-key"}
                        asked = chat(stream=True)
                        answer = await fresh(it, "POST", PATH, json=asked, headers=login)
                        assert answer.status_code == 200
            await until(lambda: len(it.lines) == 4, within_s=10)
            last = it.lines[-1]["trace_id"]
            by_caller = [
                await by_each(it, lambda: total(it, "gateway_caller_requests_total", caller=name))  # noqa: B023  # asked at once
                for name in ("a", "b", "c", "other")
            ]
            texts = await by_each(it, lambda: fresh(it, "GET", "/metrics", headers=ACCEPT))
            it.child.signal(signal.SIGTERM)
            assert await it.child.ended() == 0
    assert by_caller == [[1, 1], [2, 2], [0, 0], [1, 1]]
    for text in texts:
        traces = {one.labels["trace_id"] for one in exemplars(text.text).values()}
        assert last in traces


async def test_a_worker_that_is_killed_is_replaced_and_no_figure_goes_down(
    tmp_path: Path,
) -> None:
    async with two_workers(tmp_path) as it:
        killed, survivor = workers_of(it)
        async with alone(it, killed):
            await call(it, 5)
        async with alone(it, survivor):
            await call(it, 2)
        await until(lambda: len(it.lines) == 7, within_s=10)
        os.kill(killed, signal.SIGKILL)
        await until(lambda: killed not in workers_of(it), within_s=10)
        during = await total(it, "gateway_requests_total")
        await both_serve(it)
        (replacement,) = set(workers_of(it)) - {survivor}
        async with alone(it, replacement):
            await call(it, 3)
        await until(lambda: len(it.lines) == 10, within_s=10)
        after = await by_each(it, lambda: total(it, "gateway_requests_total"))
        (told,) = logged(it.child.said, "worker_ended")
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert during == 7
    assert after == [10, 10]
    assert '"reason":"signal 9"' in told


async def test_calls_in_flight_are_those_of_all_workers(tmp_path: Path) -> None:
    async with two_workers(tmp_path, SLOW) as it, AsyncExitStack() as streams:
        for worker, count in zip(workers_of(it), (2, 3), strict=True):
            async with alone(it, worker):
                for _ in range(count):
                    await streams.enter_async_context(a_stream(it, max_tokens=LONG))
        await in_flight(it, 5)
        await streams.aclose()
        await in_flight(it, 0)
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0


async def in_flight(it: Served, wanted: float) -> None:
    """Wait until that many are shown: a worker tells its siblings once a second."""
    with anyio.fail_after(15):
        while await total(it, "gateway_requests_in_flight") != wanted:  # noqa: ASYNC110  # polled
            await anyio.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_workers(tmp_path: Path, number: signal.Signals) -> None:
    async with two_workers(tmp_path, SLOW) as it, AsyncExitStack() as streams:
        workers, begun = workers_of(it), []
        for worker in workers:
            async with alone(it, worker):
                begun += [
                    await streams.enter_async_context(a_stream(it, max_tokens=40)) for _ in range(2)
                ]
        it.child.signal(number)
        rests = [await the_rest(pieces) for pieces in begun]
        await streams.aclose()
        assert await it.child.ended() == 0
        assert {state_of(pid) for pid in workers} == {"Z"}
    assert [rest[-14:] for rest in rests] == [b"data: [DONE]\n\n"] * 4


async def test_a_second_signal_ends_all_workers_at_once(tmp_path: Path) -> None:
    async with two_workers(tmp_path, SLOW) as it:
        async with a_stream(it, max_tokens=LONG) as pieces:
            it.child.signal(signal.SIGTERM)
            await it.child.says('"event":"draining"')
            it.child.signal(signal.SIGTERM)
            rest = await the_rest(pieces)
        assert await it.child.ended(within_s=5) == 0
    assert b'"code":"gateway_draining"' in rest


async def test_sighup_reloads_every_worker(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as it:
        it.write(name="other")
        it.child.signal(signal.SIGHUP)
        await until(lambda: len(logged(it.child.said, "config_reloaded")) == 2, within_s=10)
        await by_each(it, lambda: call(it, 1, model="other"))
        assert len(workers_of(it)) == 2
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert not logged(it.child.said, "worker_ended")


async def test_workers_whose_parent_is_killed_drain_and_end(tmp_path: Path) -> None:
    async with two_workers(tmp_path, SLOW) as it:
        workers = workers_of(it)
        async with a_stream(it, max_tokens=20) as pieces:
            it.child.signal(signal.SIGKILL)
            rest = await the_rest(pieces)
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)
    assert rest.endswith(b"data: [DONE]\n\n")
