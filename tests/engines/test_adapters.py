"""LoRA adapters of a real vLLM: loaded when they are asked for, and answering under their name."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engines.conftest import StartAnother
from tests.engines.tiny_adapter import RANK, write_adapter
from tests.support.admin import KEY, Admin
from tests.support.real_engines import RealEngine
from tests.support.running import Running, running, until

LORA = ("--enable-lora", "--max-loras", "2", "--max-lora-rank", str(RANK))


@pytest.fixture
def a_vllm_with_lora(
    start_another_vllm: StartAnother, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RealEngine:
    """It has the adapter `first` and can be told to load others; `tmp_path` has two more."""
    for seed, name in enumerate(("first", "sql", "poet")):
        write_adapter(tmp_path / name, seed)
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    return start_another_vllm((*LORA, "--lora-modules", f"first={tmp_path / 'first'}"))


async def said(it: Running, model: str) -> str:
    body = {"model": model, "prompt": "the gateway", "max_tokens": 8, "temperature": 0}
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{it.url}/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert told["model"] == model
    text: str = told["choices"][0]["text"]
    return text


@pytest.mark.timeout(400)
async def test_adapters_are_loaded_used_and_unloaded(
    a_vllm_with_lora: RealEngine, tmp_path: Path
) -> None:
    adapters = [{"name": "first"}]
    adapters += [{"name": name, "path": str(tmp_path / name)} for name in ("sql", "poet")]
    adapters += [{"name": "nowhere", "path": str(tmp_path / "nowhere")}]
    variant = {
        "engine": "vllm",
        "served_model": a_vllm_with_lora.served_name,
        "replicas": [{"url": a_vllm_with_lora.url}],
        "adapters": adapters,
        "max_adapters": 1,
    }
    document = {"models": [{"name": "m", "variants": [variant]}]}
    async with running(document, environ={"GATEWAY_ADMIN_KEY": KEY}) as it:
        (state,) = it.gateway.inference.exchange.fleet
        await until(lambda: state.is_usable and state.adapters.known is not None, 60)
        assert state.adapters.known == frozenset(("first",))
        texts = [await said(it, name) for name in ("m", "first", "sql", "poet", "m")]
        assert texts[0] == texts[4]
        assert len(set(texts)) == 4
        fleet = (await Admin(it).ask("GET", "/fleet")).json()
        assert fleet["replicas"][0]["adapters"] == ["first", "poet"]
        async with httpx.AsyncClient(timeout=60) as client:
            listed = (await client.get(f"{a_vllm_with_lora.url}/v1/models")).json()["data"]
            body = {"model": "nowhere", "prompt": "x", "max_tokens": 1}
            answer = await client.post(f"{it.url}/v1/completions", json=body)
        assert {one["id"] for one in listed} == {"tiny", "first", "poet"}
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "adapter_not_loaded")
        assert await said(it, "sql") == texts[2]
