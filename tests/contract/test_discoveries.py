"""What every discovery keeps: a new one is tested by being registered, and given a world."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import anyio
import pytest

from gateway.config.discovery import Discovery
from gateway.fleet.discovery import DISCOVERIES
from gateway.fleet.discovery import endpoint as seam
from tests.support.dns_server import dns_server
from tests.support.heard import Heard, listening
from tests.support.kubernetes_api import NAMESPACE, a_pod, a_slice, kubernetes_api

pytestmark = [
    pytest.mark.parametrize("kind", DISCOVERIES),
    pytest.mark.timeout(120),
    pytest.mark.integration,
]


class World(Protocol):
    """Where a discovery looks. `config`: the stanza that leads there."""

    config: dict[str, Any]

    def set(self, *addresses: str) -> None:
        """These are there now."""
        ...

    def fail(self) -> None:
        """Answer nothing that is of use."""
        ...

    def mend(self) -> None:
        """Answer again."""
        ...


@asynccontextmanager
async def _dns() -> AsyncIterator[World]:
    async with dns_server() as server:

        class Names:
            config: dict[str, Any] = {  # noqa: RUF012  # one for each test
                "dns": "vllm.test",
                "port": 8000,
                "refresh_s": 1,
                "nameservers": [server.nameserver],
            }

            def set(self, *addresses: str) -> None:
                server.addresses["vllm.test"] = {"A": list(addresses)}

            def fail(self) -> None:
                server.failing = True

            def mend(self) -> None:
                server.failing = False

        yield Names()


@asynccontextmanager
async def _kubernetes() -> AsyncIterator[World]:
    async with kubernetes_api() as api:

        class Pods:
            config: dict[str, Any] = {  # noqa: RUF012  # one for each test
                "kubernetes": {
                    "service": "vllm",
                    "namespace": NAMESPACE,
                    "api_server": api.url,
                }
            }

            def set(self, *addresses: str) -> None:
                pods = [a_pod(f"pod-{address[-1]}", address) for address in addresses]
                api.put(a_slice("vllm-1", *pods))

            def fail(self) -> None:
                api.is_down = True
                api.cut()

            def mend(self) -> None:
                api.is_down = False

        yield Pods()


WORLDS: Mapping[str, Callable[[], AbstractAsyncContextManager[World]]] = {
    "dns": _dns,
    "kubernetes": _kubernetes,
}


@asynccontextmanager
async def discovered(kind: str, *addresses: str) -> AsyncIterator[tuple[World, Heard]]:
    async with WORLDS[kind]() as world:
        world.set(*addresses)
        given = Discovery.model_validate(world.config)
        assert given.kind == kind
        around = seam.Surroundings({}, random.Random(1))
        async with listening(DISCOVERIES[kind](given, around)) as heard:
            yield world, heard


async def test_all_that_is_there_is_told_with_names_of_its_own(kind: str) -> None:
    async with discovered(kind, "10.0.0.1", "10.0.0.2") as (_, heard):
        await heard.until(lambda: heard.hosts == ["10.0.0.1", "10.0.0.2"])
        assert len(set(heard.names or ())) == 2
        assert {one.port for one in heard.sets[0]} == {8000}
        assert {one.standing for one in heard.sets[0]} == {seam.Standing.SERVING}


async def test_what_comes_and_goes_is_told_as_a_whole(kind: str) -> None:
    async with discovered(kind, "10.0.0.1") as (world, heard):
        await heard.until(lambda: heard.hosts == ["10.0.0.1"])
        world.set("10.0.0.2", "10.0.0.3")
        await heard.until(lambda: heard.hosts == ["10.0.0.2", "10.0.0.3"])
        world.set()
        await heard.until(lambda: heard.hosts == [])


async def test_nothing_there_is_an_answer(kind: str) -> None:
    async with discovered(kind) as (_, heard):
        await heard.until(lambda: heard.hosts == [])
        assert heard.failures == []


async def test_a_failure_changes_nothing_and_names_no_address(kind: str) -> None:
    async with discovered(kind, "10.0.0.1") as (world, heard):
        await heard.until(lambda: heard.hosts == ["10.0.0.1"])
        before = len(heard.sets)
        world.fail()
        await heard.until(lambda: bool(heard.failures))
        assert {tuple(one.host for one in told) for told in heard.sets[before:]} <= {("10.0.0.1",)}
        assert not any("127.0.0.1" in reason for reason in heard.failures)
        world.mend()
        world.set("10.0.0.4")
        await heard.until(lambda: heard.hosts == ["10.0.0.4"])


async def test_one_that_fails_at_first_is_asked_again(kind: str) -> None:
    async with WORLDS[kind]() as world:
        world.set("10.0.0.1")
        world.fail()
        given = Discovery.model_validate(world.config)
        around = seam.Surroundings({}, random.Random(1))
        async with listening(DISCOVERIES[kind](given, around)) as heard:
            await heard.until(lambda: bool(heard.failures))
            assert heard.sets == []
            world.mend()
            await heard.until(lambda: heard.hosts == ["10.0.0.1"])


async def test_it_ends_when_it_is_cancelled(kind: str) -> None:
    with anyio.fail_after(30):
        async with discovered(kind, "10.0.0.1") as (_, heard):
            await heard.until(lambda: bool(heard.sets))
