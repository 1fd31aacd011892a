"""Redis moves under load: another becomes master, a Cluster loses a node or moves a slot."""

from collections.abc import Callable, Iterator

import anyio
import anyio.to_thread
import pytest

from gateway.limits.store import StoreState
from tests.support.limit_load import PREFIX, a_load, a_store, assert_sums
from tests.support.redis_servers import (
    RedisCluster,
    RedisServer,
    Sentinel,
    a_cluster,
    a_sentinel,
    wait_until,
)
from tests.support.running import until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(60)]


@pytest.fixture
def sentinel() -> Iterator[Sentinel]:
    with a_sentinel() as one:
        yield one


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with a_cluster() as one:
        yield one


async def meanwhile(is_so: Callable[[], bool]) -> None:
    """Wait in a thread, so that the load goes on."""
    await anyio.to_thread.run_sync(wait_until, is_so, 20.0)


async def test_another_master_is_found_when_the_first_has_died(sentinel: Sentinel) -> None:
    first = sentinel.master
    async with a_store(sentinel.url) as opened, a_load(opened) as load:
        first.kill()
        await load.goes_on(20, "local")
        await meanwhile(lambda: sentinel.master is not first)
        await load.goes_on(50, "granted")
    with sentinel.master.client() as client:
        assert_sums(load, client)
    assert load.verdicts["down"] == 0


async def test_a_master_that_is_replaced_while_it_lives_is_left(sentinel: Sentinel) -> None:
    first = sentinel.master
    async with a_store(sentinel.url) as opened, a_load(opened) as load:
        await anyio.to_thread.run_sync(sentinel.fail_over)
        await meanwhile(lambda: sentinel.master is not first)
        await load.goes_on(100, "granted")
        await meanwhile(lambda: is_replica(first))
        await load.goes_on(50, "granted")
    with sentinel.master.client() as client:
        assert_sums(load, client)


def is_replica(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.info("replication")["role"] == "slave")


async def test_a_cluster_whose_node_of_the_limits_died_is_told_when_it_is_back(
    cluster: RedisCluster,
) -> None:
    holder = cluster.holder(PREFIX)
    async with a_store(cluster.url) as opened, a_load(opened) as load:
        holder.kill()
        await load.goes_on(50, "local")
        holder.start()
        await meanwhile(cluster.is_whole)
        await load.goes_on(50, "granted")
    with holder.client() as client:
        assert_sums(load, client)


async def test_another_node_of_a_cluster_may_die(cluster: RedisCluster) -> None:
    holder = cluster.holder(PREFIX)
    other = next(node for node in cluster.nodes if node is not holder)
    async with a_store(cluster.url) as opened, a_load(opened) as load:
        other.kill()
        await load.goes_on(50)
        other.start()
        await meanwhile(cluster.is_whole)
        await load.goes_on(50, "granted")
    with holder.client() as client:
        assert_sums(load, client)


async def test_the_slot_of_the_limits_may_move_under_load(cluster: RedisCluster) -> None:
    holder = cluster.holder(PREFIX)
    other = next(node for node in cluster.nodes if node is not holder)
    async with a_store(cluster.url) as opened, a_load(opened) as load:
        await anyio.to_thread.run_sync(cluster.move_slot, PREFIX, other)
        await load.goes_on(50, "granted")
        assert cluster.holder(PREFIX) is other
    with other.client() as client:
        assert_sums(load, client)


async def test_a_cluster_may_come_after_the_gateway(cluster: RedisCluster) -> None:
    for node in cluster.nodes:
        node.kill()
    async with a_store(cluster.url) as opened:
        assert opened.store.state is StoreState.LOCAL
        for node in cluster.nodes:
            node.start()
        await meanwhile(cluster.is_whole)
        await until(lambda: opened.store.state is StoreState.OK, within_s=20)
