"""Moments and views of a fleet, with everything defaulted that a test does not show."""

from dataclasses import replace
from typing import Any

from gateway.live.compose import view_of
from gateway.live.moment import Moment, ReplicaNow
from gateway.live.view import KeysView, KeyView, LimitView, View
from gateway.telemetry.counted import Counted
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_line import RequestLine

ROUTE = ("m", "m:fp8", "r0")


def a_line(**more: Any) -> RequestLine:
    """A call that failed on an engine."""
    known: dict[str, Any] = {
        "time": 1_795_600_000.0,
        "level": "info",
        "event": "request",
        "request_id": "req_1",
        "operation": "chat",
        "stream": True,
        "attempts": 1,
        "outcome": "engine_error",
        "status": 502,
        "duration_ms": 12.5,
        "body_bytes": 10,
        "caller": "team",
        "model": "m",
        "variant": "m:fp8",
        "replica": "r0",
        "error_code": "engine_error",
        "error_source": "engine",
        "error_cause": "the engine failed",
    }
    return RequestLine(**(known | more))


def an_ok_line(**more: Any) -> RequestLine:
    """A call that was answered."""
    fine: dict[str, Any] = {
        "outcome": "ok",
        "status": 200,
        "error_code": None,
        "error_source": None,
        "error_cause": None,
        "prompt_tokens": 12,
        "completion_tokens": 60,
        "ttft_ms": 42.0,
        "finish_reason": "stop",
    }
    return a_line(**(fine | more))


def a_replica_now(**more: Any) -> ReplicaNow:
    known: dict[str, Any] = {
        "route": ROUTE,
        "engine": "vllm",
        "condition": "ready",
        "reason": "probe_passed",
        "usable": True,
        "running": 3.0,
        "waiting": 1.0,
        "kv_cache_used_ratio": 0.5,
    }
    return ReplicaNow(**(known | more))


def a_key(name: str = "team", left: int = 30) -> KeyView:
    limit = LimitView(rule="requests_per_minute", limit=60, burst=60, left=left)
    return KeyView(key=name, plan="default", limits=[limit])


def a_moment(counted: Counted | None = None, **more: Any) -> Moment:
    known: dict[str, Any] = {
        "now_s": 100.0,
        "unix_s": 1_795_600_000.0,
        "counted": counted or Metrics().counted(),
        "replicas": [a_replica_now()],
        "in_flight": {ROUTE: 4.0},
        "usable_by": {ROUTE: 1.0},
        "workers": 1,
        "draining": False,
        "config_problems": (),
        "limits": KeysView(store_state="ok", keys=[a_key()], omitted=0),
        "failures": [a_line()],
    }
    return Moment(**(known | more))


def busy() -> Counted:
    """Ten streams with content, one of them broken."""
    metrics = Metrics()
    metrics.ended(ROUTE, "ok").requests.add(9)
    metrics.ended(ROUTE, "engine_error").requests.add(1)
    cells = metrics.route(ROUTE)
    cells.ttft.observe(0.07, 10)
    cells.inter_token.observe(0.011, 100)
    cells.output.add(200)
    return metrics.counted()


def a_view(**more: Any) -> View:
    """Two seconds of ten streams."""
    now = a_moment(busy(), **more)
    return view_of(replace(now, now_s=now.now_s - 2, counted=Metrics().counted()), now)
