"""Every fault of an engine, where another replica is well and where there is none."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway.simulator.serve import serve_engine
from tests.chaos.engine_faults import ENGINE_FAULTS
from tests.chaos.fault import Ends, EngineFault
from tests.chaos.faulty_engine import a_faulty_engine
from tests.chaos.stage import MAX_TOKENS, PATH, PROMPT, Seen, Stage, a_stage, body, read
from tests.support.redis_servers import RedisServer
from tests.support.running import FAST

WHOLE_PRICE = len(PROMPT) + MAX_TOKENS


def cases() -> list[Any]:
    return [
        pytest.param(fault, of == "stream", id=f"{fault.number} {fault.name}, {of}")
        for fault in ENGINE_FAULTS
        for of in fault.of
    ]


@asynccontextmanager
async def beside(
    server: RedisServer, fault: EngineFault, *healthy: str
) -> AsyncIterator[tuple[Stage, str]]:
    """A gateway whose first replica has the fault, once, and what an undisturbed engine says."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(serve_engine(FAST))
        faulty = await stack.enter_async_context(a_faulty_engine(engine))
        url, ca_file = faulty.url, None
        if fault.at is not None:
            url, ca_file = await stack.enter_async_context(fault.at())
        if fault.play is not None:
            faulty.faults.append(fault)
        replicas = [{"url": url}, *({"url": engine.url} for _ in healthy)]
        for number, replica in enumerate(replicas[1:]):
            replica["url"] += "/" * number
        stage = await stack.enter_async_context(
            a_stage(
                server,
                replicas,
                [engine],
                model={"timeouts": dict(fault.timeouts)},
                variant={} if ca_file is None else {"tls": {"ca_file": ca_file}},
                server=dict(fault.server),
                retries={"after_timeout": True, "backoff_s": 0},
            )
        )
        for state in list(stage.it.gateway.inference.exchange.fleet)[1:]:
            state.turns += 10  # asked last
        yield stage, await undisturbed(engine.url)


async def undisturbed(url: str) -> str:
    async with httpx.AsyncClient(timeout=20) as http:
        answer = await http.post(url + PATH, json=body(stream=False, model="sim"))
    return read(answer.status_code, answer.content).text


def assert_answered(seen: Seen, wanted: str) -> None:
    assert (seen.status, seen.is_whole, seen.error) == (200, True, None), seen
    assert seen.text == wanted


def assert_told(stage: Stage, seen: Seen, fault: EngineFault, attempts: list[str]) -> None:
    """The log line and the metrics say what the client saw, and what was tried."""
    line = stage.lines[0]
    if seen.error is None:
        assert (line["outcome"], line["status"]) == ("ok", 200)
    else:
        outcome = "client_error" if fault.ends is Ends.REFUSED else "engine_error"
        assert (line["outcome"], line["status"]) == (outcome, fault.status)
        assert line.get("error_code") == seen.error["code"]
        assert line["error_cause"]
    assert line["attempts"] == len(attempts)
    assert stage.counted("gateway_attempts") == Counter(attempts)
    assert stage.counted("gateway_requests") == {line["outcome"]: 1}


async def assert_next_works(stage: Stage, wanted: str, *, stream: bool) -> None:
    assert_answered(await stage.call(stream=stream), wanted)
    stage.pays(WHOLE_PRICE)


@pytest.mark.parametrize(("fault", "stream"), cases())
async def test_another_replica_is_well(
    fault: EngineFault, stream: bool, redis_server: RedisServer
) -> None:
    async with beside(redis_server, fault, "healthy") as (stage, wanted):
        seen = await stage.call(stream=stream)
        await stage.it.settled()
        match fault.ends:
            case Ends.ANSWERED | Ends.AVOIDED:
                assert_answered(seen, wanted)
                assert_told(stage, seen, fault, ["ok"])
                stage.pays(WHOLE_PRICE)
            case Ends.HIDDEN | Ends.RESUMED:
                assert_answered(seen, wanted)
                assert_told(stage, seen, fault, [fault.code, "ok"])
                assert stage.lines[0].get("resumes", 0) == (fault.ends is Ends.RESUMED)
                stage.pays(WHOLE_PRICE)
            case Ends.REFUSED | Ends.TOLD:
                assert seen.status == fault.status
                assert_told(stage, seen, fault, [fault.code or "error"])
        await assert_next_works(stage, wanted, stream=stream)


@pytest.mark.parametrize(("fault", "stream"), cases())
async def test_nobody_else_can_answer(
    fault: EngineFault, stream: bool, redis_server: RedisServer
) -> None:
    async with beside(redis_server, fault) as (stage, wanted):
        seen = await stage.call(stream=stream)
        await stage.it.settled()
        match fault.ends:
            case Ends.ANSWERED:
                assert_answered(seen, wanted)
                assert_told(stage, seen, fault, ["ok"])
                stage.pays(WHOLE_PRICE)
            case Ends.RESUMED:
                assert seen.status == 200
                assert wanted.startswith(seen.text)
                assert 0 < len(seen.text) < len(wanted)
                assert seen.code == fault.code
                assert_told(stage, seen, fault, [fault.code])
                stage.pays(len(PROMPT) + seen.events)
            case Ends.HIDDEN | Ends.REFUSED | Ends.TOLD | Ends.AVOIDED:
                assert seen.status == fault.status, seen
                assert seen.code == (fault.code or None)
                assert_told(stage, seen, fault, [fault.code or "error"])
        if fault.at is None:
            await assert_next_works(stage, wanted, stream=stream)
