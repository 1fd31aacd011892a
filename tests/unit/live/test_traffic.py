from gateway.live.traffic import TrafficBetween
from gateway.telemetry.bounds import INTER_TOKEN_S, TTFT_S
from gateway.telemetry.counted import Counted
from gateway.telemetry.metrics import Metrics

ROUTE = ("m", "m:fp8", "r0")
SIBLING = ("m", "m:fp8", "r1")
OTHER = ("n", "n", "r0")


def counted_twice(metrics: Metrics) -> tuple[Counted, Counted]:
    """Before and after some calls."""
    for route in (ROUTE, OTHER):
        metrics.ended(route, "ok").requests.add()
        metrics.route(route).ttft.observe(9)
    before = metrics.counted()
    for route, outcome, times in (
        (ROUTE, "ok", 4),
        (ROUTE, "engine_error", 2),
        (SIBLING, "ok", 6),
        (SIBLING, "client_gone", 1),
        (("", "", ""), "client_error", 3),
        (("", "", ""), "gateway_error", 1),
    ):
        metrics.ended(route, outcome).requests.add(times)
    metrics.route(ROUTE).input.add(100)
    metrics.route(ROUTE).output.add(20)
    metrics.route(SIBLING).output.add(40)
    metrics.route(ROUTE).ttft.observe(0.07, 10)
    metrics.route(SIBLING).ttft.observe(0.3, 10)
    metrics.route(SIBLING).inter_token.observe(0.011, 5)
    return before, metrics.counted()


def test_rates_are_of_what_came_since() -> None:
    total = TrafficBetween(*counted_twice(Metrics()), 2.0).of()
    assert total.requests_per_s == 8.5
    assert (total.failures_per_s, total.refused_per_s, total.client_gone_per_s) == (1.5, 1.5, 0.5)
    assert (total.input_tokens_per_s, total.output_tokens_per_s) == (50, 30)


def test_each_part_of_the_fleet_has_its_own() -> None:
    between = TrafficBetween(*counted_twice(Metrics()), 2.0)
    assert between.of("m").requests_per_s == 6.5
    assert between.of("m", "m:fp8") == between.of("m")
    assert between.of(*ROUTE).requests_per_s == 3
    assert between.of(*SIBLING).output_tokens_per_s == 20
    assert between.of(*OTHER).requests_per_s == 0
    assert between.of("nobody").requests_per_s == 0


def test_quantiles_are_of_what_came_since_over_all_below() -> None:
    between = TrafficBetween(*counted_twice(Metrics()), 2.0)
    ttft = between.of("m").ttft
    assert ttft is not None
    assert ttft.count == 20
    assert ttft.p50_s == 0.08
    assert 0.25 < ttft.p95_s < ttft.p99_s <= 0.5
    gap = between.of(*SIBLING).inter_token
    assert gap is not None
    assert 0.01 < gap.p50_s < 0.015
    assert between.of(*ROUTE).inter_token is None
    assert between.of(*OTHER).ttft is None


def test_counters_that_began_anew_are_no_negative_rate() -> None:
    before, now = counted_twice(Metrics())
    backwards = TrafficBetween(now, before, 2.0).of()
    assert (backwards.requests_per_s, backwards.output_tokens_per_s) == (0, 0)
    assert backwards.ttft is None


def test_what_was_counted_is_a_copy() -> None:
    metrics = Metrics()
    metrics.route(ROUTE).ttft.observe(0.07)
    before = metrics.counted()
    metrics.route(ROUTE).ttft.observe(0.07)
    (buckets,) = before.ttft.values()
    assert len(buckets) == len(TTFT_S) + 2
    assert sum(buckets[:-1]) == 1
    metrics.route(ROUTE).inter_token.observe(0.07)
    (buckets,) = metrics.counted().inter_token.values()
    assert len(buckets) == len(INTER_TOKEN_S) + 2
