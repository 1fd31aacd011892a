"""Whether this process can serve, and why not."""

from dataclasses import dataclass, field

from gateway.fleet.catalog import Model
from gateway.fleet.discoveries import Discoveries
from gateway.fleet.state import FleetState
from gateway.fleet.waking import is_away
from gateway.limits.store import LimitStore


@dataclass(slots=True)
class Readiness:
    """Set by whoever starts, reloads and stops the gateway.

    `waiting_for`: what has to happen before there is anything to serve. `config_problems`: why
    the configuration file as it is now is not the one that serves.
    """

    is_started: bool = False
    is_draining: bool = False
    waiting_for: tuple[str, ...] = ()
    config_problems: tuple[str, ...] = field(default=())

    @property
    def reasons(self) -> list[str]:
        """Why new calls should go elsewhere; empty when they are welcome."""
        if self.is_draining:
            return ["draining: this gateway is shutting down"]
        if not self.is_started:
            return ["starting: the engines have not been asked yet"]
        return [f"starting: {what}" for what in self.waiting_for]

    def detail(
        self, fleet: FleetState, store: LimitStore, discoveries: Discoveries
    ) -> dict[str, object]:
        """What `GET /ready` tells.

        Engines that are away do not make the gateway unready, nor does a Redis that is, nor a
        discovery that fails.
        """
        return {
            "ready": not self.reasons,
            "reasons": self.reasons,
            "models": {model.name: _state(model, fleet) for model in fleet.catalog.models.values()},
            "discovery": [
                {
                    "variant": one.variant.name,
                    "by": one.kind,
                    "state": one.state,
                    "reason": one.failing,
                    "age_s": None if one.age_s is None else round(one.age_s, 1),
                    "endpoints": {name.value: count for name, count in one.endpoints.items()},
                }
                for one in discoveries.standings()
            ],
            "limits": {"store": store.kind, "state": store.state.value},
            "config_problems": list(self.config_problems),
        }


def _state(model: Model, fleet: FleetState) -> str:
    if any(fleet.has_usable(variant) for variant in model.variants):
        return "ready"
    if any(is_away(fleet, variant) for variant in model.variants):
        return "away, a call wakes it"
    return "no replica"
