import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.exception
import pytest
from dns.resolver import NoResolverConfiguration

from gateway.config.discovery import Discovery
from gateway.fleet.discovery import dns as module
from gateway.fleet.discovery.dns import Dns, open_dns
from gateway.fleet.discovery.endpoint import Endpoint, Surroundings
from tests.support.dns_server import DnsServer, dns_server
from tests.support.heard import Heard, listening

pytestmark = pytest.mark.timeout(60)
NAME = "vllm.models.test"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SOONEST_S", 0.05)


@asynccontextmanager
async def asking(server: DnsServer, **more: Any) -> AsyncIterator[Heard]:
    given = {"dns": NAME, "port": 8000, "nameservers": [server.nameserver]} | more
    discovery = Discovery.model_validate(given)
    async with listening(open_dns(discovery, Surroundings({}, random.Random(1)))) as heard:
        yield heard


async def test_every_address_is_an_endpoint_in_order() -> None:
    async with dns_server() as server:
        server.addresses[NAME] = {"A": ["10.0.0.2", "10.0.0.1"]}
        async with asking(server) as heard:
            await heard.until(lambda: bool(heard.sets))
    assert heard.sets[0] == [
        Endpoint("r-10-0-0-1", "10.0.0.1", 8000),
        Endpoint("r-10-0-0-2", "10.0.0.2", 8000),
    ]


async def test_the_name_is_asked_again_when_its_answer_ages() -> None:
    async with dns_server() as server:
        server.addresses[NAME] = {"A": ["10.0.0.1"]}
        async with asking(server, refresh_s=3600) as heard:
            await heard.until(lambda: heard.hosts == ["10.0.0.1"])
            server.addresses[NAME] = {"A": ["10.0.0.3"]}
            await heard.until(lambda: heard.hosts == ["10.0.0.3"])


async def test_a_long_answer_is_asked_for_again_after_the_refresh() -> None:
    async with dns_server() as server:
        server.addresses[NAME] = {"A": ["10.0.0.1"]}
        server.ttl_s = 3600
        async with asking(server, refresh_s=1) as heard:
            await heard.until(lambda: len(heard.sets) == 2)


async def test_addresses_of_ipv4_go_before_those_of_ipv6() -> None:
    async with dns_server() as server:
        server.addresses[NAME] = {"A": ["10.0.0.1"], "AAAA": ["fd00::1"]}
        async with asking(server) as heard:
            await heard.until(lambda: heard.hosts == ["10.0.0.1"])
            server.addresses[NAME] = {"AAAA": ["fd00::1"]}
            await heard.until(lambda: heard.hosts == ["fd00::1"])


async def test_a_long_answer_comes_over_tcp() -> None:
    async with dns_server() as server:
        server.needs_tcp = True
        server.addresses[NAME] = {"A": [f"10.0.0.{number}" for number in range(200)]}
        async with asking(server) as heard:
            await heard.until(lambda: bool(heard.sets))
        assert server.over_tcp
    assert len(heard.sets[0]) == 200


async def test_a_resolver_that_fails_changes_nothing() -> None:
    async with dns_server() as server:
        server.addresses[NAME] = {"A": ["10.0.0.1"]}
        async with asking(server, refresh_s=1) as heard:
            await heard.until(lambda: heard.hosts == ["10.0.0.1"])
            server.failing = True
            await heard.until(lambda: bool(heard.failures))
            assert heard.hosts == ["10.0.0.1"]
            server.failing = False
            server.addresses[NAME] = {"A": ["10.0.0.2"]}
            await heard.until(lambda: heard.hosts == ["10.0.0.2"])
    assert heard.failures[0] == "every resolver refused or failed"


async def test_a_resolver_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    async with dns_server() as server:
        server.is_silent = True
        async with asking(server, refresh_s=1) as heard:
            await heard.until(lambda: bool(heard.failures))
    assert heard.failures[0] == "no resolver answered in time"


async def test_a_name_that_was_there_has_to_be_missing_twice() -> None:
    async with dns_server() as server:
        server.addresses[NAME] = {"A": ["10.0.0.1"]}
        async with asking(server, refresh_s=1) as heard:
            await heard.until(lambda: heard.hosts == ["10.0.0.1"])
            before = heard.confirmations
            del server.addresses[NAME]
            await heard.until(lambda: heard.confirmations > before)
            assert heard.hosts == ["10.0.0.1"]
            await heard.until(lambda: heard.hosts == [])


async def test_a_name_that_has_no_addresses_is_told_at_once() -> None:
    async with dns_server() as server:
        server.addresses[NAME] = {}
        async with asking(server, refresh_s=3600) as heard:
            await heard.until(lambda: heard.hosts == [])
    assert heard.failures == []


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (NoResolverConfiguration, "this machine names no resolver"),
        (dns.exception.SyntaxError, "the answer could not be used"),
        (OSError, "the answer could not be used"),
    ],
)
async def test_a_machine_without_resolvers_is_told(failure: type[Exception], told: str) -> None:
    def fail() -> Any:
        raise failure

    async with listening(Dns(NAME, 80, 1.0, fail)) as heard:
        await heard.until(lambda: bool(heard.failures))
    assert heard.failures[0] == told


def test_the_resolvers_of_the_machine_are_asked_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[bool] = []
    monkeypatch.setattr(module, "Resolver", lambda *, configure: made.append(configure))
    module._resolver(())
    assert made == [True]
