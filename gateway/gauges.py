"""What is read from the parts of a gateway when its metrics are asked for."""

from collections.abc import Callable, Iterator

from gateway.api.readiness import Readiness
from gateway.clock import Clock
from gateway.fleet.catalog import UNLIMITED
from gateway.fleet.discoveries import Discoveries
from gateway.fleet.state import FleetState
from gateway.fleet.waking import demands
from gateway.limits.store import LimitStore, StoreState
from gateway.live.watch import IN_FLIGHT, USABLE_BY, WORKERS
from gateway.proxy.exchange import Exchange
from gateway.telemetry.cells import Labels
from gateway.telemetry.metrics import ROUTE, Metrics


def show_gauges(
    metrics: Metrics,
    fleet: FleetState,
    exchange: Exchange,
    discoveries: Discoveries,
    readiness: Readiness,
    store: LimitStore,
    clock: Clock,
) -> None:
    queues = exchange.queues

    def per_replica(
        read: Callable[..., float | None],
    ) -> Callable[[], Iterator[tuple[Labels, float]]]:
        def readings() -> Iterator[tuple[Labels, float]]:
            for state in fleet:
                value = read(state)
                if value is not None:
                    yield (state.variant.model, state.variant.name, state.name), value

        return readings

    metrics.level(WORKERS, "Worker processes that serve.", (), lambda: [((), 1.0)])
    metrics.level(
        USABLE_BY,
        "Workers for which a replica may be picked.",
        ROUTE,
        per_replica(lambda state: float(state.is_usable)),
    )
    metrics.level(
        IN_FLIGHT,
        "Our own requests on a replica now.",
        ROUTE,
        per_replica(lambda state: state.in_flight),
    )
    metrics.level(
        "gateway_replica_concurrency_target",
        "Our own requests that a replica is to have at most; absent where nothing bounds them.",
        ROUTE,
        per_replica(lambda state: state.most if state.most < UNLIMITED else None),
    )
    metrics.level(
        "gateway_queue_waiting",
        "Calls that wait in the gateway for a replica.",
        ("model", "variant"),
        lambda: [((variant.model, variant.name), size) for variant, size in queues.lengths()],
    )
    metrics.level(
        "gateway_wake_demand",
        "Calls that wait for a variant whose engines may be away; at least 1 for a minute after "
        "a call has found them away. Absent for variants without `wake`.",
        ("model", "variant"),
        lambda: demands(fleet, queues.waiting, exchange.wanted, clock.now_s()),
    )
    metrics.gauge(
        "gateway_replica_load",
        "Requests on a replica now, others' included.",
        ROUTE,
        per_replica(lambda state: state.load),
    )
    metrics.gauge(
        "gateway_replica_kv_cache_used_ratio",
        "How full the KV cache is, 0 to 1.",
        ROUTE,
        per_replica(lambda state: state.kv_cache_used_ratio),
    )
    metrics.gauge(
        "gateway_replica_usable",
        "1 while a replica may be picked, else 0.",
        ROUTE,
        per_replica(lambda state: float(state.is_usable)),
    )
    metrics.gauge(
        "gateway_replica_ejected",
        "1 while a replica is ejected or on trial, else 0.",
        ROUTE,
        per_replica(lambda state: float(state.health.ejection is not None)),
    )
    metrics.gauge(
        "gateway_discovery_endpoints",
        "What the discovery of a variant has found, by whether it is to get requests.",
        ("model", "variant", "standing"),
        lambda: [
            ((one.variant.model, one.variant.name, standing.value), count)
            for one in discoveries.standings()
            for standing, count in one.endpoints.items()
        ],
    )
    metrics.gauge(
        "gateway_discovery_age_seconds",
        "Since what a discovery has found was last known to be so; absent before its first answer.",
        ("model", "variant"),
        lambda: [
            ((one.variant.model, one.variant.name), one.age_s)
            for one in discoveries.standings()
            if one.age_s is not None
        ],
    )
    metrics.gauge(
        "gateway_config_valid",
        "1 while the configuration file is the one that serves, else 0.",
        (),
        lambda: [((), float(not readiness.config_problems))],
    )
    metrics.level(
        "gateway_limit_settlements_pending",
        "Settlements that Redis has not confirmed yet.",
        (),
        lambda: [((), store.pending)],
    )
    metrics.level(
        "gateway_limit_store_away",
        "Processes that cannot reach Redis and go by `on_store_failure`.",
        (),
        lambda: [((), float(store.state is not StoreState.OK))],
    )
