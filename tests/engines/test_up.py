"""`gateway up` with two real vLLM processes on CPU: started from the file, served, stopped."""

import json
import signal
from pathlib import Path

import httpx
from openai import AsyncOpenAI

from tests.engines.conftest import need
from tests.support.child import a_child, children_of, state_of
from tests.support.engine_home import engines_folder, vllm_home
from tests.support.ports import free_port
from tests.support.real_engines import TinyModels
from tests.support.running import until

START_S = 240


def a_file(folder: Path, models: TinyModels) -> Path:
    deploy = {
        "python": str(vllm_home().python),
        "model": str(models.hugging_face),
        "max_model_len": 1024,
        "max_num_seqs": 4,
        "dtype": "float32",
        "extra_args": ["--enforce-eager"],
        "environment": {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CACHE_ROOT": str(engines_folder() / "cache" / "vllm"),
            "HF_HUB_OFFLINE": "1",
        },
    }
    replicas = [{"url": f"http://localhost:{free_port()}"} for _ in range(2)]
    model = {"name": "tiny", "engine": "vllm", "replicas": replicas, "deploy": deploy}
    file = folder / "gateway.yaml"
    file.write_text(json.dumps({"models": [model | {"api_key": {"value": "sk-engine"}}]}))
    return file


async def test_two_vllms_are_started_served_and_stopped(
    tmp_path: Path, tiny_models: TinyModels
) -> None:
    need(vllm_home())
    port = free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--log-dir", str(tmp_path)]
    async with a_child("up", str(a_file(tmp_path, tiny_models)), *words) as child:
        await until(
            lambda: child.said.count("ready after") == 2 or "ended with" in child.said, START_S
        )
        # a model so small may be loaded between two looks at the log
        stages = ("loading weights", "weights loaded", "warming up")
        assert any(f"tiny/r0: {stage}" in child.said for stage in stages), child.said
        assert "tiny/r1: ready after" in child.said, child.said
        await child.says("models at http://localhost:")
        sdk = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0)
        async with sdk:
            answer = await sdk.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "Hello world"}], max_tokens=8
            )
        async with httpx.AsyncClient() as client:
            models = (await client.get(f"http://127.0.0.1:{port}/ready")).json()["models"]
        family = [pid for keeper in children_of(child.process.pid) for pid in family_of(keeper)]
        child.signal(signal.SIGTERM)
        assert await child.ended(within_s=60) == 0
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert models == {"tiny": "ready"}
    assert len(family) > 4, "two keepers, two servers and their engine cores"
    assert {state_of(pid) for pid in family} == {"Z"}
    assert "sk-engine" not in child.said + (tmp_path / "tiny_r0.log").read_text()


def family_of(pid: int) -> list[int]:
    return [pid, *(further for child in children_of(pid) for further in family_of(child))]
