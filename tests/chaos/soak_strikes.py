"""What befalls Redis and the workers during a soak."""

import os
import random
import signal
import time
from collections import Counter

import anyio
import redis

from tests.chaos.redis_faults import REDIS_FAULTS, Way
from tests.chaos.soak_load import Load
from tests.support.child import children_of
from tests.support.lossy_proxy import LossyProxy
from tests.support.redis_servers import RedisServer


class Strikes:
    """One fault at a time, healed before the next."""

    def __init__(
        self,
        parent: int,
        server: RedisServer,
        proxy: LossyProxy,
        client: redis.Redis,
        load: Load,
        rng: random.Random,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.is_over = False
        self._parent = parent
        self._way = Way(server, proxy, client)
        self._load = load
        self._rng = rng

    async def for_ever(self) -> None:
        while True:
            await anyio.sleep(self._rng.uniform(2, 6))
            if self.is_over:
                return
            if self._rng.random() < 0.15:
                self._kill_the_youngest()
            else:
                await self._strike_redis()

    async def _strike_redis(self) -> None:
        fault = self._rng.choice(REDIS_FAULTS)
        self.done["redis"] += 1
        try:
            fault.hurts(self._way)
            await anyio.sleep(self._rng.uniform(0.2, 2))
        finally:
            fault.heals(self._way)

    def _kill_the_youngest(self) -> None:
        """The oldest worker is left, to see what becomes of its memory."""
        workers = children_of(self._parent)
        if len(workers) > 1:
            self._load.killed_s = time.monotonic()
            os.kill(workers[-1], signal.SIGKILL)
            self.done["workers"] += 1
