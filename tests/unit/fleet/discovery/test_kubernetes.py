import random
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config.discovery import Discovery
from gateway.fleet.discovery.endpoint import Standing, Surroundings
from gateway.fleet.discovery.kubernetes import open_kubernetes
from tests.support.heard import Heard, listening
from tests.support.kubernetes_api import NAMESPACE, KubernetesApi, a_pod, a_slice, kubernetes_api

pytestmark = pytest.mark.timeout(60)
NOBODY: dict[str, str] = {}


@asynccontextmanager
async def watching(api: KubernetesApi, **more: Any) -> AsyncIterator[Heard]:
    given = {"service": "vllm", "namespace": NAMESPACE, "api_server": api.url} | more
    discovery = Discovery.model_validate({"kubernetes": given})
    async with listening(open_kubernetes(discovery, around(NOBODY))) as heard:
        yield heard


def around(environ: dict[str, str], account: Path = Path("/nowhere")) -> Surroundings:
    return Surroundings(environ, random.Random(1), account)


@asynccontextmanager
async def seen(**more: Any) -> AsyncIterator[tuple[KubernetesApi, Heard]]:
    """A service with one pod, watched."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(kubernetes_api())
        api.put(a_slice("vllm-1", a_pod("a", "10.0.0.1")))
        heard = await stack.enter_async_context(watching(api, **more))
        await heard.until(lambda: api.watches == 1)
        yield api, heard


async def test_what_is_there_is_listed_and_what_changes_is_told() -> None:
    async with seen() as (api, heard):
        assert heard.names == ["a"]
        api.put(a_slice("vllm-1", a_pod("a", "10.0.0.1"), a_pod("b", "10.0.0.2")))
        await heard.until(lambda: heard.names == ["a", "b"])
        api.put(a_slice("vllm-2", a_pod("c", "10.0.0.3")))
        await heard.until(lambda: heard.names == ["a", "b", "c"])
        api.delete("vllm-1")
        await heard.until(lambda: heard.names == ["c"])
        assert heard.failures == []
        assert api.asked_for("watch=true") == 1


async def test_other_services_do_not_matter() -> None:
    async with seen() as (api, heard):
        api.put(a_slice("tgi-1", a_pod("x", "10.0.0.9"), service="tgi"))
        api.put(a_slice("vllm-1", a_pod("b", "10.0.0.2")))
        await heard.until(lambda: heard.names == ["b"])


async def test_a_selector_may_take_several_services() -> None:
    async with kubernetes_api() as api:
        for name in ("one", "two"):
            labels = {"team": "search", "kubernetes.io/service-name": name}
            one = a_slice(name, a_pod(f"{name}-0", f"10.0.0.{len(name) + ord(name[0]) % 9}"))
            api.put(one | {"metadata": one["metadata"] | {"labels": labels}})
        async with watching(api, service=None, selector="team=search") as heard:
            await heard.until(lambda: heard.names == ["one-0", "two-0"])


async def test_a_pod_that_ends_is_told_at_once() -> None:
    async with seen() as (api, heard):
        api.put(a_slice("vllm-1", a_pod("a", "10.0.0.1", ready=False, terminating=True)))
        await heard.until(lambda: heard.sets[-1][0].standing is Standing.TERMINATING)


async def test_a_long_list_comes_in_pages() -> None:
    async with kubernetes_api() as api:
        for number in range(450):
            address = f"10.0.{number // 200}.{number % 200}"
            api.put(a_slice(f"vllm-{number:03}", a_pod(f"p{number:03}", address)))
        async with watching(api) as heard:
            await heard.until(lambda: bool(heard.sets))
            assert len(heard.sets) == 1
            assert len(heard.sets[0]) == 450
            assert api.asked_for("limit=") == 3


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_lines_may_be_cut_anywhere(size: int) -> None:
    async with seen() as (api, heard):
        api.piece_bytes = size
        api.put(a_slice("vllm-1", a_pod("ä", "10.0.0.2"), a_pod("c", "10.0.0.3")))
        await heard.until(lambda: heard.names == ["c", "ä"])


async def test_a_watch_that_breaks_off_goes_on_where_it_was() -> None:
    async with seen() as (api, heard):
        api.cut()
        api.put(a_slice("vllm-1", a_pod("b", "10.0.0.2")))
        await heard.until(lambda: heard.names == ["b"])
        assert api.asked_for("limit=") == 1
        assert heard.failures == []


async def test_a_bookmark_says_where_the_next_watch_begins() -> None:
    async with seen() as (api, heard):
        before = heard.confirmations
        api.bookmark()
        await heard.until(lambda: heard.confirmations > before)
        api.compact()
        version = api.version - 1
        api._oldest = version
        api.cut()
        await heard.until(lambda: api.asked_for(f"resourceVersion={version}&") == 1)
        assert api.asked_for("limit=") == 1


@pytest.mark.parametrize("by", ["status", "event"])
async def test_what_the_server_has_forgotten_is_listed_anew(by: str) -> None:
    async with seen() as (api, heard):
        api.expires_by = by
        api.put(a_slice("vllm-1", a_pod("b", "10.0.0.2")))
        api.put(a_slice("vllm-2", a_pod("c", "10.0.0.3")))
        api.delete("vllm-1")
        await heard.until(lambda: heard.names == ["c"])
        api.cut()
        api.delete("vllm-2")
        api.put(a_slice("vllm-3", a_pod("d", "10.0.0.4")))
        api.compact()
        await heard.until(lambda: heard.names == ["d"])
        assert api.asked_for("limit=") >= 2


async def test_a_server_that_is_away_changes_nothing_until_it_is_back() -> None:
    async with seen() as (api, heard):
        api.is_down = True
        api.cut()
        await heard.until(lambda: len(heard.failures) >= 2)
        assert heard.names == ["a"]
        assert set(heard.failures) == {"the API server cannot be reached"}
        api.put(a_slice("vllm-1", a_pod("b", "10.0.0.2")))
        api.is_down = False
        await heard.until(lambda: heard.names == ["b"])


@pytest.mark.parametrize(
    ("status", "word"), [(403, "RBAC"), (404, "EndpointSlices"), (500, "500"), (429, "patience")]
)
async def test_a_refusal_is_told_in_words_and_tried_again(status: int, word: str) -> None:
    async with kubernetes_api() as api:
        api.put(a_slice("vllm-1", a_pod("a", "10.0.0.1")))
        api.statuses = [status]
        async with watching(api) as heard:
            await heard.until(lambda: heard.names == ["a"])
    (reason,) = heard.failures
    assert word in reason
    assert "10.0.0.1" not in reason


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"type":"ERROR","object":{"code":500}}',
        b'{"type":"ADDED","object":{"metadata":7}}',
    ],
)
async def test_a_watch_that_talks_nonsense_begins_anew(line: bytes) -> None:
    async with seen() as (api, heard):
        api.break_watches(line)
        await heard.until(lambda: len(heard.failures) == 1)
        api.put(a_slice("vllm-1", a_pod("b", "10.0.0.2")))
        await heard.until(lambda: heard.names == ["b"])


async def test_events_of_newer_servers_are_passed_over() -> None:
    async with seen() as (api, heard):
        api.break_watches(b'{"type":"SOMETHING","object":{}}')
        api.put(a_slice("vllm-1", a_pod("b", "10.0.0.2")))
        await heard.until(lambda: heard.names == ["b"])
        assert heard.failures == []


async def test_a_port_that_is_not_there_is_told_and_changes_nothing() -> None:
    async with seen(port="http") as (api, heard):
        one = a_slice("vllm-1", a_pod("b", "10.0.0.2"))
        api.put(one | {"ports": [{"name": "grpc", "port": 9000}]})
        await heard.until(lambda: len(heard.failures) == 1)
        assert "port" in heard.failures[0]
        assert heard.names == ["a"]


async def test_in_a_pod_nothing_needs_to_be_said(tmp_path: Path) -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(trust)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "namespace").write_text(NAMESPACE)
    (tmp_path / "token").write_text("first\n")
    async with kubernetes_api(trust) as api:
        api.token = "first"
        api.put(a_slice("vllm-1", a_pod("a", "10.0.0.1")))
        port = api.url.rpartition(":")[2]
        environ = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": port}
        given = Discovery.model_validate({"kubernetes": {"service": "vllm"}})
        async with listening(open_kubernetes(given, around(environ, tmp_path))) as heard:
            await heard.until(lambda: heard.names == ["a"])
            # the token is replaced, and the old one is not accepted any more
            api.token = "second"
            api.cut()
            await heard.until(lambda: "the API server does not accept the token" in heard.failures)
            (tmp_path / "token").write_text("second")
            api.put(a_slice("vllm-1", a_pod("b", "10.0.0.2")))
            await heard.until(lambda: heard.names == ["b"])


async def test_a_server_that_nobody_vouches_for_is_not_asked(tmp_path: Path) -> None:
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(trust)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.crt"))
    async with kubernetes_api(trust) as api:
        async with watching(api, ca_file=tmp_path / "other.crt") as heard:
            await heard.until(lambda: bool(heard.failures))
        assert api.asked == []


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({}, "api_server"),
        ({"api_server": "http://127.0.0.1:1"}, "namespace"),
        ({"namespace": "x", "api_server": "http://127.0.0.1:1", "token_file": "none"}, "token"),
        ({"namespace": "x", "api_server": "http://127.0.0.1:1", "ca_file": "none"}, "CA file"),
    ],
)
async def test_what_is_missing_is_told(more: dict[str, str], word: str) -> None:
    given = Discovery.model_validate({"kubernetes": {"service": "vllm"} | more})
    async with listening(open_kubernetes(given, around(NOBODY))) as heard:
        await heard.until(lambda: bool(heard.failures))
    assert word in heard.failures[0]
