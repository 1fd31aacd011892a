"""The routing policies by the name that the configuration uses for them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.routing.least_loaded import LeastLoaded
from gateway.routing.policy import RoutingPolicy
from gateway.routing.power_of_two import PowerOfTwo
from gateway.routing.prefix_affinity import PrefixAffinity
from gateway.routing.round_robin import RoundRobin

POLICIES: Mapping[str, Callable[[], RoutingPolicy]] = MappingProxyType(
    {
        "least-loaded": LeastLoaded,
        "round-robin": RoundRobin,
        "power-of-two": PowerOfTwo,
        "prefix-affinity": PrefixAffinity,
    }
)
