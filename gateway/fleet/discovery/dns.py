"""Every address of a name is a replica.

The name is asked for again when its answer ages, at the latest after `refresh_s`. What fails
(no answer, SERVFAIL) changes nothing. That there is no address any more has to be said twice in a
row: a resolver that restarts, or a zone that is loaded anew, says it once. Where a name has
addresses of IPv4 and IPv6, those of IPv4 count: they are the same replicas.

`/etc/hosts` is not read.
"""

from collections.abc import Callable, Sequence
from typing import Final

import anyio
import dns.exception
import dns.rdatatype
from dns.asyncresolver import Resolver
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN, Answer, NoAnswer, NoNameservers, NoResolverConfiguration

from gateway.config import discovery as config
from gateway.fleet.discovery.endpoint import (
    Discovery,
    Endpoint,
    Surroundings,
    Told,
    address_name,
)

_PATIENCE_S: Final = 5.0
_SOONEST_S: Final = 1.0
_MOST_ADDRESSES: Final = 1000
_NOTHING_TIMES: Final = 2


def open_dns(given: config.Discovery, _: Surroundings) -> Discovery:
    """`given` has `dns` and `port`."""
    assert given.dns is not None  # noqa: S101  # the configuration has checked it
    assert given.port is not None  # noqa: S101  # the configuration has checked it
    return Dns(given.dns, given.port, given.refresh_s, lambda: _resolver(given.nameservers))


class Dns:
    """`new_resolver` is called anew after a failure: the machine's may be other ones now."""

    def __init__(
        self, name: str, port: int, refresh_s: float, new_resolver: Callable[[], Resolver]
    ) -> None:
        self._name = name
        self._port = port
        self._refresh_s = refresh_s
        self._new_resolver = new_resolver

    async def run(self, told: Told) -> None:
        resolver: Resolver | None = None
        is_known, nothing = False, 0
        while True:
            wait_s = self._refresh_s
            try:
                resolver = resolver or self._new_resolver()
                with anyio.fail_after(3 * _PATIENCE_S):
                    addresses, ttl_s = await self._look_up(resolver)
            except (dns.exception.DNSException, OSError, ValueError) as failure:
                told.failed(_reason(failure))
                resolver = None
            else:
                nothing = 0 if addresses else nothing + 1
                if addresses or not is_known or nothing >= _NOTHING_TIMES:
                    is_known = bool(addresses)
                    told.found([self._endpoint(host) for host in addresses])
                else:
                    told.confirmed()
                wait_s = max(_SOONEST_S, min(ttl_s, wait_s))
            await anyio.sleep(wait_s)

    def _endpoint(self, host: str) -> Endpoint:
        return Endpoint(address_name(host), host, self._port)

    async def _look_up(self, resolver: Resolver) -> tuple[Sequence[str], float]:
        """The addresses in order, and how long they are good for, in seconds."""
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            answer = await self._ask(resolver, kind)
            if answer is not None and answer.rrset:
                hosts = sorted({record.address for record in answer.rrset})
                return hosts[:_MOST_ADDRESSES], float(answer.chaining_result.minimum_ttl)
        return (), self._refresh_s

    async def _ask(self, resolver: Resolver, kind: dns.rdatatype.RdataType) -> Answer | None:
        """None: the name is not there, or has no address of this kind."""
        try:
            return await resolver.resolve(
                self._name, kind, lifetime=_PATIENCE_S, search=True, raise_on_no_answer=True
            )
        except (NXDOMAIN, NoAnswer):
            return None


def _resolver(nameservers: Sequence[str]) -> Resolver:
    """Raises DNSException where the machine names no resolver."""
    resolver = Resolver(configure=not nameservers)
    if nameservers:
        asked = [server.rpartition(":") for server in nameservers]
        resolver.nameservers = [
            Do53Nameserver(host.strip("[]"), int(port)) for host, _, port in asked
        ]
    return resolver


def _reason(failure: Exception) -> str:
    if isinstance(failure, dns.exception.Timeout):
        return "no resolver answered in time"
    if isinstance(failure, NoNameservers):
        return "every resolver refused or failed"
    if isinstance(failure, NoResolverConfiguration):
        return "this machine names no resolver"
    return "the answer could not be used"
