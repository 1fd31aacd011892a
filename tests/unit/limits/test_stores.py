import random

import pytest

from gateway.clock import SystemClock
from gateway.config.access import Limits
from gateway.errors import ConfigInvalid
from gateway.limits.memory_store import MemoryStore
from gateway.limits.redis_store import RedisStore
from gateway.limits.store import LimitStore, StoreState
from gateway.limits.stores import open_store
from gateway.telemetry.metrics import Metrics


def opened(workers: int = 1, **limits: object) -> LimitStore:
    return open_store(
        Limits.model_validate(limits),
        {"URL": "redis://localhost:1"},
        Metrics(),
        SystemClock(),
        random.Random(0),
        workers=workers,
    )


def test_memory_is_shared_out_among_workers() -> None:
    store = opened(3)
    assert isinstance(store, MemoryStore)
    assert store.shares == 3


def test_redis_with_everything_that_is_configured() -> None:
    store = opened(
        3,
        store="redis",
        redis_url={"from_env": "URL"},
        on_store_failure="deny",
        slot_lease_s=9,
        store_timeout_s=0.2,
        key_prefix="mine",
    )
    assert isinstance(store, RedisStore)
    assert store._on_failure is StoreState.DENY
    assert store._local.shares == 3
    assert store._link.prefix == "mine:{limits}:"
    assert (store._timeout_s, store._renew_every_s) == (0.2, 3)


def test_the_processes_that_are_expected_are_passed_on() -> None:
    redis = {"store": "redis", "redis_url": {"from_env": "URL"}}
    store = opened(3, **redis, expected_processes=12)
    assert isinstance(store, RedisStore)
    assert store._expected_processes == 12


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ({"from_env": "NO_URL"}, "limits.redis_url: the environment variable NO_URL is not set"),
        ({"value": "http://x"}, "limits.redis_url: must begin with one of"),
    ],
)
def test_an_address_that_cannot_be_used(url: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigInvalid, match=problem):
        opened(store="redis", redis_url=url)
