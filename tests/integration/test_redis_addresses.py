"""Limits in Redis, whichever way there: they are taken and settled, and the sums are right."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from gateway.limits.store import Hold, Refusal, StoreState
from tests.support.limit_load import PREFIX, a_load, a_slots, a_store, assert_sums
from tests.support.redis_servers import RedisServer, a_cluster, a_redis, a_sentinel, has_tls

pytestmark = pytest.mark.redis

Place = tuple[str, RedisServer]


@contextmanager
def plain(_: Path) -> Iterator[Place]:
    with a_redis() as server:
        yield server.url, server


@contextmanager
def database(_: Path) -> Iterator[Place]:
    with a_redis(db=3) as server:
        yield f"{server.url}/3", server


@contextmanager
def unix(_: Path) -> Iterator[Place]:
    with a_redis() as server:
        yield f"unix://{server.socket_path}", server


@contextmanager
def password(_: Path) -> Iterator[Place]:
    secret = "p@ss:/word"
    with a_redis("--requirepass", secret, password=secret) as server:
        yield f"redis://:{quote(secret, safe='')}@127.0.0.1:{server.port}", server


@contextmanager
def acl_user(_: Path) -> Iterator[Place]:
    """A user who may do what the limits need on their own keys, and nothing else."""
    with a_redis() as server:
        with server.client() as client:
            allowed = "on >secret ~sluicegate:* -@all +@scripting +@read +@write +@connection +time"
            client.execute_command("ACL", "SETUSER", "gateway", *allowed.split())
        yield f"redis://gateway:secret@127.0.0.1:{server.port}", server


@contextmanager
def tls(folder: Path) -> Iterator[Place]:
    if not has_tls():
        pytest.skip("this redis-server is built without TLS")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server_cert = authority.issue_cert("127.0.0.1")
    server_cert.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    pem = str(folder / "server.pem")
    own = ("--tls-cert-file", pem, "--tls-key-file", pem)
    clients = ("--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no")
    with a_redis(*own, *clients) as server:
        yield f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={folder}/ca.pem", server


@contextmanager
def sentinel(_: Path) -> Iterator[Place]:
    with a_sentinel() as it:
        yield it.url, it.master


@contextmanager
def cluster(_: Path) -> Iterator[Place]:
    with a_cluster() as it:
        yield it.url, it.holder(PREFIX)


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "redis": plain,
    "redis-database": database,
    "unix": unix,
    "redis-password": password,
    "redis-acl": acl_user,
    "rediss": tls,
    "redis+sentinel": sentinel,
    "redis+cluster": cluster,
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with PLACES[request.param](tmp_path) as found:
        yield found


async def test_sums_are_exact_under_load(place: Place) -> None:
    url, server = place
    async with a_store(url, store_timeout_s=5) as one, a_store(url, store_timeout_s=5) as other:
        async with a_load(one, other) as load:
            await load.goes_on(200)
        with server.client() as client:
            assert_sums(load, client)
    assert load.verdicts["local"] == load.verdicts["down"] == 0


async def test_slots_are_given_out_once(place: Place) -> None:
    url, _ = place
    async with a_store(url, store_timeout_s=5) as one, a_store(url, store_timeout_s=5) as other:
        slots = a_slots(limit=2)
        claim = ((slots, 1.0),)
        first = await one.store.take(claim)
        second = await other.store.take(claim)
        third = await one.store.take(claim)
        assert isinstance(first, Hold)
        assert isinstance(second, Hold)
        assert isinstance(third, Refusal)
        assert list(await other.store.lacks((slots,))) == [2]
        other.store.settle(second, [1.0])
        await other.is_done()
        assert isinstance(await one.store.take(claim), Hold)
        assert one.store.state is other.store.state is StoreState.OK
