from collections.abc import Sequence
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from gateway.redis_connect import connect, evaluate, read_address


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "master", "options"),
    [
        (
            "redis://:pw@h:1/2",
            "single",
            (),
            "",
            {"password": "pw", "host": "h", "port": 1, "db": 2},
        ),
        ("unix:///tmp/x.sock?db=1", "single", (), "", {"path": "/tmp/x.sock", "db": 1}),
        ("redis+sentinel://a,b:2/mm", "sentinel", (("a", 26379), ("b", 2)), "mm", {}),
        (
            "redis+sentinel://u:p@[::1]:9/m%6D/3",
            "sentinel",
            (("::1", 9),),
            "mm",
            {"username": "u", "password": "p", "db": 3},
        ),
        (
            "rediss+sentinel://a/mm?ssl_ca_certs=/x",
            "sentinel",
            (("a", 26379),),
            "mm",
            {"ssl": True, "ssl_ca_certs": "/x"},
        ),
        ("redis+cluster://a,b:7", "cluster", (("a", 6379), ("b", 7)), "", {}),
        (
            "rediss+cluster://u:p@a?ssl_cert_reqs=none",
            "cluster",
            (("a", 6379),),
            "",
            {"username": "u", "password": "p", "ssl": True, "ssl_cert_reqs": "none"},
        ),
    ],
)
def test_an_address_is_read(
    url: str, kind: str, nodes: Sequence[tuple[str, int]], master: str, options: dict[str, Any]
) -> None:
    address = read_address(url)
    assert (address.kind, address.nodes, address.master) == (kind, nodes, master)
    assert {name: address.options.get(name) for name in options} == options


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:6379", "must begin with one of redis://, rediss://"),
        ("http://:s3cret@h", "must begin with one of"),
        ("redis://h:port", "is no address that redis-py can read"),
        ("redis+sentinel://a", "must end with the master's name"),
        ("redis+sentinel://:s3cret@a/mm/x", "must end with the master's name"),
        ("redis+sentinel://:s3cret@a:x/mm", "has a port that is no number"),
        ("redis+sentinel://:s3cret@/mm", "must name a host"),
        ("redis+cluster://:s3cret@a/1", "a Redis Cluster has no databases"),
    ],
)
def test_what_is_wrong_with_an_address_is_told_without_it(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as told:
        read_address(url)
    assert "s3cret" not in str(told.value)


async def test_a_client_for_each_kind() -> None:
    single = connect(read_address("rediss://h"))
    assert isinstance(single, Redis)
    sentinel = connect(read_address("rediss+sentinel://h/mm?ssl_ca_certs=/x"))
    assert isinstance(sentinel, Redis)
    assert isinstance(sentinel.connection_pool, SentinelConnectionPool)
    (asked,) = sentinel.connection_pool.sentinel_manager.sentinels
    assert asked.connection_pool.connection_kwargs["ssl_ca_certs"] == "/x"
    cluster = connect(read_address("redis+cluster://h:7"))
    assert isinstance(cluster, RedisCluster)
    for client in (single, sentinel, cluster):
        await client.aclose()


async def test_a_script_that_the_server_does_not_know_is_sent() -> None:
    calls: list[tuple[Any, ...]] = []

    class Client:
        async def evalsha(self, *given: Any) -> bytes:
            calls.append(("evalsha", *given))
            raise exceptions.NoScriptError("NOSCRIPT")

        async def eval(self, *given: Any) -> bytes:
            calls.append(("eval", *given))
            return b"reply"

    client: Any = Client()
    assert await evaluate(client, "script", "sha", ["k"], [b"a"]) == b"reply"
    assert calls == [("evalsha", "sha", 1, "k", b"a"), ("eval", "script", 1, "k", b"a")]
