"""Everything that can become of Redis while calls run."""

from collections.abc import Callable
from dataclasses import dataclass

import redis

from tests.support.lossy_proxy import LossyProxy, Replies
from tests.support.ports import free_port
from tests.support.redis_servers import RedisServer


@dataclass(frozen=True, slots=True)
class Way:
    """A Redis, and the way to it. `client` has been let in before anything happens."""

    server: RedisServer
    proxy: LossyProxy
    client: redis.Redis

    def command(self, *words: str | int) -> None:
        self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def drop_clients(self) -> None:
        """Close the connections that there are: what is new meets the fault."""
        self.command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")


@dataclass(frozen=True, slots=True)
class RedisFault:
    """What is done, and how it is undone.

    Does it `stop`: limits cannot be asked meanwhile, and `on_store_failure` decides. Does it
    `blink`: one question is lost, so under `deny` calls of that moment may be refused. Else the
    gateway goes on as if nothing were.
    """

    number: str
    name: str
    hurts: Callable[[Way], None]
    heals: Callable[[Way], None] = lambda _: None
    stops: bool = True
    blinks: bool = False


def _set(name: str, value: str, undo: str) -> tuple[Callable[[Way], None], Callable[[Way], None]]:
    def hurt(way: Way) -> None:
        way.command("CONFIG", "SET", name, value)
        way.drop_clients()

    def heal(way: Way) -> None:
        way.command("CONFIG", "SET", name, undo)

    return hurt, heal


def _replies(what: Replies) -> tuple[Callable[[Way], None], Callable[[Way], None]]:
    return (
        lambda way: setattr(way.proxy, "replies", what),
        lambda way: setattr(way.proxy, "replies", Replies.PASS),
    )


def _delays(seconds: float) -> tuple[Callable[[Way], None], Callable[[Way], None]]:
    return (
        lambda way: setattr(way.proxy, "delay_s", seconds),
        lambda way: setattr(way.proxy, "delay_s", 0.0),
    )


REDIS_FAULTS: tuple[RedisFault, ...] = (
    RedisFault(
        "R2",
        "is killed, and comes back empty",
        lambda way: way.server.kill(),
        lambda way: way.server.start(),
    ),
    RedisFault("R2", "closes every connection", Way.drop_clients, stops=False, blinks=True),
    RedisFault(
        "R3", "stands still", lambda way: way.server.pause(), lambda way: way.server.go_on()
    ),
    RedisFault(
        "R3",
        "lets every write wait",
        lambda way: way.command("CLIENT", "PAUSE", 60_000, "WRITE"),
        lambda way: way.command("CLIENT", "UNPAUSE"),
    ),
    RedisFault("R3", "hears everything two seconds late", *_delays(2.0)),
    RedisFault("R3", "hears everything a little late", *_delays(0.02), stops=False),
    RedisFault(
        "R4",
        "has become a replica, which is read-only",
        lambda way: way.command("REPLICAOF", "127.0.0.1", free_port()),
        lambda way: way.command("REPLICAOF", "NO", "ONE"),
    ),
    RedisFault(
        "R4", "waits for replicas before it writes", *_set("min-replicas-to-write", "1", "0")
    ),
    RedisFault(
        "R6", "has forgotten the scripts", lambda way: way.command("SCRIPT", "FLUSH"), stops=False
    ),
    RedisFault("R6", "is full", *_set("maxmemory", "1", "0")),
    RedisFault("R6", "asks for a password", *_set("requirepass", "secret", "")),
    RedisFault("R6", "takes no more connections", *_set("maxclients", "1", "10000")),
    RedisFault("R8", "is cut off before each reply", *_replies(Replies.CUT)),
    RedisFault("R8", "never replies", *_replies(Replies.SWALLOW)),
)
