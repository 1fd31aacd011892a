"""Processes that share issued keys in one Redis, without the rest of a gateway."""

from dataclasses import dataclass, field

from gateway.auth.issued import Access
from gateway.auth.issued_store import IssuedStore
from gateway.auth.issuer import Issuer
from gateway.auth.keys import Caller, IssuedRing, KeyRing, Plan
from gateway.config.access import Rates
from gateway.redis_connect import connect, read_address
from tests.support.fake_clock import FakeClock
from tests.support.redis_servers import RedisServer

PLAN = Plan("default", ("*",))
RATES = Rates(requests_per_minute=60)


def an_access(*plans: str, file_keys: tuple[str, ...] = ()) -> Access:
    """What a configuration file says."""
    names = plans or ("default",)
    return Access(
        {name: Plan(name, ("*",)) for name in names},
        dict.fromkeys(names, RATES),
        {name: Caller(name, PLAN) for name in file_keys},
    )


@dataclass(slots=True)
class AProcess:
    """An issuer, and the ring that its process looks callers up in."""

    issuer: Issuer
    clock: FakeClock
    rings: list[IssuedRing] = field(default_factory=list)

    def caller(self, secret: str) -> Caller:
        """Raises as the gateway would."""
        return KeyRing({}, None, self.rings[-1]).caller(f"Bearer {secret}".encode())


def a_store(server: RedisServer, prefix: str = "sluicegate") -> IssuedStore:
    return IssuedStore(connect(read_address(server.url)), prefix)


def a_process(
    server: RedisServer, access: Access | None = None, clock: FakeClock | None = None
) -> AProcess:
    """One that has not asked Redis yet: enter its issuer."""
    rings: list[IssuedRing] = []
    clock = clock or FakeClock()
    issuer = Issuer(a_store(server), clock, access or an_access(), rings.append)
    return AProcess(issuer, clock, rings)
