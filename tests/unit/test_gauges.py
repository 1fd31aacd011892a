import httpx
import pytest

from gateway.app import Gateway, build
from gateway.config.settings import load_settings
from gateway.engines.adapter import Load
from gateway.fleet.health import Condition
from tests.support.configs import a_document, a_model

OF = '{model="m",replica="r0",variant="m"}'


@pytest.fixture
def gateway() -> Gateway:
    """One that has not been started."""
    return build(a_document(a_model("m")), load_settings({}), environ={})


async def shown(gateway: Gateway) -> list[str]:
    transport = httpx.ASGITransport(gateway.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return (await client.get("/metrics")).text.splitlines()


async def test_what_is_known_at_rest_is_shown(gateway: Gateway) -> None:
    lines = await shown(gateway)
    for line in (
        f"gateway_replica_usable{OF} 1.0",
        f"gateway_replica_ejected{OF} 0.0",
        f"gateway_replica_load{OF} 0.0",
        "gateway_workers 1.0",
        "gateway_config_valid 1.0",
        "gateway_limit_settlements_pending 0.0",
        "gateway_limit_store_away 0.0",
    ):
        assert line in lines
    assert not [line for line in lines if line.startswith("gateway_replica_kv_cache_used_ratio{")]


async def test_they_are_read_anew_every_time(gateway: Gateway) -> None:
    fleet = gateway.inference.exchange.fleet
    await shown(gateway)
    load = Load(running=3, kv_cache_used_ratio=0.5)
    fleet.probed(next(iter(fleet)), Condition.UNHEALTHY, load, 0.0)
    gateway.readiness.config_problems = ("models: missing",)
    lines = await shown(gateway)
    assert f"gateway_replica_load{OF} 3.0" in lines
    assert f"gateway_replica_kv_cache_used_ratio{OF} 0.5" in lines
    assert "gateway_config_valid 0.0" in lines
