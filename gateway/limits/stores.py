"""The limit stores by name, and the one that a configuration asks for."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from functools import partial

from gateway.clock import Clock
from gateway.config.access import Limits
from gateway.errors import ConfigInvalid
from gateway.limits.memory_store import MemoryStore
from gateway.limits.redis_link import SCRIPT, RedisLink
from gateway.limits.redis_reader import RedisReader
from gateway.limits.redis_store import RedisStore
from gateway.limits.store import LimitStore, StoreState
from gateway.redis_connect import connect, disconnect, evaluate, read_address
from gateway.telemetry.metrics import Metrics

# all limits lie in one slot of a Redis Cluster: those of one call are decided in one step
LIMITS_TAG = "{limits}"


def open_store(
    limits: Limits,
    environ: Mapping[str, str],
    metrics: Metrics,
    clock: Clock,
    rng: random.Random,
    *,
    workers: int,
) -> LimitStore:
    """Not connected yet. Raises ConfigInvalid. `workers`: processes of this command."""
    if limits.store == "memory" or limits.redis_url is None:
        return MemoryStore(clock, shares=workers)
    if problems := address_problems(limits, environ):
        raise ConfigInvalid(problems)
    client = connect(read_address(limits.redis_url.read(environ)))
    sha = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

    async def run(keys: Sequence[str], arguments: Sequence[bytes]) -> bytes:
        return await evaluate(client, SCRIPT, sha, keys, arguments)

    prefix = f"{limits.key_prefix}:{LIMITS_TAG}:"
    return RedisStore(
        RedisLink(run, clock, prefix=prefix, lease_s=limits.slot_lease_s),
        MemoryStore(clock, shares=workers),
        metrics,
        clock,
        rng,
        on_failure=StoreState(limits.on_store_failure),
        expected_processes=limits.expected_processes,
        timeout_s=limits.store_timeout_s,
        lease_s=limits.slot_lease_s,
        close=partial(disconnect, client),
        reader=RedisReader(client, prefix),
    )


def address_problems(limits: Limits, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with the address of a Redis that is asked for."""
    if limits.store != "redis" or limits.redis_url is None:
        return ()
    try:
        read_address(limits.redis_url.read(environ))
    except ValueError as exc:
        return (f"limits.redis_url: {exc}",)
    return ()
