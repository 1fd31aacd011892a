import json
from dataclasses import replace

import pytest

from gateway.loadtest.arrivals import ClosedLoop, Load, OpenLoop, Replay
from gateway.loadtest.overhead import Overhead
from gateway.loadtest.slo import Slo
from gateway.loadtest.trace import TraceEntry
from tests.support.bench_reports import a_report, a_sweep, a_test
from tests.support.outcomes import an_outcome


def test_the_form_is_promised() -> None:
    """Whoever reads these fields, such as `gateway plan`, can rely on them."""
    told = a_report().as_dict()
    assert set(told) == {
        "version",
        "tool",
        "at",
        "url",
        "model",
        "operation",
        "prompts",
        "seed",
        "slo",
        "interrupted",
        "notes",
        "warnings",
        "tests",
        "sweep",
    }
    (test,) = told["tests"]
    assert set(test) == {
        "load",
        "verdict",
        "requests",
        "whole",
        "failed",
        "unfinished",
        "failures",
        "duration_s",
        "offered_per_s",
        "served_per_s",
        "goodput",
        "ttft_ms",
        "itl_ms",
        "tpot_ms",
        "e2e_ms",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "prompt_tokens_per_s",
        "completion_tokens_per_s",
        "tokens_counted_by",
        "max_in_flight",
        "slowdown_per_s",
        "client",
    }
    assert set(test["ttft_ms"]) == {"count", "mean", "min", "p50", "p90", "p95", "p99", "max"}
    assert set(test["client"]) == {"lag_ms", "stall_ms", "cpu_ratio", "warnings"}
    assert told["version"] == 1
    assert told["sweep"] is None
    json.dumps(told)


def test_figures_are_in_it() -> None:
    (test,) = a_report().as_dict()["tests"]
    assert (test["requests"], test["whole"], test["failed"]) == (41, 40, 1)
    assert test["failures"] == [
        {"label": "429 rate_limit_exceeded", "count": 1, "example": "too many requests"}
    ]
    assert test["goodput"]["ratio"] == pytest.approx(40 / 41, rel=1e-5)
    assert test["tokens_counted_by"] == "usage"
    assert test["load"] == {"kind": "open", "rate_per_s": 10.0, "arrival": "poisson"}


def test_loads_of_every_kind() -> None:
    loads: list[Load] = [
        OpenLoop(1.0, "bursty"),
        ClosedLoop(3, 0.5),
        Replay((TraceEntry(0, 1, 1),), 2.0),
    ]
    told = a_report(*(a_test(load) for load in loads)).as_dict()["tests"]
    assert [test["load"] for test in told] == [
        {"kind": "open", "rate_per_s": 1.0, "arrival": "bursty", "burstiness": 0.25},
        {"kind": "closed", "concurrency": 3, "think_s": 0.5},
        {"kind": "trace", "requests": 1, "speed": 2.0},
    ]


def test_what_is_not_there_is_null() -> None:
    empty = a_test(outcomes=[an_outcome(tokens=0, counted=False)], slo=Slo())
    (test,) = a_report(empty, slo=Slo()).as_dict()["tests"]
    for field in ("ttft_ms", "itl_ms", "tpot_ms", "offered_per_s", "slowdown_per_s", "goodput"):
        assert test[field] is None
    assert test["tokens_counted_by"] == "events"


def test_a_sweep_tells_what_it_found() -> None:
    assert a_sweep().as_dict()["sweep"] == {
        "sustained_per_s": 2.0,
        "first_not_per_s": 4.0,
        "knee_per_s": 2.0,
    }


def test_doubtful_figures_are_told() -> None:
    cached = a_test(outcomes=[an_outcome(cached_tokens=10), an_outcome(1, at_s=1.0)])
    slow = a_test()
    overhead = Overhead(None, None, 0.99, ("it used 99% of a core, and has only one",))
    slow = replace(slow, summary=replace(slow.summary, overhead=overhead))
    first, second = a_report(cached, slow).warnings
    assert first.endswith(
        "the client may have been the bottleneck: it used 99% of a core, and has only one"
    )
    assert "25% of the prompt tokens came from a cache" in second
    assert a_report().warnings == ()
