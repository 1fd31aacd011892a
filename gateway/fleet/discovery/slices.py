"""From the EndpointSlices of a service to its endpoints. Pure.

A service may have many slices: for many pods, for each family of addresses, for different ports;
and for a moment an endpoint may be in two of them, or in none. A pod counts once, by its IPv4
address where it has one.

`ready` says whether it is to get requests, also where the service publishes pods that are not
ready: then our own probes decide. One that is `terminating` gets none, whatever else is said. What
is absent means ready and not terminating; where `ready` is absent, `serving` stands for it.

Source: discovery.k8s.io/v1, EndpointConditions and EndpointSlice.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from gateway.fleet.discovery.endpoint import Endpoint, Standing, address_name

_FAMILIES: Final = ("IPv4", "IPv6", "FQDN")
_PORT_NAME: Final = "http"
# one pod in two slices: the end of it is never told too early
_OF_ONE_POD: Final = (Standing.TERMINATING, Standing.SERVING, Standing.NOT_READY)
# one address of two pods: the one that ends had it before
_OF_ONE_ADDRESS: Final = (Standing.SERVING, Standing.NOT_READY, Standing.TERMINATING)


class Conditions(msgspec.Struct):
    """None: not said."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None

    @property
    def standing(self) -> Standing:
        """What they come to."""
        if self.terminating:
            return Standing.TERMINATING
        ready = self.serving is not False if self.ready is None else self.ready
        return Standing.SERVING if ready else Standing.NOT_READY


class TargetRef(msgspec.Struct):
    """Whom an endpoint stands for."""

    name: str = ""
    uid: str = ""


class SliceEndpoint(msgspec.Struct):
    """One endpoint as it is written; its addresses mean the same place."""

    addresses: list[str] = []
    conditions: Conditions | None = None
    targetRef: TargetRef | None = None  # noqa: N815  # the API's own name


class SlicePort(msgspec.Struct):
    """A port of all endpoints of a slice."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class Metadata(msgspec.Struct):
    """Of an object, as far as we care."""

    name: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815  # the API's own name
    # of a list that has more
    continue_: str = msgspec.field(default="", name="continue")


class Slice(msgspec.Struct):
    """An EndpointSlice."""

    metadata: Metadata
    addressType: str = "IPv4"  # noqa: N815  # the API's own name
    endpoints: list[SliceEndpoint] | None = None
    ports: list[SlicePort] | None = None


class PortMissing(ValueError):
    """No slice has the port that is asked for, or which one is meant is not clear."""


def endpoints_of(slices: Iterable[Slice], port: int | str | None) -> list[Endpoint]:
    """Every pod once, by name. Raises PortMissing where there are pods and none has the port."""
    found = list(slices)
    pods: dict[str, tuple[str, Endpoint]] = {}
    has_any = has_port = False
    for family in _FAMILIES:
        for one in found:
            if one.addressType != family or not one.endpoints:
                continue
            has_any = True
            number = _port_of(one, port)
            if number is None:
                continue
            has_port = True
            for pod, endpoint in _endpoints(one, number):
                known = pods.get(pod)
                if known is None or (
                    known[0] == family and _precedes(endpoint, known[1], _OF_ONE_POD)
                ):
                    pods[pod] = family, endpoint
    if has_any and not has_port:
        raise PortMissing
    return _once_each(endpoint for _, endpoint in pods.values())


def _endpoints(one: Slice, port: int) -> Iterator[tuple[str, Endpoint]]:
    """Each with what tells its pod from others."""
    for written in one.endpoints or ():
        if not written.addresses:
            continue
        host = written.addresses[0]
        target = written.targetRef or TargetRef()
        standing = (written.conditions or Conditions()).standing
        pod = target.uid or target.name or host
        yield pod, Endpoint(target.name or address_name(host), host, port, standing)


def _port_of(one: Slice, port: int | str | None) -> int | None:
    """The number that is meant; None: this slice does not have it."""
    offered = [p for p in one.ports or () if p.port is not None and p.protocol in (None, "TCP")]
    if port is None:
        named = [p for p in offered if p.name == _PORT_NAME]
        chosen = offered if len(offered) == 1 else named
    elif isinstance(port, str):
        chosen = [p for p in offered if p.name == port]
    else:
        # a slice without ports stands for all of them
        return port if not one.ports or any(p.port == port for p in offered) else None
    return chosen[0].port if chosen else None


def _once_each(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """One for each address and for each name, in the order of the names."""
    by_address: dict[tuple[str, int], Endpoint] = {}
    for one in endpoints:
        known = by_address.get((one.host, one.port))
        if known is None or _precedes(one, known, _OF_ONE_ADDRESS):
            by_address[one.host, one.port] = one
    by_name: dict[str, Endpoint] = {}
    for one in by_address.values():
        known = by_name.get(one.name)
        if known is None or _precedes(one, known, _OF_ONE_ADDRESS):
            by_name[one.name] = one
    return [by_name[name] for name in sorted(by_name)]


def _precedes(one: Endpoint, other: Endpoint, order: tuple[Standing, ...]) -> bool:
    return order.index(one.standing) < order.index(other.standing)
