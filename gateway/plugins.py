"""What other packages add: routing policies, which they register by an entry point.

Read once, where a gateway is built or a command begins.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final

from gateway.errors import ConfigInvalid
from gateway.routing import POLICIES
from gateway.routing.policy import RoutingPolicy

GROUP: Final = "sluicegate.policies"
_MEMBERS: Final = ("pick", "scores", "reads_prefix")


def installed_policies() -> Mapping[str, Callable[[], RoutingPolicy]]:
    """Ours, then those of packages installed beside us. Raises ConfigInvalid."""
    return with_ours(entry_points(group=GROUP))


def with_ours(others: Iterable[EntryPoint]) -> Mapping[str, Callable[[], RoutingPolicy]]:
    """Raises ConfigInvalid for each that is no policy, or whose name is taken."""
    found = dict(POLICIES)
    problems: list[str] = []
    for entry in sorted(others, key=lambda entry: (entry.name, entry.value)):
        if entry.name in found:
            problems.append(f"{_told(entry)}: there is a policy of this name already")
            continue
        try:
            found[entry.name] = _policy(entry)
        except Exception as wrong:  # noqa: BLE001  # whatever the package does when it is imported
            problems.append(f"{_told(entry)}: {type(wrong).__name__}: {wrong}")
    if problems:
        raise ConfigInvalid(tuple(problems))
    return MappingProxyType(found)


def _policy(entry: EntryPoint) -> Callable[[], RoutingPolicy]:
    """Raises TypeError if it makes no policy, and whatever importing or calling it raises."""
    new: Callable[[], RoutingPolicy] = entry.load()
    policy = new()
    missing = [name for name in _MEMBERS if not hasattr(policy, name)]
    if missing:
        raise TypeError(f"what it makes is no policy, it has no {', '.join(missing)}")
    return new


def _told(entry: EntryPoint) -> str:
    package = f" of the package {entry.dist.name}" if entry.dist is not None else ""
    return f"the policy {entry.name}{package} ({entry.value})"
