"""Every fault of the gateway's own process: clients are told, what can go on does."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.serve import serve_engine
from tests.chaos.process_faults import (
    PROCESS_FAULTS,
    PROMPT_TOKENS,
    ProcessFault,
    assert_serves,
    gauge,
)
from tests.chaos.purse import LOGIN, Purse
from tests.chaos.stage import MAX_TOKENS, PROMPT, a_stage
from tests.support.redis_servers import RedisServer
from tests.support.running import FAST, until
from tests.support.served import SLOW, Served, served

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("fault", PROCESS_FAULTS, ids=lambda fault: f"{fault.number} {fault.name}")
async def test_a_gateway_that(
    fault: ProcessFault, tmp_path: Path, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        purse = Purse(client)
        document = purse.document(redis_server.url)
        async with served(tmp_path, *fault.arguments, options=SLOW, login=LOGIN, **document) as it:
            await fault.happens(it)
            await until(lambda: not it.engine.is_busy, within_s=5)
            if not fault.ends:
                await assert_serves(it)
                assert await gauge(it, "gateway_limit_settlements_pending") == 0
                it.child.signal(signal.SIGTERM)
            assert await it.child.ended() == 0
        assert "open" not in [request.outcome for request in it.engine.requests]
        if not fault.hides_log:
            for line in assert_told(it):
                prompt_tokens = line.get("prompt_tokens", PROMPT_TOKENS)
                purse.pays(prompt_tokens + line["completion_tokens"])
            purse.assert_paid()


def assert_told(it: Served) -> list[dict[str, Any]]:
    """Every call that an engine had has its line, and the line its end; those lines."""
    asked = [line for line in it.lines if line["attempts"]]
    assert len(asked) == len(it.engine.requests)
    ends = Counter("ok" if line["outcome"] == "ok" else "not ok" for line in asked)
    answered = sum(request.outcome == "answered" for request in it.engine.requests)
    assert ends["ok"] == answered
    return asked


class _Broken:
    """A policy with a bug."""

    reads_prefix = False

    def pick(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a secret of the stack")


async def test_a_bug_costs_one_call_and_nothing_else(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serve_engine(FAST) as engine,
        a_stage(redis_server, [{"url": engine.url}], [engine]) as stage,
    ):
        policies: Any = stage.it.gateway.inference.exchange._placing._policies
        right = dict(policies)
        policies.update(dict.fromkeys(policies, _Broken()))
        seen = await stage.call(stream=True)
        policies.update(right)
        assert (seen.status, seen.code) == (500, "internal_error")
        assert b"secret" not in seen.raw
        assert stage.lines[0]["outcome"] == "gateway_error"
        again = await stage.call(stream=True)
        assert again.is_whole
        stage.pays(len(PROMPT) + MAX_TOKENS)
    (bug,) = [record for record in caplog.records if record.getMessage() == "bug"]
    assert str(vars(bug)["reason"]) in seen.raw.decode()
