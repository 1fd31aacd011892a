"""The view of one moment. Pure: two readings in, everything that is shown out."""

from collections.abc import Sequence

from gateway import __version__
from gateway.live.moment import Moment, ReplicaNow
from gateway.live.traffic import TrafficBetween
from gateway.live.view import ModelView, ReplicaView, Traffic, VariantView, View


def view_of(before: Moment | None, now: Moment) -> View:
    """`before` is some seconds earlier; None: there is nothing to compare with."""
    window_s = between = None
    if before is not None:
        window_s = now.now_s - before.now_s
        between = TrafficBetween(before.counted, now.counted, window_s)

    def traffic(*names: str) -> Traffic | None:
        return None if between is None else between.of(*names)

    def replica_view(one: ReplicaNow) -> ReplicaView:
        return ReplicaView(
            replica=one.route[2],
            engine=one.engine,
            condition=one.condition,
            reason=one.reason,
            usable=one.usable,
            usable_by=round(now.usable_by.get(one.route, 0.0)),
            in_flight=round(now.in_flight.get(one.route, 0.0)),
            running=one.running,
            waiting=one.waiting,
            kv_cache_used_ratio=one.kv_cache_used_ratio,
            traffic=traffic(*one.route),
        )

    models = [
        ModelView(
            model=model,
            traffic=traffic(model),
            variants=[
                VariantView(
                    variant=variant,
                    traffic=traffic(model, variant),
                    replicas=[replica_view(one) for one in replicas],
                )
                for variant, replicas in variants.items()
            ],
        )
        for model, variants in _by_name(now.replicas).items()
    ]
    return View(
        time_unix_s=round(now.unix_s, 3),
        window_s=None if window_s is None else round(window_s, 3),
        version=__version__,
        workers=now.workers,
        draining=now.draining,
        config_problems=list(now.config_problems),
        in_flight=round(sum(now.in_flight.values())),
        total=traffic(),
        models=models,
        limits=now.limits,
        failures=list(now.failures),
    )


def _by_name(replicas: Sequence[ReplicaNow]) -> dict[str, dict[str, list[ReplicaNow]]]:
    """Model, then variant, in the order of the fleet."""
    models: dict[str, dict[str, list[ReplicaNow]]] = {}
    for one in replicas:
        model, variant, _ = one.route
        models.setdefault(model, {}).setdefault(variant, []).append(one)
    return models
