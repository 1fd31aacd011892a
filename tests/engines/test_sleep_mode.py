"""Sleep mode of the real vLLM, on CPUs.

A CPU has no memory to give back, and `--enable-sleep-mode` is refused there; but everything that
the gateway sees (the routes, the scheduler that stops, the metrics) is vLLM's own.
"""

import httpx
import pytest

from tests.engines.conftest import need
from tests.support.engine_home import vllm_home
from tests.support.ports import free_port
from tests.support.real_engines import RealEngine, TinyModels, start_vllm
from tests.support.real_engines import running as running_engines
from tests.support.running import running, until

ENOUGH_S = 60.0


async def test_a_vllm_is_put_to_sleep_by_one_gateway_and_woken_by_another(
    tiny_models: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(vllm_home())
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    with running_engines(start_vllm(free_port(), tiny_models.hugging_face, "tiny")) as (engine,):
        variant = {
            "engine": "vllm",
            "served_model": "tiny",
            "replicas": [{"url": engine.url}],
            "wake": {"method": "vllm-sleep", "sleep_after_s": 5},
        }
        document = {"models": [{"name": "m", "variants": [variant]}]}
        async with running(document) as first, running(document) as second:
            states = [next(iter(it.gateway.inference.exchange.fleet)) for it in (first, second)]
            await until(lambda: all(one.condition == "ready" for one in states), ENOUGH_S)
            for it in (first, second):
                assert await _answered(it.url)
                await until(lambda: all(one.condition == "asleep" for one in states), ENOUGH_S)
                assert _sleeps(engine)
            assert await _answered(first.url)
            assert not _sleeps(engine)


async def _answered(url: str) -> bool:
    async with httpx.AsyncClient(timeout=ENOUGH_S) as client:
        body = {"model": "m", "prompt": "Hello", "max_tokens": 4}
        answer = await client.post(url + "/v1/completions", json=body)
    return answer.status_code == 200


def _sleeps(engine: RealEngine) -> bool:
    return bool(httpx.get(engine.url + "/is_sleeping", timeout=10).json()["is_sleeping"])
