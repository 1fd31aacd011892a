"""Before, probes trusted public authorities only and followed the environment's proxies.

So an engine behind `tls.ca_file` was asked for answers and yet thought unhealthy for ever.
"""

from pathlib import Path

import anyio
import pytest

from gateway.clock import SystemClock
from gateway.engines import ENGINES
from gateway.fleet.health import Condition
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.prober import Prober
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog, a_model
from tests.support.scripted_server import answering, certified, serving, whole

pytestmark = pytest.mark.integration


async def condition_of(url: str, ca_file: Path | None) -> Condition:
    """What one round of probes thinks of an engine."""
    tls = {} if ca_file is None else {"tls": {"ca_file": str(ca_file)}}
    fleet = FleetState(a_catalog(a_model("m", engine="openai", url=url, **tls)))
    async with ProbeClients() as clients:
        with anyio.fail_after(10):
            await Prober(fleet, ENGINES, clients, SystemClock()).probe_all()
    (state,) = fleet
    return state.condition


async def test_an_engine_is_trusted_by_the_authority_that_is_configured(tmp_path: Path) -> None:
    tls, ca_file = certified("localhost", tmp_path)
    async with serving(answering(whole()), tls=tls) as it:
        assert await condition_of(f"https://localhost:{it.origin.port}", ca_file) is Condition.READY


async def test_an_authority_that_nobody_named_is_not_trusted(tmp_path: Path) -> None:
    tls, _ = certified("localhost", tmp_path)
    async with serving(answering(whole()), tls=tls) as it:
        seen = await condition_of(f"https://localhost:{it.origin.port}", None)
    assert seen is not Condition.READY


async def test_an_authority_that_cannot_be_read_costs_the_probe_alone(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("nonsense")
    assert await condition_of("https://localhost:9", broken) is not Condition.READY


async def test_proxies_of_the_environment_are_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with serving(answering(whole())) as it:
        assert await condition_of(f"http://127.0.0.1:{it.origin.port}", None) is Condition.READY


async def test_a_client_is_made_once_and_closed_in_the_end() -> None:
    async with ProbeClients() as clients:
        client = clients.trusting(None)
        assert clients.trusting(None) is client
    assert client.is_closed
    with pytest.raises(RuntimeError):
        await client.get("http://127.0.0.1:9")
