"""The real engines keep the contract that the simulated ones are held to."""

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.engine_contract import CHECKS, Check
from tests.support.real_engines import RealEngine


@pytest.fixture
def vllm_client(a_vllm: RealEngine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=a_vllm.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def llama_client(llama_server: RealEngine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=llama_server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_vllm_keeps_the_contract(vllm_client: httpx.Client, check: Check) -> None:
    check(vllm_client, "tiny", "vllm")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_llama_server_keeps_the_contract(llama_client: httpx.Client, check: Check) -> None:
    check(llama_client, "tiny", "llamacpp")
