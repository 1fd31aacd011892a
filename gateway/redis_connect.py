"""From an address to a Redis that can be asked: a server, a Sentinel's master, or a Cluster.

`redis://` and `rediss://` (TLS) and `unix://` as redis-py reads them;
`redis+sentinel://[user:password@]host[:port][,host…]/MASTER[/db]`;
`redis+cluster://[user:password@]host[:port][,host…]`; both also as `rediss+…` for TLS.
`?…` holds redis-py's own options, such as `ssl_ca_certs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import Redis, Sentinel
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.connection import parse_url

SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
_SENTINEL_PORT = 26379
_PORT = 6379
# connecting is retried by whoever asks; a dead server must be noticed, not waited for
_CONNECT_S = 1.0
_IDLE_CHECK_S = 15

Client = Redis | RedisCluster


@dataclass(frozen=True, slots=True)
class Address:
    """An address, read. `options` are redis-py's; `master` is set for Sentinels."""

    kind: str
    nodes: tuple[tuple[str, int], ...]
    options: dict[str, Any]
    master: str = ""
    url: str = ""


def read_address(url: str) -> Address:
    """Raises ValueError, whose text never holds the address: it may hold a password."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{one}://' for one in SCHEMES)}")
    base, _, kind = scheme.partition("+")
    if not kind:
        return Address("single", (), _options(url), url=url)
    netloc, slash, path = rest.partition("/")
    path, question, query = path.partition("?") if slash else ("", *netloc.partition("?")[1:])
    netloc = netloc.partition("?")[0]
    login, at, hosts = netloc.rpartition("@")
    options = _options(f"{base}://{login}{at}host/{question}{query}")
    del options["host"]
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    default = _SENTINEL_PORT if kind == "sentinel" else _PORT
    nodes = tuple(_node(host, default) for host in hosts.split(","))
    if kind == "cluster":
        if path:
            raise ValueError("a Redis Cluster has no databases to choose from: end with the host")
        return Address(kind, nodes, options)
    master, _, db = path.partition("/")
    if not master or (db and not db.isdecimal()):
        raise ValueError("must end with the master's name: redis+sentinel://host:26379/mymaster")
    if db:
        options["db"] = int(db)
    return Address(kind, nodes, options, unquote(master))


def connect(address: Address) -> Client:
    """A client that has not connected yet; `disconnect` closes it."""
    common: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_S,
        "health_check_interval": _IDLE_CHECK_S,
        "retry": Retry(NoBackoff(), 0),
    }
    match address.kind:
        case "sentinel":
            options = common | address.options
            tls = {name: value for name, value in options.items() if name.startswith("ssl")}
            sentinel = Sentinel(  # type: ignore[no-untyped-call]  # as redis-py has it
                list(address.nodes),
                sentinel_kwargs=common | tls | {"socket_timeout": _CONNECT_S},
                **options,
            )
            return cast("Redis", sentinel.master_for(address.master))
        case "cluster":
            return RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in address.nodes],
                **common | address.options,
            )
        case _:
            return Redis.from_url(address.url, **common)


async def disconnect(client: Client) -> None:
    """Close all of its connections, those to Sentinels too, which redis-py leaves open."""
    await client.aclose()
    pool = None if isinstance(client, RedisCluster) else client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


async def evaluate(
    client: Client, script: str, sha: str, keys: Sequence[str], arguments: Sequence[bytes]
) -> bytes:
    """Run a script that the server may not know yet."""
    run = cast("Any", client)
    try:
        return cast("bytes", await run.evalsha(sha, len(keys), *keys, *arguments))
    except exceptions.NoScriptError:
        return cast("bytes", await run.eval(script, len(keys), *keys, *arguments))


def _node(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port
    except ValueError as exc:
        raise ValueError("has a port that is no number") from exc
    if not parts.hostname:
        raise ValueError("must name a host")
    return parts.hostname, port or default_port


def _options(url: str) -> dict[str, Any]:
    try:
        return dict(parse_url(url))  # type: ignore[no-untyped-call]  # as redis-py has it
    except (ValueError, TypeError) as exc:
        raise ValueError("is no address that redis-py can read") from exc
