"""A caller's buckets in Redis, and what calls have cost it: both must be the same in the end."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import redis

from tests.support.limit_load import a_rate, a_slots, slots_in, units_in

SECRET = "sk-chaos-secret"  # of nothing
LOGIN = {"authorization": f"Bearer {SECRET}"}
_STORE_TIMEOUT_S = 0.5


@dataclass(slots=True)
class Purse:
    """One caller's. Time gives some of what was paid back."""

    redis: redis.Redis
    team: str = field(default_factory=lambda: f"team-{uuid4().hex[:12]}")
    began_s: float = field(default_factory=time.monotonic)
    tokens: int = 0
    requests: int = 0

    def pays(self, tokens: int) -> None:
        """A call has cost so many tokens; 0: it was free."""
        self.tokens += tokens
        self.requests += tokens > 0

    def assert_paid(self) -> None:
        """The buckets lack what was used, no unit more or less, and no slot is taken."""
        for rule, used in (("tokens_per_day", self.tokens), ("requests_per_day", self.requests)):
            bucket = a_rate(rule, owner=self.team)
            returned = (time.monotonic() - self.began_s) * 1e6 / bucket.interval_us
            found = units_in(self.redis, bucket)
            assert used - returned - 0.3 <= found <= used + 0.3, (rule, used, found)
        assert slots_in(self.redis, a_slots(self.team)) == 0

    def document(self, redis_url: str, **limits: Any) -> Mapping[str, Any]:
        """What a configuration says of this caller and where its buckets are."""
        tokens, requests = a_rate(), a_rate("requests_per_day")
        plan = {
            "name": "default",
            "tokens_per_day": tokens.limit,
            "requests_per_day": requests.limit,
            "concurrent_requests": a_slots().limit,
            "burst": {"tokens_per_day": tokens.burst, "requests_per_day": requests.burst},
        }
        kept = {"store": "redis", "redis_url": {"value": redis_url}}
        return {
            "plans": [plan],
            "keys": [{"name": self.team, "secret": {"value": SECRET}}],
            "limits": kept | {"store_timeout_s": _STORE_TIMEOUT_S} | limits,
        }
