"""The pool's own book-keeping, with a loop that connects when the test says so."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.errors import ConnectionLost, EngineOverloaded, EngineUnreachable
from gateway.proxy.upstream.connection import Connection, Response
from gateway.proxy.upstream.pool import PoolUpstream
from gateway.wire.http import Origin, UpstreamRequest
from tests.support.fake_transport import FakeTransport

ORIGIN = Origin("http", "engine", 8000)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Network:
    """Stands in for the loop's `create_connection`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[Connection, FakeTransport]] = []
        self.asked: list[tuple[str, int, object]] = []
        self.connecting = asyncio.Event()
        self.connecting.set()
        self.failure: BaseException | None = None
        self.fails_after_connecting = False
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", self._connect)

    async def _connect(
        self, make: Callable[[], Connection], host: str, port: int, *, ssl: object
    ) -> object:
        self.asked.append((host, port, ssl))
        await self.connecting.wait()
        if self.failure is not None and not self.fails_after_connecting:
            raise self.failure
        connection, transport = make(), FakeTransport()
        connection.connection_made(transport)
        self.made.append((connection, transport))
        if self.failure is not None:
            raise self.failure
        return transport, connection

    def answer(self, number: int = -1, answer: bytes = ANSWER) -> None:
        self.made[number][0].data_received(answer)

    def lose(self, number: int = -1) -> None:
        self.made[number][0].connection_lost(None)

    @property
    def written(self) -> list[bytes]:
        return [b"".join(transport.written) for _, transport in self.made]

    @property
    def aborted(self) -> list[bool]:
        return [transport.is_aborted for _, transport in self.made]


@pytest.fixture
async def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


class Sends:
    """Requests under way, each in a task of its own."""

    def __init__(self, pool: PoolUpstream, tasks: Any) -> None:
        self.responses: list[Response] = []
        self.failures: list[Exception] = []
        self._pool = pool
        self._tasks = tasks

    async def start(self, **given: Any) -> anyio.CancelScope:
        scope = anyio.CancelScope()

        async def send() -> None:
            with scope:
                try:
                    self.responses.append(await a_send(self._pool, **given))
                except Exception as exc:  # noqa: BLE001 - whatever it is, the test looks at it
                    self.failures.append(exc)

        self._tasks.start_soon(send)
        await settle()
        return scope


async def a_send(
    pool: PoolUpstream,
    origin: Origin = ORIGIN,
    path: str = "/",
    *,
    method: str = "GET",
    connect_s: float = 5.0,
) -> Response:
    return await pool.send(
        origin, UpstreamRequest(method, path), connect_s=connect_s, first_byte_s=5.0
    )


async def fetch(pool: PoolUpstream, network: Network) -> None:
    """One whole exchange, over whatever connection the pool takes."""
    async with anyio.create_task_group() as tasks:
        sends = Sends(pool, tasks)
        await sends.start()
        network.answer()
        await settle()
        sends.responses[0].close()


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (Origin("http", "engine", 80), b"engine"),
        (Origin("http", "engine", 443), b"engine:443"),
        (Origin("http", "::1", 8000), b"[::1]:8000"),
        (Origin("https", "engine", 443), b"engine"),
        (Origin("https", "engine", 80), b"engine:80"),
    ],
)
async def test_the_host_header_names_the_port_unless_it_is_the_scheme_s(
    network: Network, origin: Origin, host: bytes
) -> None:
    async with PoolUpstream() as pool, anyio.create_task_group() as tasks:
        scope = await Sends(pool, tasks).start(origin=origin)
        assert b"\r\nhost: %b\r\n" % host in network.written[0]
        scope.cancel()
    assert network.asked[0][:2] == (origin.host, origin.port)


async def test_what_many_paths_are_sent_to_is_not_remembered_without_bound(
    network: Network,
) -> None:
    async with PoolUpstream() as pool:
        for number in range(100):
            with anyio.move_on_after(0):
                await a_send(pool, path=f"/{number}")
        [place] = pool._places.values()
        assert len(place._prefixes) == 64


async def test_a_method_with_a_space_is_never_sent(network: Network) -> None:
    async with PoolUpstream() as pool:
        with pytest.raises(ValueError, match="spaces"):
            await a_send(pool, method="GET /other")


async def test_trust_is_read_once_for_each_authority(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []

    def create(*, cafile: str | None) -> ssl.SSLContext:
        read.append(cafile)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", create)
    async with PoolUpstream() as pool:
        for name in ("a", "b"):
            for ca_file in (None, "/ca.pem"):
                with anyio.move_on_after(0):
                    await a_send(pool, Origin("https", name, 443, "", ca_file))
    assert read == [None, "/ca.pem"]
    assert all(isinstance(context, ssl.SSLContext) for _, _, context in network.asked)


async def test_the_newest_idle_connection_is_used_first(network: Network) -> None:
    async with PoolUpstream() as pool, anyio.create_task_group() as tasks:
        sends = Sends(pool, tasks)
        for number in range(2):
            await sends.start()
            network.answer(number)
            await settle()
        for response in sends.responses:
            response.close()
        await sends.start(path="/again")
        assert b"/again" in network.written[1]
        network.answer(1)


async def test_an_expired_idle_connection_is_closed_by_itself(network: Network) -> None:
    async with PoolUpstream(keepalive_expiry_s=0.05) as pool:
        await fetch(pool, network)
        assert network.aborted == [False]
        with anyio.fail_after(2):
            while not all(network.aborted):  # noqa: ASYNC110 - nothing tells when
                await anyio.sleep(0.005)
        network.lose()


async def test_a_sweep_spares_the_connections_that_are_still_fresh(network: Network) -> None:
    async with PoolUpstream(keepalive_expiry_s=60) as pool:
        await fetch(pool, network)
        pool._drop_expired(asyncio.get_running_loop())
        assert network.aborted == [False]
        assert pool._sweep is not None


async def test_an_expired_connection_that_was_not_swept_yet_is_not_used(network: Network) -> None:
    async with PoolUpstream(keepalive_expiry_s=60) as pool:
        await fetch(pool, network)
        network.made[0][0].idle_since_s -= 61
        await fetch(pool, network)
    assert network.aborted == [True, True]


async def test_an_idle_connection_that_is_lost_is_forgotten(network: Network) -> None:
    async with PoolUpstream() as pool:
        await fetch(pool, network)
        network.lose()
        await fetch(pool, network)
    assert len(network.made) == 2


async def test_a_kept_connection_that_breaks_inside_a_head_is_not_replaced(
    network: Network,
) -> None:
    """It was sent again: only a whole head counted as an answer that had begun."""
    async with PoolUpstream() as pool, anyio.create_task_group() as tasks:
        await fetch(pool, network)
        sends = Sends(pool, tasks)
        await sends.start(path="/again")
        network.answer(answer=b"HTTP/1.1 200 OK\r\n")
        network.lose()
        await settle()
        [failure] = sends.failures
        assert isinstance(failure, ConnectionLost)
    assert len(network.made) == 1


async def test_a_pool_that_was_never_used_closes(network: Network) -> None:
    async with PoolUpstream():
        pass
    assert network.made == []


async def test_an_answer_closed_after_the_pool_is_not_kept(network: Network) -> None:
    async with PoolUpstream() as pool, anyio.create_task_group() as tasks:
        sends = Sends(pool, tasks)
        await sends.start()
        network.answer()
    sends.responses[0].close()
    assert network.aborted == [True]


# the bound


async def test_a_freed_connection_makes_room_for_whoever_waits(network: Network) -> None:
    async with (
        PoolUpstream(max_connections_per_origin=1) as pool,
        anyio.create_task_group() as tasks,
    ):
        sends = Sends(pool, tasks)
        await sends.start()
        await sends.start()
        network.answer(0)
        await settle()
        assert len(network.made) == 1
        sends.responses[0].close()
        assert network.aborted == [True]
        network.lose(0)
        await settle()
        network.answer(1)
        await settle()
        assert len(sends.responses) == 2


async def test_a_waiter_that_leaves_is_forgotten(network: Network) -> None:
    async with (
        PoolUpstream(max_connections_per_origin=1) as pool,
        anyio.create_task_group() as tasks,
    ):
        sends = Sends(pool, tasks)
        await sends.start()
        leaving = await sends.start()
        leaving.cancel()
        await settle()
        network.answer()
        await settle()
        sends.responses[0].close()
        assert network.aborted == [False]


async def test_room_that_came_as_its_waiter_left_goes_to_the_next(network: Network) -> None:
    async with (
        PoolUpstream(max_connections_per_origin=1) as pool,
        anyio.create_task_group() as tasks,
    ):
        sends = Sends(pool, tasks)
        first = await sends.start()
        leaving: list[asyncio.Task[Any]] = []

        async def leave() -> None:
            task = asyncio.current_task()
            assert task is not None
            leaving.append(task)
            with pytest.raises(asyncio.CancelledError):
                await a_send(pool)
            task.uncancel()

        tasks.start_soon(leave)
        await settle()
        await sends.start()
        network.lose(0)  # wakes who waits longest ...
        leaving[0].cancel()  # ... which leaves before it runs
        await settle()
        assert len(network.made) == 2
        network.answer(1)
        await settle()
        assert len(sends.responses) == 1
        first.cancel()


async def test_room_skips_a_waiter_that_is_cancelled_in_the_same_moment(network: Network) -> None:
    async with (
        PoolUpstream(max_connections_per_origin=1) as pool,
        anyio.create_task_group() as tasks,
    ):
        sends = Sends(pool, tasks)
        await sends.start()
        leaving: list[asyncio.Task[Any]] = []

        async def leave() -> None:
            task = asyncio.current_task()
            assert task is not None
            leaving.append(task)
            with pytest.raises(asyncio.CancelledError):
                await a_send(pool)
            task.uncancel()

        tasks.start_soon(leave)
        await settle()
        await sends.start()
        leaving[0].cancel()
        network.lose(0)
        await settle()
        assert len(network.made) == 2
        network.answer(1)


@pytest.mark.parametrize("fails_after_connecting", [False, True])
async def test_a_failed_connection_gives_its_place_back_once(
    network: Network, fails_after_connecting: bool
) -> None:
    """A connect cancelled after it was made gave its place back twice, and the bound rose."""
    network.failure = ConnectionRefusedError()
    network.fails_after_connecting = fails_after_connecting
    async with (
        PoolUpstream(max_connections_per_origin=1) as pool,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(3):
            with pytest.raises(EngineUnreachable):
                await a_send(pool)
        for connection, transport in network.made:
            assert transport.is_aborted
            connection.connection_lost(None)
        network.failure = None
        sends = Sends(pool, tasks)
        busy = await sends.start()
        with pytest.raises(EngineOverloaded):
            await a_send(pool, connect_s=0.01)
        busy.cancel()


async def test_slow_connecting_is_not_taken_for_overload(network: Network) -> None:
    network.connecting.clear()
    async with PoolUpstream(max_connections_per_origin=1) as pool:
        with pytest.raises(EngineUnreachable, match="in time"):
            await a_send(pool, connect_s=0.01)


async def test_a_certificate_that_is_not_accepted_is_named_as_such(network: Network) -> None:
    network.failure = ssl.SSLCertVerificationError("self-signed")
    async with PoolUpstream() as pool:
        with pytest.raises(EngineUnreachable, match="certificate"):
            await a_send(pool)


async def test_engines_that_nobody_uses_any_more_are_forgotten(network: Network) -> None:
    async with PoolUpstream(keepalive_expiry_s=0.05) as pool:
        await fetch(pool, network)
        network.lose()
        with anyio.fail_after(10):
            while pool._places:  # noqa: ASYNC110  # the sweep says nothing
                await anyio.sleep(0.01)


async def test_an_engine_that_never_answered_is_forgotten_too(network: Network) -> None:
    network.failure = OSError()
    async with PoolUpstream(keepalive_expiry_s=0.05) as pool:
        request = UpstreamRequest("GET", "/")
        with pytest.raises(EngineUnreachable):
            await pool.send(ORIGIN, request, connect_s=10, first_byte_s=10)
        with anyio.fail_after(10):
            while pool._places:  # noqa: ASYNC110  # the sweep says nothing
                await anyio.sleep(0.01)
