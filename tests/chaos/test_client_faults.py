"""Every fault of a client: it gets what is true, and nothing of it stays behind."""

import anyio
import pytest

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.chaos.client_faults import CLIENT_FAULTS, ClientFault, Visit
from tests.chaos.stage import MAX_TOKENS, PROMPT, Stage, a_stage
from tests.support.raw_client import RawClient, a_client
from tests.support.redis_servers import RedisServer
from tests.support.running import until

ENGINE = EngineOptions(
    models=("sim",),
    inter_token_s=0.01,
    inter_token_s_per_running=0.0,
    prefill_s_per_token=0.0,
)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])
@pytest.mark.parametrize("fault", CLIENT_FAULTS, ids=lambda fault: f"{fault.number} {fault.name}")
async def test_a_client_that(fault: ClientFault, direct: bool, redis_server: RedisServer) -> None:
    async with (
        serve_engine(ENGINE) as engine,
        a_stage(
            redis_server, [{"url": engine.url}], [engine], direct=direct, server=fault.server
        ) as stage,
    ):
        async with a_client(stage.it) as client:
            await fault.does(Visit(client, engine))
            if fault.status is not None:
                await assert_refused(client, fault)
            if fault.logged is not None:
                await until(lambda: bool(stage.lines), within_s=15)
        await stage.it.settled()
        await until(lambda: not engine.is_busy, within_s=1)
        assert_told(stage, fault)
        seen = await stage.call(stream=True)
        assert (seen.status, seen.is_whole) == (200, True)
        stage.pays(len(PROMPT) + MAX_TOKENS)


async def assert_refused(client: RawClient, fault: ClientFault) -> None:
    answer = await client.answer()
    assert answer.status == fault.status, answer
    assert answer.error["code"] == fault.code
    assert answer.error["message"]
    assert answer.headers["x-request-id"]
    if fault.is_closed:
        with anyio.fail_after(5):
            assert await client.is_closed()


def assert_told(stage: Stage, fault: ClientFault) -> None:
    """A call has one line and one count; it pays for what was made before its client left."""
    if fault.logged is None:
        assert stage.lines == []
        return
    (line,) = stage.lines
    assert line["outcome"] == fault.logged
    assert line["status"] == (fault.status or 499)
    assert stage.counted("gateway_requests") == {fault.logged: 1}
    assert stage.counted("gateway_attempts") == ({} if fault.status else {"client_gone": 1})
    if fault.status is None:
        assert stage.it.engine.requests[0].outcome == "client_left"
        stage.pays(len(PROMPT) + line.get("completion_tokens", 0))
