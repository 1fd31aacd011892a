"""Real nginx and HAProxy, with the files of deploy/, in front of two gateways."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineOptions
from tests.support.child import CHECKOUT
from tests.support.ports import free_port
from tests.support.running import Running, a_gateway, until
from tests.support.served import PATH, chat

pytestmark = pytest.mark.timeout(90)

SLOW = EngineOptions(models=("sim",), inter_token_s=0.1, inter_token_s_per_running=0.0)
NGINX = """\
daemon off; error_log stderr; pid {folder}/pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  include {folder}/sluicegate.conf;
}}
"""


def with_ports(text: str, listen: str, port: int, backends: list[int]) -> str:
    """A file of deploy/ with the ports of a test."""
    text = text.replace(listen, listen.replace("80", str(port)), 1)
    for written, given in zip(("127.0.0.1:8080", "127.0.0.1:8081"), backends, strict=True):
        assert written in text
        text = text.replace(written, f"127.0.0.1:{given}")
    return text


def nginx(folder: Path, port: int, backends: list[int]) -> list[str]:
    text = (CHECKOUT / "deploy/nginx/sluicegate.conf").read_text()
    (folder / "sluicegate.conf").write_text(with_ports(text, "listen 80;", port, backends))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    return ["nginx", "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, backends: list[int]) -> list[str]:
    text = (CHECKOUT / "deploy/haproxy/haproxy.cfg").read_text()
    (folder / "haproxy.cfg").write_text(with_ports(text, "bind :80 ", port, backends))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


BALANCERS = {"nginx": nginx, "haproxy": haproxy}


@contextmanager
def a_process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


class Balanced:
    """The balancer's url, and what is behind it."""

    def __init__(self, url: str, gateways: list[Running]) -> None:
        self.url = url
        self.gateways = gateways

    @property
    def calls(self) -> list[int]:
        return [len(gateway.log.requests) for gateway in self.gateways]


@asynccontextmanager
async def balanced(name: str, folder: Path) -> AsyncIterator[Balanced]:
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(a_gateway(SLOW)) for _ in range(2)]
        port = free_port()
        command = BALANCERS[name](folder, port, [gateway.port for gateway in gateways])
        log = folder / "balancer.log"
        stack.enter_context(a_process(command, log))
        it = Balanced(f"http://127.0.0.1:{port}", gateways)
        with anyio.fail_after(30):
            while not await _is_up(it.url):  # noqa: ASYNC110  # another process
                await anyio.sleep(0.05)
        yield it


async def _is_up(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{url}/ready")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(params=sorted(BALANCERS))
def name(request: pytest.FixtureRequest) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


async def test_events_of_a_stream_pass_as_they_come(name: str, tmp_path: Path) -> None:
    """The engine takes 100 ms for a token; held back, all twenty would arrive together."""
    arrivals: list[float] = []
    async with balanced(name, tmp_path) as it, httpx.AsyncClient(timeout=30) as client:
        body = chat(stream=True, max_tokens=20)
        async with client.stream("POST", it.url + PATH, json=body) as answer:
            whole = b""
            async for piece in answer.aiter_bytes():
                arrivals.append(anyio.current_time())
                whole += piece
    assert whole.endswith(b"data: [DONE]\n\n")
    assert len(arrivals) > 10
    assert arrivals[-1] - arrivals[0] > 0.5


async def test_a_client_that_leaves_ends_the_call(name: str, tmp_path: Path) -> None:
    async with balanced(name, tmp_path) as it:
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("POST", it.url + PATH, json=chat(stream=True, max_tokens=500)) as answer,
        ):
            await anext(answer.aiter_bytes())
        await until(lambda: sum(it.calls) == 1, within_s=10)
        (line,) = [line for gateway in it.gateways for line in gateway.log.requests]
    assert line["outcome"] == "client_gone"


async def test_a_gateway_that_has_gone_is_not_missed(name: str, tmp_path: Path) -> None:
    async with balanced(name, tmp_path) as it, httpx.AsyncClient(timeout=30) as client:
        it.gateways[0].server.should_exit = True
        await until(lambda: not it.gateways[0].server.started or _is_gone(it.gateways[0]), 10)
        for _ in range(6):
            answer = await client.post(it.url + PATH, json=chat(max_tokens=1))
            assert answer.status_code == 200
    assert it.calls == [0, 6]


def _is_gone(gateway: Running) -> bool:
    try:
        httpx.get(f"{gateway.url}/health", timeout=0.2)
    except httpx.TransportError:
        return True
    return False


async def test_figures_and_keys_stay_inside(name: str, tmp_path: Path) -> None:
    async with balanced(name, tmp_path) as it, httpx.AsyncClient() as client:
        closed = [
            (await client.get(it.url + path)).status_code for path in ("/metrics", "/admin/keys")
        ]
        opened = await client.get(f"{it.url}/v1/models", headers={"x-request-id": "mine"})
    assert closed == [403, 403]
    assert opened.status_code == 200
    assert re.fullmatch(r"\S+", opened.headers["x-request-id"])
