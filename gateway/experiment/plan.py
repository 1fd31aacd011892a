"""What the routing experiment runs: workloads, fleets, policies, and for how long. No I/O."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.experiment.cache_aware import CacheAware
from gateway.experiment.figures import Figures, figures_of
from gateway.experiment.front import Front
from gateway.experiment.rehearsal import Rehearsal
from gateway.experiment.workload import WORKLOADS, Workload
from gateway.routing import POLICIES
from gateway.routing.policy import RoutingPolicy
from gateway.simulator.options import EngineOptions

# an 8B model on a card with room for 120,000 tokens: what matters is that no replica's cache
# holds everything that is asked again
ENGINE = EngineOptions(max_model_len=65_536, kv_cache_tokens=120_000)

Contenders = Mapping[str, Callable[[], RoutingPolicy]]

# the gateway's policies, and what others do
CONTENDERS: Final[Contenders] = MappingProxyType({**POLICIES, "sglang-cache-aware": CacheAware})


@dataclass(frozen=True, slots=True)
class Plan:
    """`processes` of the gateway share the calls; those sent in the first `warmup_s` don't count.

    The same plan gives the same figures, on every machine.
    """

    workloads: tuple[Workload, ...] = tuple(WORKLOADS.values())
    policies: tuple[str, ...] = tuple(CONTENDERS)
    fleets: tuple[int, ...] = (4, 16, 64)
    processes: int = 1
    duration_s: float = 90.0
    warmup_s: float = 30.0
    seed: int = 1

    @property
    def runs(self) -> int:
        return len(self.workloads) * len(self.policies) * len(self.fleets)


def rehearsed(plan: Plan, contenders: Contenders = CONTENDERS) -> Iterator[Figures]:
    """Each run's figures as soon as it is over. `contenders` holds those that the plan names."""
    for replicas in plan.fleets:
        for workload in plan.workloads:
            sessions = workload.sessions(
                replicas=replicas, duration_s=plan.duration_s, seed=plan.seed
            )
            for policy in plan.policies:
                fronts: Sequence[Front] = [
                    Front(
                        contenders[policy](),
                        replicas,
                        random.Random(f"{plan.seed} {number}"),
                        plan.processes,
                    )
                    for number in range(plan.processes)
                ]
                rehearsal = Rehearsal(replicas, ENGINE, fronts, random.Random(plan.seed))
                calls = rehearsal.run(sessions, plan.duration_s)
                yield figures_of(
                    workload.name,
                    policy,
                    calls,
                    rehearsal.engines(),
                    warmup_s=plan.warmup_s,
                    until_s=plan.duration_s,
                )
