"""The official SDK for Node meets limits as the Python one does."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.running import Running, a_gateway

NODE = Path(__file__).parents[1] / "node"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "openai").is_dir(),
    reason="needs Node 20 and `make node`",
)


async def ask(it: Running, *, calls: int, max_tokens: int, retries: int) -> list[dict[str, Any]]:
    command = ["node", str(NODE / "ask.mjs"), it.url, str(calls), str(max_tokens), str(retries)]
    with anyio.fail_after(25):
        done = await anyio.run_process(command, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


async def test_it_waits_as_told_and_succeeds() -> None:
    limits = [{"name": "default", "requests_per_minute": 120, "burst": {"requests_per_minute": 1}}]
    async with a_gateway(plans=limits) as it:
        results = await ask(it, calls=3, max_tokens=2, retries=2)
        await it.settled()
    assert [bool(result.get("content")) for result in results] == [True] * 3
    told = [(line["status"], line.get("sdk_retry")) for line in it.log.requests]
    assert told == [(200, "0"), (429, "0"), (200, "1"), (429, "0"), (200, "1")]


async def test_it_gives_the_refusal_its_class_and_tries_what_can_never_fit_once() -> None:
    limits = [{"name": "default", "tokens_per_minute": 50}]
    async with a_gateway(plans=limits) as it:
        (result,) = await ask(it, calls=1, max_tokens=60, retries=2)
        await it.settled_calls(2)
    assert result["failure"] == "RateLimitError"
    assert (result["status"], result["code"], result["type"]) == (
        429,
        "rate_limit_exceeded",
        "tokens",
    )
    assert "larger than its limit" in result["message"]
    assert [line["status"] for line in it.log.requests] == [429]
    assert result["requestID"] == it.log.requests[0]["request_id"]
