"""A Redis that the contract tests of one worker share; each test has its own names in it."""

from collections.abc import Iterator

import pytest

from tests.support.redis_servers import RedisServer, a_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with a_redis() as server:
        yield server
