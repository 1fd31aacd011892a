import msgspec

from gateway import __version__
from gateway.live.compose import view_of
from gateway.live.view import View
from tests.support.live import ROUTE, a_moment, a_replica_now, a_view


def test_the_first_view_has_no_rates_and_says_so() -> None:
    view = view_of(None, a_moment())
    assert view.window_s is None
    assert view.total is None
    (model,) = view.models
    assert model.traffic is None
    assert model.variants[0].traffic is None
    assert model.variants[0].replicas[0].traffic is None
    assert (view.version, view.in_flight, view.workers) == (__version__, 4, 1)


def test_traffic_is_told_of_all_and_of_each_part() -> None:
    view = a_view()
    assert view.window_s == 2
    (model,) = view.models
    (variant,) = model.variants
    (replica,) = variant.replicas
    for traffic in (view.total, model.traffic, variant.traffic, replica.traffic):
        assert traffic is not None
        assert (traffic.requests_per_s, traffic.failures_per_s) == (5, 0.5)
        assert traffic.output_tokens_per_s == 100


def test_the_fleet_keeps_its_order_by_model_and_variant() -> None:
    routes = [("b", "b:fp8", "r0"), ("b", "b:fp8", "r1"), ("b", "b:awq", "r0"), ("a", "a", "r0")]
    view = view_of(None, a_moment(replicas=[a_replica_now(route=route) for route in routes]))
    assert [
        (model.model, variant.variant, replica.replica)
        for model in view.models
        for variant in model.variants
        for replica in variant.replicas
    ] == routes


def test_a_replica_tells_its_load_and_for_whom_it_serves() -> None:
    view = view_of(None, a_moment(workers=2, usable_by={ROUTE: 1.0}, in_flight={}))
    replica = view.models[0].variants[0].replicas[0]
    assert (replica.usable, replica.usable_by, replica.in_flight) == (True, 1, 0)
    assert (replica.running, replica.waiting, replica.kv_cache_used_ratio) == (3, 1, 0.5)
    assert (replica.condition, replica.reason, replica.engine) == ("ready", "probe_passed", "vllm")


def test_a_view_survives_json() -> None:
    view = a_view(config_problems=("models: required",), draining=True)
    assert msgspec.json.decode(msgspec.json.encode(view), type=View) == view
    assert view.config_problems == ["models: required"]
    assert view.draining
