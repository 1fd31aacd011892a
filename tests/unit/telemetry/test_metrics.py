"""What whoever scrapes `GET /metrics` may rely on: dashboards and alerts read these names."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.cells import SharedCells
from gateway.telemetry.exemplars import Mark
from gateway.telemetry.metrics import ROUTE, Metrics
from gateway.telemetry.negotiation import Format
from tests.support.fake_clock import FakeClock
from tests.support.openmetrics import families

A_ROUTE = ("m", "m:fp8", "r0")
LABELS = dict(zip(ROUTE, A_ROUTE, strict=True))
MIRROR = ("model", "shadow")
SLOT_BYTES = 64 * 1024

# the metric as it is shown, its kind, its labels
NAMES = {
    "gateway_requests": ("counter", {*ROUTE, "outcome"}),
    "gateway_attempts": ("counter", {*ROUTE, "outcome"}),
    "gateway_choices": ("counter", {"model", "variant", "reason"}),
    "gateway_retries_refused": ("counter", {"model", "reason"}),
    "gateway_hedges": ("counter", {"model", "outcome"}),
    "gateway_resumes": ("counter", {*ROUTE, "outcome"}),
    "gateway_tokens": ("counter", {*ROUTE, "type"}),
    "gateway_config_reloads": ("counter", {"result"}),
    "gateway_replica_transitions": ("counter", {*ROUTE, "state", "reason"}),
    "gateway_limit_refusals": ("counter", {"scope", "limit"}),
    "gateway_limit_store_failures": ("counter", {"reason"}),
    "gateway_limit_settlements_dropped": ("counter", set()),
    "gateway_queue_refusals": ("counter", {"model", "variant", "priority", "reason"}),
    "gateway_queue_wait_seconds": ("histogram", {"model", "variant", "priority", "le"}),
    "gateway_wake_wait_seconds": ("histogram", {"model", "variant", "le"}),
    "gateway_discovery_failures": ("counter", {"model", "variant"}),
    "gateway_trace_spans": ("counter", {"result"}),
    "gateway_mirror_calls": ("counter", {*MIRROR, "outcome"}),
    "gateway_mirror_skipped": ("counter", {*MIRROR, "reason"}),
    "gateway_mirror_answers": ("counter", {*MIRROR, "sampling", "text", "finish"}),
    "gateway_mirror_agreement_ratio": ("histogram", {*MIRROR, "measure", "le"}),
    "gateway_mirror_length_ratio": ("histogram", {*MIRROR, "le"}),
    "gateway_mirror_time_to_first_token_seconds": ("histogram", {*MIRROR, "side", "le"}),
    "gateway_mirror_duration_seconds": ("histogram", {*MIRROR, "side", "le"}),
    "gen_ai_server_request_duration_seconds": ("histogram", {*ROUTE, "outcome", "le"}),
    "gen_ai_server_time_to_first_token_seconds": ("histogram", {*ROUTE, "le"}),
    "gateway_inter_token_latency_seconds": ("histogram", {*ROUTE, "le"}),
    "gateway_limit_store_seconds": ("histogram", {"le"}),
    "gateway_token_estimate_ratio": ("histogram", {"model", "part", "le"}),
    "gen_ai_server_time_per_output_token_seconds": ("histogram", {*ROUTE, "le"}),
    "gen_ai_client_token_usage": ("histogram", {"model", "variant", "type", "le"}),
    "gateway_caller_requests": ("counter", {"caller", "outcome"}),
    "gateway_caller_tokens": ("counter", {"caller", "type"}),
}
# OpenTelemetry's bounds for gen_ai_*; no convention covers the others
BOUNDS = {
    "gen_ai_server_request_duration_seconds": [0.01 * 2**power for power in range(14)],
    "gen_ai_server_time_to_first_token_seconds": [
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
        *(0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    ],
    "gen_ai_server_time_per_output_token_seconds": [
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5),
    ],
    "gen_ai_client_token_usage": [
        *(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144),
        *(1048576, 4194304, 16777216, 67108864),
    ],
    "gateway_inter_token_latency_seconds": [
        *(0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075),
        *(0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5),
    ],
    "gateway_limit_store_seconds": [
        *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.25, 1),
    ],
    "gateway_queue_wait_seconds": [
        *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120),
    ],
    "gateway_wake_wait_seconds": [
        *(1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600),
    ],
    "gateway_token_estimate_ratio": [
        *(0.25, 0.5, 0.75, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 1.5, 2, 4, 8),
    ],
}


def scraped(metrics: Metrics) -> dict[str, Metric]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {family.name: family for family in families}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample; None when it is not there."""
    for family in scraped(metrics).values():
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, labels):
                return sample.value
    return None


def used() -> Metrics:
    """Every metric with a cell."""
    metrics = Metrics()
    metrics.route(A_ROUTE)
    metrics.ended(A_ROUTE, "ok")
    metrics.attempts.cell(*A_ROUTE, "ok")
    metrics.choices.cell("m", "m:fp8", "spilled")
    metrics.retries_refused.cell("m", "budget")
    metrics.hedges.cell("m", "won")
    metrics.resumes.cell(*A_ROUTE, "chat_ids")
    metrics.queue_refusals.cell("m", "m:fp8", "batch", "full")
    metrics.queue_wait.cell("m", "m:fp8", "batch")
    metrics.wake_wait.cell("m", "m:fp8")
    metrics.reloads.cell("ok")
    metrics.transitions.cell(*A_ROUTE, "ready", "probe_passed")
    metrics.refusals.cell("key", "tokens_per_minute")
    metrics.store_failures.cell("timeout")
    metrics.settlements_dropped.cell()
    metrics.discovery_failures.cell("m", "m:fp8")
    metrics.spans.cell("sent")
    metrics.mirrors.calls.cell("m", "s", "compared")
    metrics.mirrors.skipped.cell("m", "s", "full")
    metrics.mirrors.answers.cell("m", "s", "greedy", "same", "same")
    metrics.mirrors.agreement.cell("m", "s", "cosine")
    metrics.mirrors.length.cell("m", "s")
    metrics.mirrors.ttft.cell("m", "s", "shadow")
    metrics.mirrors.duration.cell("m", "s", "shadow")
    metrics.store_round_trip.cell()
    metrics.estimates("m")
    metrics.called("team", "ok", 3, 2, 1)
    return metrics


def siblings(count: int) -> list[Metrics]:
    """Workers that share their cells."""
    memory = memoryview(bytearray(count * SLOT_BYTES))
    clock = FakeClock()
    return [
        Metrics(SharedCells(memory, slot, clock.now_s, slot_bytes=SLOT_BYTES))
        for slot in range(count)
    ]


def test_these_are_the_metrics_and_there_are_no_others() -> None:
    assert set(scraped(used())) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_has_its_kind_and_labels_and_says_what_it_is(name: str) -> None:
    kind, labels = NAMES[name]
    family = scraped(used())[name]
    assert (family.type, set().union(*(sample.labels for sample in family.samples))) == (
        kind,
        labels,
    )
    assert family.documentation.endswith(".")


@pytest.mark.parametrize("name", BOUNDS)
def test_the_buckets_are_those_that_dashboards_know(name: str) -> None:
    *bounds, last = (
        float(sample.labels["le"])
        for sample in scraped(used())[name].samples
        if sample.name == f"{name}_bucket"
        and sample.labels.get("part") in (None, "prompt")
        and sample.labels.get("type") in (None, "input")
    )
    assert bounds == pytest.approx(BOUNDS[name])
    assert last == float("inf")
    assert all(lower < upper for lower, upper in pairwise(bounds))


def test_nothing_is_shown_before_it_happened() -> None:
    assert [family.samples for family in scraped(Metrics()).values()] == [[]] * len(NAMES)


def test_the_text_is_of_the_kind_it_says() -> None:
    text = used().render().decode()
    assert text.startswith("# HELP gateway_requests_total Calls answered")
    assert text.endswith("\n")


def test_a_route_has_the_same_cells_whenever_it_is_asked_for() -> None:
    metrics = Metrics()
    assert metrics.route(A_ROUTE) is metrics.route(("m", "m:fp8", "r0"))
    assert metrics.route(A_ROUTE) is not metrics.route(("m", "m:fp8", "r1"))


def test_an_outcome_has_the_same_cells_whenever_it_is_asked_for() -> None:
    metrics = Metrics()
    assert metrics.ended(A_ROUTE, "ok") is metrics.ended(("m", "m:fp8", "r0"), "ok")
    assert metrics.ended(A_ROUTE, "ok") is not metrics.ended(A_ROUTE, "error")
    assert metrics.ended(A_ROUTE, "ok") is not metrics.ended(("", "", ""), "ok")


def test_the_tokens_of_a_route_are_told_apart() -> None:
    metrics = Metrics()
    cells = metrics.route(A_ROUTE)
    cells.input.add(10)
    cells.output.add(3)
    cells.cached.add(8)
    for kind, tokens in (("input", 10), ("output", 3), ("cached", 8)):
        assert value(metrics, "gateway_tokens_total", **LABELS, type=kind) == tokens


def test_the_times_of_a_route_are_told_apart() -> None:
    metrics = Metrics()
    cells = metrics.route(A_ROUTE)
    cells.ttft.observe(0.3)
    cells.inter_token.observe(0.02, times=4)
    first, between = (
        "gen_ai_server_time_to_first_token_seconds",
        "gateway_inter_token_latency_seconds",
    )
    assert value(metrics, f"{first}_count", **LABELS) == 1
    assert value(metrics, f"{first}_sum", **LABELS) == pytest.approx(0.3)
    assert value(metrics, f"{first}_bucket", **LABELS, le="0.25") == 0
    assert value(metrics, f"{first}_bucket", **LABELS, le="0.5") == 1
    assert value(metrics, f"{between}_count", **LABELS) == 4
    assert value(metrics, f"{between}_sum", **LABELS) == pytest.approx(0.08)


def test_a_call_that_ended_is_counted_and_timed_by_how_it_ended() -> None:
    metrics = Metrics()
    cells = metrics.ended(A_ROUTE, "ok")
    cells.requests.add()
    cells.duration.observe(2)
    duration = "gen_ai_server_request_duration_seconds"
    assert value(metrics, "gateway_requests_total", **LABELS, outcome="ok") == 1
    assert value(metrics, f"{duration}_sum", **LABELS, outcome="ok") == 2
    assert value(metrics, "gateway_requests_total", **LABELS, outcome="error") is None


def test_a_call_that_got_no_route_is_counted_too() -> None:
    metrics = Metrics()
    metrics.ended(("", "", ""), "unauthorized").requests.add()
    nowhere = dict.fromkeys(ROUTE, "")
    assert value(metrics, "gateway_requests_total", **nowhere, outcome="unauthorized") == 1


@pytest.mark.parametrize("model", ['a"b', "a\\b", "a\nb", "模型", "a,b={c}"])
def test_a_model_may_be_called_anything(model: str) -> None:
    metrics = Metrics()
    metrics.ended((model, model, "r0"), "ok").requests.add()
    labels = {"model": model, "variant": model, "replica": "r0", "outcome": "ok"}
    assert value(metrics, "gateway_requests_total", **labels) == 1


def test_what_other_parts_keep_is_read_at_every_scrape() -> None:
    metrics = Metrics()
    now = [1.0]

    def read() -> Iterator[tuple[tuple[str], float]]:
        yield ("m",), now[0]

    metrics.gauge("gateway_seen", "Seen.", ("model",), read)
    metrics.level("gateway_busy", "Busy.", ("model",), read)
    for current in (1.0, 7.0):
        now[0] = current
        assert value(metrics, "gateway_seen", model="m") == current
        assert value(metrics, "gateway_busy", model="m") == current


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.reloads.cell("ok").add()
    assert value(one, "gateway_config_reloads_total", result="ok") == 1
    assert value(other, "gateway_config_reloads_total", result="ok") is None


def test_any_worker_shows_what_all_have_counted() -> None:
    workers = siblings(3)
    for amount, worker in enumerate(workers, start=1):
        worker.ended(A_ROUTE, "ok").requests.add(amount)
        worker.route(A_ROUTE).ttft.observe(amount)
    ttft = "gen_ai_server_time_to_first_token_seconds"
    for worker in workers:
        assert value(worker, "gateway_requests_total", **LABELS, outcome="ok") == 6
        assert value(worker, f"{ttft}_sum", **LABELS) == 6
        assert value(worker, f"{ttft}_count", **LABELS) == 3


def test_the_first_callers_have_names_and_the_rest_are_others() -> None:
    metrics = Metrics(max_callers=2)
    for caller in ("a", "b", "c", "d", "a", ""):
        metrics.called(caller, "ok", 10, 3, 0)
    for caller, calls in (("a", 2), ("b", 1), ("other", 2), ("", 1)):
        assert value(metrics, "gateway_caller_requests_total", caller=caller, outcome="ok") == calls
        tokens = value(metrics, "gateway_caller_tokens_total", caller=caller, type="input")
        assert tokens == 10 * calls
    assert value(metrics, "gateway_caller_tokens_total", caller="a", type="cached") is None


def test_the_reference_parser_reads_openmetrics_and_finds_the_same() -> None:
    metrics = used()
    read = families(metrics.render(Format.OPENMETRICS))
    assert set(read) == set(NAMES)
    for name, family in scraped(metrics).items():
        assert read[name].type == family.type
        assert {(one.name, *sorted(one.labels.items())): one.value for one in family.samples} == {
            (one.name, *sorted(one.labels.items())): one.value for one in read[name].samples
        }
    assert read["gen_ai_server_time_to_first_token_seconds"].unit == "seconds"
    assert metrics.render(Format.OPENMETRICS).endswith(b"# EOF\n")


def test_any_worker_shows_the_newest_traced_call_of_each_bucket() -> None:
    one, other = siblings(2)
    one.route(A_ROUTE).ttft.observe(0.3)
    one.route(A_ROUTE).ttft.exemplify(0.3, Mark(0xA << 96, 0xB, 1000.0))
    other.route(A_ROUTE).ttft.observe(0.4)
    other.route(A_ROUTE).ttft.exemplify(0.4, Mark(0xC, 2**64 - 1, 1001.0))
    other.route(A_ROUTE).ttft.observe(99)
    other.route(A_ROUTE).ttft.exemplify(99, Mark(2**128 - 1, 1, 999.5))
    name = "gen_ai_server_time_to_first_token_seconds"
    for worker in (one, other):
        found = {
            sample.labels["le"]: sample.exemplar
            for sample in families(worker.render(Format.OPENMETRICS))[name].samples
            if sample.exemplar is not None
        }
        assert set(found) == {"0.5", "+Inf"}
        assert found["0.5"].labels == {"trace_id": f"{0xC:032x}", "span_id": "f" * 16}
        assert (found["0.5"].value, float(found["0.5"].timestamp or 0)) == (0.4, 1001.0)
        assert found["+Inf"].labels == {"trace_id": "f" * 32, "span_id": f"{1:016x}"}
        assert b"trace_id" not in worker.render()


def test_a_level_is_the_sum_of_what_the_workers_told_and_a_gauge_is_that_of_the_one_asked() -> None:
    one, other = siblings(2)
    for worker, own in ((one, 1.0), (other, 2.0)):
        readings = [(("m",), own)]
        worker.level("gateway_busy", "Busy.", ("model",), readings.copy)
        worker.gauge("gateway_seen", "Seen.", ("model",), readings.copy)
    other.tell_levels()
    assert value(one, "gateway_busy", model="m") == 3
    assert value(one, "gateway_seen", model="m") == 1
