"""The commands of docs/keys.md, one after the other, against a real gateway."""

import os
import re
import shlex
import sys

import anyio
import pytest

from gateway.simulator.serve import serve_engine
from tests.docs.generate import DOCS
from tests.support.admin import KEY
from tests.support.redis_servers import a_redis
from tests.support.running import FAST, running

PAGE = (DOCS / "keys.md").read_text()
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
COMMANDS = [
    shlex.split(line.removeprefix("$ ")) for line in CONSOLE.splitlines() if line[:2] == "$ "
]
pytestmark = [pytest.mark.integration, pytest.mark.redis, pytest.mark.timeout(120)]


async def test_every_command_does_what_the_page_says() -> None:
    lines = set(CONSOLE.splitlines())
    told: list[str] = []
    with a_redis() as server:
        async with serve_engine(FAST) as engine:
            document = {
                "models": [{"name": "llama-3.1-8b", "engine": "vllm", "url": engine.url}],
                "plans": [{"name": "default", "requests_per_minute": 600}],
                "limits": {"store": "redis", "redis_url": {"value": server.url}},
            }
            async with running(document, environ={"GATEWAY_ADMIN_KEY": KEY}) as it:
                environ = os.environ | {"GATEWAY_ADMIN_KEY": KEY, "GATEWAY_URL": it.url}
                for words in COMMANDS:
                    if words[:2] == ["gateway", "keys"]:
                        command = [sys.executable, "-m", *words]
                        ended = await anyio.run_process(command, env=environ, check=False)
                        assert ended.returncode == 0, (words, ended.stderr)
                        told += ended.stdout.decode().splitlines() + ended.stderr.decode().split(
                            "\n"
                        )
    assert len([words for words in COMMANDS if words[:2] == ["gateway", "keys"]]) >= 8
    assert "it is shown this once: the gateway keeps only its SHA-256" in lines & set(told)
    assert "day,key,model,input_tokens,output_tokens,cached_tokens,requests,errors" in lines & set(
        told
    )


def test_every_state_and_path_is_on_the_page() -> None:
    for word in ("active", "disabled", "plan_not_found", "replaced_by_file"):
        assert f"| `{word}` |" in PAGE
    for path in ("keys", "limits/NAME", "usage", "audit", "keys/NAME/rotate"):
        assert f"/admin/{path}" in PAGE
