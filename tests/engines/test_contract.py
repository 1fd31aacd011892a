"""The real engines keep the contract that the simulated ones are held to."""

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.engine_contract import CHECKS, Check
from tests.support.real_engines import RealEngine


def a_client(engine: RealEngine) -> httpx.Client:
    """One connection a request: llama-server may close one just as it is used again."""
    return httpx.Client(
        base_url=engine.url,
        timeout=60,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    )


@pytest.fixture
def vllm_client(a_vllm: RealEngine) -> Iterator[httpx.Client]:
    with a_client(a_vllm) as client:
        yield client


@pytest.fixture
def llama_client(llama_server: RealEngine) -> Iterator[httpx.Client]:
    with a_client(llama_server) as client:
        yield client


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_vllm_keeps_the_contract(vllm_client: httpx.Client, check: Check) -> None:
    check(vllm_client, "tiny", "vllm")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_llama_server_keeps_the_contract(llama_client: httpx.Client, check: Check) -> None:
    check(llama_client, "tiny", "llamacpp")
