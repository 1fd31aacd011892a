"""`gateway serve` and `gateway demo` as processes: start, serve, reload, end."""

import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import anyio
import httpx
import pytest

from gateway.simulator.serve import serve_engine
from tests.support import ports
from tests.support.child import CHECKOUT, a_child, logged
from tests.support.leaks import LEDGER
from tests.support.running import FAST, until
from tests.support.served import LONG, PATH, SLOW, a_file, a_stream, chat, served, the_rest

pytestmark = pytest.mark.timeout(90)


async def test_a_chat_is_served_and_logged(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        whole = await it.post()
        streamed = await it.post(stream=True)
        await until(lambda: len(it.lines) == 2, within_s=5)
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert whole.json()["choices"][0]["message"]["content"]
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert [line["outcome"] for line in it.lines] == ["ok", "ok"]


async def test_what_start_says_fits_on_one_line_that_can_be_tried(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        first = it.child.said.splitlines()
        (said,) = [line for line in first if line.startswith("sluicegate ")]
        found = re.search(r"\(try: curl (\S+)\)", said)
        assert found
        async with httpx.AsyncClient() as client:
            listed = await client.get(found[1])
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert ": 1 models at " in said
    assert listed.json()["data"][0]["id"] == "m"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_streams_finish(tmp_path: Path, number: signal.Signals) -> None:
    async with served(tmp_path, options=SLOW) as it:
        async with a_stream(it, max_tokens=80) as pieces:
            it.child.signal(number)
            await it.child.says('"event":"draining"')
            refused = await it.post()
            rest = await the_rest(pieces)
        assert await it.child.ended() == 0
    assert rest.endswith(b"data: [DONE]\n\n")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "gateway_draining"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", it.port), timeout=1)


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, options=SLOW) as it, a_stream(it, max_tokens=LONG) as pieces:
        it.child.signal(signal.SIGTERM)
        await it.child.says('"event":"draining"')
        it.child.signal(signal.SIGTERM)
        rest = await the_rest(pieces)
        assert await it.child.ended(within_s=5) == 0
    assert b"[DONE]" not in rest
    assert b'"code":"gateway_draining"' in rest


async def test_a_stream_that_outlives_the_grace_is_told(tmp_path: Path) -> None:
    server = {"drain_grace_s": 0.3}
    async with served(tmp_path, options=SLOW, server=server) as it:
        async with a_stream(it, max_tokens=LONG) as pieces:
            it.child.signal(signal.SIGTERM)
            rest = await the_rest(pieces)
        assert await it.child.ended() == 0
    assert b'"code":"gateway_draining"' in rest
    assert it.lines[-1]["outcome"] == "gateway_error"


async def test_an_idle_gateway_ends_promptly(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended(within_s=4) == 0


async def test_sighup_reloads(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        it.write(name="other")
        it.child.signal(signal.SIGHUP)
        await it.child.says('"event":"config_reloaded"')
        answer = await it.post(model="other")
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert answer.status_code == 200


async def test_sighup_with_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        it.file.write_text("models: []")
        it.child.signal(signal.SIGHUP)
        await it.child.says('"event":"config_refused"')
        answer = await it.post()
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert answer.status_code == 200
    assert "models: must not be empty" in logged(it.child.said, "config_refused")[0]


async def test_the_environment_says_where_to_listen_and_what_to_serve(tmp_path: Path) -> None:
    environ = {
        "GATEWAY_CONFIG": str(a_file(tmp_path)),
        "GATEWAY_HOST": "::1",
        "GATEWAY_PORT": "0",
        "GATEWAY_LOG_LEVEL": "error",
    }
    async with a_child("serve", environ=environ) as child:
        await child.says("/v1 ")
        port = int(child.said.partition(" models at http://[::1]:")[2].partition("/")[0])
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.get(f"http://[::1]:{port}/health")
        child.signal(signal.SIGTERM)
        assert await child.ended() == 0
    assert answer.status_code == 200
    assert "no_keys_configured" not in child.said


async def test_logs_are_text_where_that_is_asked_for(tmp_path: Path) -> None:
    async with served(tmp_path, environ={"GATEWAY_LOG_FORMAT": "text"}) as it:
        answer = await it.post()
        await until(lambda: b"\n" in it.child.out, within_s=20)
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    (line,) = it.child.out.decode().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} 200 ", line)
    assert line.endswith(answer.headers["x-request-id"])
    assert re.search(r"^[\d:.]{12} no_keys_configured$", it.child.said, re.MULTILINE)


async def test_a_terminal_gets_text_in_colours(tmp_path: Path, free_port: int) -> None:
    terminal, side = os.openpty()
    os.set_blocking(terminal, False)
    heard = bytearray()

    def has(text: bytes) -> bool:
        with suppress(OSError):  # nothing there yet
            heard.extend(os.read(terminal, 65_536))
        return text in heard

    async with serve_engine(FAST) as engine:
        words = ["serve", "-c", str(a_file(tmp_path, engine.url)), "--port", str(free_port)]
        command = [sys.executable, "-m", "gateway", *words]
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "NO_COLOR": ""}
        async with await anyio.open_process(
            command, stdout=side, stderr=side, env=environ
        ) as process:
            try:
                await until(lambda: has(b"Application startup complete"), within_s=20)
                async with httpx.AsyncClient(timeout=20) as client:
                    url = f"http://127.0.0.1:{free_port}{PATH}"
                    assert (await client.post(url, json=chat())).status_code == 200
                await until(lambda: has(b"\x1b[32m 200\x1b[0m"), within_s=20)
            finally:
                process.kill()
                os.close(side)
                os.close(terminal)
    assert b"\x1b[33m no_keys_configured\x1b[0m" in heard
    assert b'"event"' not in heard
    LEDGER.hear(heard)


async def test_every_problem_of_the_file_is_listed_and_the_input_is_to_blame(
    tmp_path: Path,
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("models: [{name: m, engine: vlm, url: ftp://x}]\nretry: {}\n")
    async with a_child("serve", "-c", str(file), "--port", "0") as child:
        assert await child.ended() == 2
    first, *problems = child.said.splitlines()
    assert first == f"{len(problems)} problems in the configuration:"
    assert len(problems) >= 3
    assert any(line.startswith("  retry: unknown key") for line in problems)
    assert child.out == b""


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_that_is_taken_is_a_failure_with_a_clear_word(
    tmp_path: Path, workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        command = ["serve", "-c", str(a_file(tmp_path)), "--host", "127.0.0.1", "--port", port]
        async with a_child(*command, "--workers", workers) as child:
            assert await child.ended() == 1
    *_, last = child.said.splitlines()
    assert last == f"cannot listen on 127.0.0.1 port {port}: Address already in use"


async def test_an_address_that_is_not_ours_is_a_failure_with_a_clear_word(tmp_path: Path) -> None:
    command = ["serve", "-c", str(a_file(tmp_path)), "--port", "0"]
    async with a_child(*command, "--host", "nowhere.invalid") as child:
        assert await child.ended() == 1
    *_, last = child.said.splitlines()
    assert last.startswith("cannot listen on nowhere.invalid port 0: ")


def _requests_of(said: str) -> Sequence[httpx.Request]:
    """The curl commands of a start-up text, as what they send."""
    joined = re.sub(r"\\\n\s*", "", said)
    commands = re.findall(r"^  curl ((?:[^'\n]|'[^']*')*)$", joined, re.MULTILINE)
    return [_request_of(shlex.split(command)) for command in commands]


def _request_of(words: Sequence[str]) -> httpx.Request:
    (url,) = (word for word in words if word.startswith("http://"))
    options = dict(pairwise(words))
    name, _, value = options.get("-H", "accept: */*").partition(": ")
    body = options.get("-d")
    return httpx.Request("POST" if body else "GET", url, headers={name: value}, content=body)


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


async def test_the_demo_answers_what_it_says_to_try(free_port: int) -> None:
    async with a_child("demo", "--port", str(free_port)) as child:
        await child.says("Ctrl-C stops it")
        async with httpx.AsyncClient(timeout=20) as client:
            models, streamed = [await client.send(one) for one in _requests_of(child.said)]
        child.signal(signal.SIGINT)
        assert await child.ended() == 0
    assert f"demo at http://localhost:{free_port}," in child.said
    assert [one["id"] for one in models.json()["data"]][:2] == [
        "llama-3.1-8b",
        "llama-3.1-8b:bf16",
    ]
    assert streamed.text.endswith("data: [DONE]\n\n")


async def test_other_servers_serve_the_application(tmp_path: Path, free_port: int) -> None:
    async with serve_engine(FAST) as engine:
        environ = {"GATEWAY_CONFIG": str(a_file(tmp_path, engine.url))}
        command = ["--factory", "gateway.app:from_environment", "--port", str(free_port)]
        async with a_child(*command, module="uvicorn", environ=environ) as child:
            await child.says("Uvicorn running on")
            async with httpx.AsyncClient(timeout=20) as client:
                answer = await client.post(
                    f"http://127.0.0.1:{free_port}{PATH}", json=chat(stream=True)
                )
            child.signal(signal.SIGTERM)
            code = await child.ended()
    assert answer.text.endswith("data: [DONE]\n\n")
    assert code in (0, -signal.SIGTERM)
