"""Ways to look up the replicas of a variant, by the key that the configuration has for them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gateway.config import discovery as config
from gateway.fleet.discovery.dns import open_dns
from gateway.fleet.discovery.endpoint import Discovery, Surroundings
from gateway.fleet.discovery.kubernetes import open_kubernetes

Opener = Callable[[config.Discovery, Surroundings], Discovery]

DISCOVERIES: Final[Mapping[str, Opener]] = MappingProxyType(
    {"dns": open_dns, "kubernetes": open_kubernetes}
)
