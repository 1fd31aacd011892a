"""Real Redis servers, started on free ports and gone afterwards: one, a Cluster, or with Sentinel.

Ports come from below the range that the kernel gives to outgoing connections, so that a server
which was killed finds its own free again.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from typing_extensions import override

from tests.support.ports import free_port

START_S = 15.0
_TRIES = 10


def wait_until(is_so: Callable[[], bool], within_s: float = START_S) -> None:
    """TimeoutError when it does not come."""
    end_s = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > end_s:
            raise TimeoutError
        time.sleep(0.01)


def has_tls() -> bool:
    """Whether redis-server is built with TLS: else it stops at the first of two bad lines."""
    told = subprocess.run(
        ["redis-server", "-"],
        input=b"tls-port 0\nno-such-line 1\n",
        capture_output=True,
        check=False,
    )
    return b"no-such-line" in told.stdout + told.stderr


class _PortTaken(Exception):
    """The server ended at once: somebody else was quicker."""


@dataclass(slots=True)
class RedisServer:
    """A server; `start` again after `kill` and it comes up empty, on the same port.

    `client_options`: what redis-py needs to be let in.
    """

    port: int
    folder: Path
    options: tuple[str, ...] = ()
    client_options: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket_path(self) -> Path:
        """Every server also listens here."""
        return self.folder / "redis.sock"

    def client(self) -> redis.Redis:
        """Through the socket: neither TLS nor a fault of the network stands in the way."""
        return redis.Redis(
            unix_socket_path=str(self.socket_path), decode_responses=True, **self.client_options
        )

    def start(self) -> None:
        plain, tls = (0, self.port) if "--tls-cert-file" in self.options else (self.port, 0)
        command = ["redis-server", "--port", str(plain), "--bind", "127.0.0.1"]
        command += ["--tls-port", str(tls)] if tls else []
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket_path), *self.options]
        self._run(command)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _run(self, command: Sequence[str]) -> None:
        """Raises _PortTaken."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.process = process
        with self.client() as client:

            def is_up() -> bool:
                if process.poll() is not None:
                    raise _PortTaken
                try:
                    client.ping()
                except (redis.BusyLoadingError, redis.ConnectionError):
                    return False
                return True

            wait_until(is_up)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)


class _SentinelServer(RedisServer):
    __slots__ = ()

    @override
    def start(self) -> None:
        file = self.folder / "sentinel.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}"]
        lines += [f"unixsocket {self.socket_path}", *self.options]
        file.write_text("\n".join(lines) + "\n")
        self._run(["redis-server", str(file), "--sentinel"])


@contextmanager
def a_redis(*options: str, is_started: bool = True, **client_options: Any) -> Iterator[RedisServer]:
    """One server. `options` as on its command line."""
    with _server(RedisServer, options, client_options, is_started=is_started) as server:
        yield server


@contextmanager
def _server(
    kind: type[RedisServer],
    options: tuple[str, ...],
    client_options: dict[str, Any],
    *,
    is_started: bool = True,
) -> Iterator[RedisServer]:
    with TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True) as folder:
        server = kind(free_port(), Path(folder), options, client_options)
        try:
            if is_started:
                _start_somewhere(server)
            yield server
        finally:
            server.kill()


def _start_somewhere(server: RedisServer) -> None:
    for _ in range(_TRIES):
        try:
            server.start()
        except _PortTaken:
            server.port = free_port()
            server.options = tuple(
                str(free_port()) if before == "--cluster-port" else option
                for before, option in zip(("", *server.options), server.options, strict=False)
            )
        else:
            return
    raise RuntimeError("redis-server does not start")


@dataclass(frozen=True, slots=True)
class RedisCluster:
    """Three masters that have all slots."""

    nodes: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def is_whole(self) -> bool:
        """Whether every node says that the cluster works."""
        return all(_asked(node, "CLUSTER", "INFO")["cluster_state"] == "ok" for node in self.nodes)

    def holder(self, key: str) -> RedisServer:
        """The node that has the slot of this key."""
        with self.nodes[0].client() as client:
            slot = int(client.execute_command("CLUSTER", "KEYSLOT", key))
            for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER", "SLOTS"):
                if int(first) <= slot <= int(last):
                    return next(node for node in self.nodes if node.port == int(port))
        raise LookupError(key)

    def move_slot(self, key: str, to: RedisServer) -> None:
        """Migrate the slot of this key, key by key, as a resharding does."""
        source = self.holder(key)
        with source.client() as old, to.client() as new:
            slot = old.execute_command("CLUSTER", "KEYSLOT", key)
            old_id, new_id = (one.execute_command("CLUSTER", "MYID") for one in (old, new))
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                place = ("127.0.0.1", to.port, "", 0, 5000)
                old.execute_command("MIGRATE", *place, "KEYS", *keys)
            for one in (new, old):
                one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)


_SLOTS = 16_384


@contextmanager
def a_cluster(timeout_ms: int = 1000) -> Iterator[RedisCluster]:
    """Three masters. `timeout_ms`: when the others take a silent node for dead."""
    with ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout_ms))
        nodes = tuple(
            stack.enter_context(a_redis(*options, "--cluster-port", str(free_port())))
            for _ in range(3)
        )
        for number, node in enumerate(nodes):
            first, last = number * _SLOTS // 3, (number + 1) * _SLOTS // 3 - 1
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                for other in nodes[:number]:
                    client.execute_command(
                        "CLUSTER", "MEET", "127.0.0.1", other.port, _bus_port(other)
                    )
        cluster = RedisCluster(nodes)
        wait_until(cluster.is_whole)
        yield cluster


def _bus_port(node: RedisServer) -> int:
    return int(node.options[node.options.index("--cluster-port") + 1])


def _asked(server: RedisServer, *command: str) -> dict[str, str]:
    """What an informing command says; nothing where the server is gone."""
    with server.client() as client:
        text = str(client.execute_command(*command))
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


@dataclass(frozen=True, slots=True)
class Sentinel:
    """A master, its replica, and one Sentinel, which alone decides who is master."""

    servers: tuple[RedisServer, RedisServer]
    sentinel: RedisServer

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/limits"

    @property
    def master(self) -> RedisServer:
        with self.sentinel.client() as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "limits")
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self) -> None:
        """Make the replica master while the master lives."""

        def is_begun() -> bool:
            with self.sentinel.client() as client:
                try:
                    client.execute_command("SENTINEL", "FAILOVER", "limits")
                except redis.ResponseError:  # it does not know the replica well enough yet
                    return False
            return True

        wait_until(is_begun)

    def has_replica(self) -> bool:
        """Whether the Sentinel knows a replica that it could make master."""
        with self.sentinel.client() as client:
            master = client.execute_command("SENTINEL", "MASTER", "limits")
        facts = master if isinstance(master, dict) else dict(zip(*[iter(master)] * 2, strict=True))
        return int(facts["num-slaves"]) > 0 and self._is_replicated()

    def _is_replicated(self) -> bool:
        with self.master.client() as client:
            said = client.info("replication")
        return bool(said.get("connected_slaves") == 1 and said["slave0"]["state"] == "online")


@contextmanager
def a_sentinel(down_after_ms: int = 500) -> Iterator[Sentinel]:
    """Quorum 1: nobody has to agree, so what happens depends on less."""
    quick = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        master = stack.enter_context(a_redis(*quick))
        replica = stack.enter_context(a_redis(*quick, "--replicaof", "127.0.0.1", str(master.port)))
        options = (
            f"sentinel monitor limits 127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds limits {down_after_ms}",
            "sentinel failover-timeout limits 2000",
        )
        sentinel = Sentinel(
            (master, replica), stack.enter_context(_server(_SentinelServer, options, {}))
        )
        with sentinel.sentinel.client() as client:
            client.execute_command("SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PUBLISH-PERIOD", 200)
        wait_until(sentinel.has_replica)
        yield sentinel
