"""Everything that can become of the gateway's own process, its file and its machine."""

import os
import resource
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import msgspec

from gateway.limits.estimate import Estimator
from gateway.wire.ask import Operation, read_ask
from tests.support.child import children_of
from tests.support.running import until
from tests.support.served import Served, a_stream, chat, the_rest

DONE = b"data: [DONE]\n\n"
# of what `Served` asks, where no engine has counted them
_ASK = read_ask(msgspec.json.encode(chat()), Operation.CHAT)
PROMPT_TOKENS = Estimator().estimate(_ASK).prompt_tokens


@dataclass(frozen=True, slots=True)
class ProcessFault:
    """`happens` does it and asserts what is promised; `ends`: the process ends by it.

    `hides_log`: nobody can read what it says of its calls.
    """

    number: str
    name: str
    promise: str
    happens: Callable[[Served], Awaitable[None]]
    arguments: tuple[str, ...] = ()
    ends: bool = False
    hides_log: bool = False


async def assert_serves(it: Served) -> None:
    answer = await it.post()
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 6


async def _is_told_to_end(it: Served) -> None:
    async with a_stream(it, max_tokens=40) as pieces:
        it.child.signal(signal.SIGTERM)
        await it.child.says('"event":"draining"')
        refused = await it.post()
        rest = await the_rest(pieces)
    assert rest.endswith(DONE)
    assert refused.json()["error"]["code"] == "gateway_draining"
    assert refused.headers["retry-after"]


async def _is_told_twice(it: Served) -> None:
    async with a_stream(it, max_tokens=2000) as pieces:
        it.child.signal(signal.SIGTERM)
        await it.child.says('"event":"draining"')
        it.child.signal(signal.SIGTERM)
        rest = await the_rest(pieces)
    assert b'"code":"gateway_draining"' in rest
    assert DONE not in rest


async def _loses_a_worker(it: Served) -> None:
    await until(lambda: len(workers(it)) == 2, within_s=20)
    killed = workers(it)[0]
    os.kill(killed, signal.SIGKILL)
    await it.child.says('"event":"worker_ended"')
    await until(lambda: len(workers(it)) == 2 and killed not in workers(it), within_s=20)
    for _ in range(6):
        await assert_serves(it)


def workers(it: Served) -> list[int]:
    return children_of(it.child.process.pid)


def _file_becomes(change: Callable[[Path], object]) -> Callable[[Served], Awaitable[None]]:
    async def happens(it: Served) -> None:
        right = it.file.read_text()
        async with a_stream(it, max_tokens=40) as pieces:
            change(it.file)
            it.child.signal(signal.SIGHUP)
            await it.child.says('"event":"config_refused"')
            await assert_serves(it)
            rest = await the_rest(pieces)
        assert rest.endswith(DONE)
        assert await gauge(it, "gateway_config_valid") == 0
        if it.file.is_dir():
            it.file.rmdir()
        it.file.write_text(right)
        it.child.signal(signal.SIGHUP)
        with anyio.fail_after(20):
            while await gauge(it, "gateway_config_valid") != 1:  # noqa: ASYNC110
                await anyio.sleep(0.05)

    return happens


def _becomes_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


async def gauge(it: Served, name: str) -> float:
    async with httpx.AsyncClient(timeout=20) as http:
        lines = (await http.get(it.url + "/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name + " "))


async def _has_no_descriptors(it: Served) -> None:
    pid = it.child.process.pid
    await assert_serves(it)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(descriptors_of(pid))
    async with a_stream(it, max_tokens=60) as pieces:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 3, before[1]))
        held = [await anyio.connect_tcp("127.0.0.1", it.port) for _ in range(30)]
        await anyio.sleep(0.5)
        rest = await the_rest(pieces)
        for one in held:
            await one.aclose()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert rest.endswith(DONE)


def descriptors_of(pid: int) -> list[int]:
    return [int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()]


async def _stands_still(it: Served) -> None:
    async with a_stream(it, max_tokens=40) as pieces:
        it.child.signal(signal.SIGSTOP)
        await anyio.sleep(1.0)
        it.child.signal(signal.SIGCONT)
        rest = await the_rest(pieces)
    assert rest.endswith(DONE)


async def _has_no_reader_of_its_log(it: Served) -> None:
    assert it.child.process.stdout
    await it.child.process.stdout.aclose()
    for _ in range(5):
        await assert_serves(it)


_OLD_FILE = "the old configuration serves on, and `config_refused` is logged"

PROCESS_FAULTS: tuple[ProcessFault, ...] = (
    ProcessFault(
        "P1",
        "is told to end while a stream runs",
        "the stream ends as if nothing were; new calls get 503 `gateway_draining`; exit code 0",
        _is_told_to_end,
        ends=True,
    ),
    ProcessFault(
        "P1",
        "is told to end twice",
        "streams end with an error event `gateway_draining`; exit code 0",
        _is_told_twice,
        ends=True,
    ),
    ProcessFault(
        "P2",
        "loses a worker",
        "its callers get a reset, nobody else notices; it is replaced",
        _loses_a_worker,
        ("--workers", "2"),
    ),
    ProcessFault(
        "P3",
        "finds half a configuration file",
        _OLD_FILE,
        _file_becomes(lambda file: file.write_text(file.read_text()[:40])),
    ),
    ProcessFault(
        "P3",
        "finds an empty configuration file",
        _OLD_FILE,
        _file_becomes(lambda f: f.write_text("")),
    ),
    ProcessFault(
        "P3", "finds no configuration file", _OLD_FILE, _file_becomes(lambda file: file.unlink())
    ),
    ProcessFault(
        "P3", "finds a folder in place of its file", _OLD_FILE, _file_becomes(_becomes_a_folder)
    ),
    ProcessFault(
        "P3",
        "finds bytes that are no text",
        _OLD_FILE,
        _file_becomes(lambda file: file.write_bytes(b"\xff\xfe\x00models")),
    ),
    ProcessFault(
        "P4",
        "has no file descriptors left",
        "running streams end as they should; new connections wait until there is room",
        _has_no_descriptors,
    ),
    ProcessFault(
        "P5",
        "has nobody who reads its log",
        "calls are served on",
        _has_no_reader_of_its_log,
        hides_log=True,
    ),
    ProcessFault(
        "P7",
        "stands still for a second",
        "streams go on where they were; nothing is cut off",
        _stands_still,
    ),
)
