"""Write the Grafana dashboards of deploy/observability: `python -m tests.docs.dashboards`.

Each is rows of panels, a panel a title, a unit and PromQL with legends. Grafana's own JSON is
made of that here, so that all panels are alike and one can be read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "deploy/observability/grafana/dashboards"
_WIDTH, _HEIGHT = 24, 8
_SOURCE = {"type": "prometheus", "uid": "prometheus"}


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries`: PromQL and its legend. `unit` is Grafana's; `kind` too."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    text: str = ""
    kind: str = "timeseries"
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`variables`: a label, and the metric that it is read from."""

    name: str
    title: str
    variables: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[Panel]]]


def _quantiles(metric: str, where: str, by: str) -> list[tuple[str, str]]:
    labels = ", ".join(filter(None, ("le", by)))
    name = f"{{{{{by}}}}} " if by else ""
    return [
        (
            f"histogram_quantile({part}, sum by ({labels}) "
            f"(rate({metric}_bucket{where}[$__rate_interval])))",
            f"{name}p{round(part * 100)}",
        )
        for part in (0.5, 0.95, 0.99)
    ]


def _sum(metric: str, where: str, *by: str) -> tuple[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by) or "all"
    return f"sum by ({', '.join(by)}) (rate({metric}{where}[$__rate_interval]))", legend


_TTFT = "gen_ai_server_time_to_first_token_seconds"
_PACE = "gen_ai_server_time_per_output_token_seconds"
_USED = "gen_ai_client_token_usage"
_GAP = "gateway_inter_token_latency_seconds"
_OF = '{model=~"$model"}'
_BY = '{caller=~"$caller"}'
_TRACED = (_TTFT, _PACE, "gen_ai_server_request_duration_seconds")
_FAILED = '{outcome=~"engine_error|gateway_error"}'

FLEET = Dashboard(
    "fleet",
    "Sluicegate: fleet",
    [("model", "gateway_replica_usable")],
    [
        (
            "Traffic",
            [
                Panel("Requests", "reqps", [_sum("gateway_requests_total", _OF, "model")]),
                Panel("Tokens", "short", [_sum("gateway_tokens_total", _OF, "model", "type")]),
                Panel(
                    "Failures of engines and gateway",
                    "percentunit",
                    [("model:gateway_requests_failed:ratio_rate5m" + _OF, "{{model}}")],
                ),
            ],
        ),
        (
            "Replicas",
            [
                Panel(
                    "Usable",
                    "short",
                    [("gateway_replica_usable" + _OF, "{{variant}} {{replica}}")],
                    "1 while a replica may be picked.",
                    "state-timeline",
                ),
                Panel(
                    "Requests there",
                    "short",
                    [("gateway_replica_load" + _OF, "{{variant}} {{replica}}")],
                    "Our own, and those of others.",
                ),
                Panel(
                    "KV cache",
                    "percentunit",
                    [("gateway_replica_kv_cache_used_ratio" + _OF, "{{variant}} {{replica}}")],
                ),
                Panel(
                    "First token, p95 by replica",
                    "s",
                    [
                        (
                            f"histogram_quantile(0.95, sum by (le, variant, replica) "
                            f"(rate({_TTFT}_bucket{_OF}[$__rate_interval])))",
                            "{{variant}} {{replica}}",
                        )
                    ],
                ),
                Panel(
                    "Tries by how they ended",
                    "reqps",
                    [_sum("gateway_attempts_total", _OF, "replica", "outcome")],
                ),
                Panel(
                    "Changes of condition",
                    "short",
                    [
                        (
                            f"sum by (replica, state, reason) "
                            f"(increase(gateway_replica_transitions_total{_OF}[$__interval]))",
                            "{{replica}} {{state}} {{reason}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)

MODEL = Dashboard(
    "model",
    "Sluicegate: model",
    [("model", "gateway_replica_usable")],
    [
        (
            "What clients see",
            [
                Panel("First token", "s", _quantiles(_TTFT, _OF, "variant")),
                Panel("Between tokens", "s", _quantiles(_GAP, _OF, "variant")),
                Panel(
                    "Per token after the first",
                    "s",
                    _quantiles(_PACE, _OF, "variant"),
                    "Of whole streams: one value a stream.",
                ),
                Panel(
                    "Whole answer",
                    "s",
                    _quantiles("gen_ai_server_request_duration_seconds", _OF, "variant"),
                ),
                Panel(
                    "First token, all of it",
                    "s",
                    [
                        (
                            f"sum by (le) (increase({_TTFT}_bucket{_OF}[$__rate_interval]))",
                            "{{le}}",
                        )
                    ],
                    kind="heatmap",
                ),
                Panel(
                    "Calls by how they ended",
                    "reqps",
                    [_sum("gateway_requests_total", _OF, "outcome")],
                    stacked=True,
                ),
                Panel(
                    "Tokens by variant",
                    "short",
                    [_sum("gateway_tokens_total", _OF, "variant", "type")],
                ),
                Panel("Tokens of one call", "short", _quantiles(_USED, _OF, "type")),
            ],
        ),
        (
            "Objectives",
            [
                Panel(
                    "Availability: error budget burnt, times as fast as it may",
                    "short",
                    [
                        (f"model:gateway_requests_failed:ratio_rate1h{_OF} / 0.005", "1 hour"),
                        (f"model:gateway_requests_failed:ratio_rate6h{_OF} / 0.005", "6 hours"),
                        (f"model:gateway_requests_failed:ratio_rate3d{_OF} / 0.005", "3 days"),
                    ],
                ),
                Panel(
                    "First token: budget burnt, times as fast as it may",
                    "short",
                    [
                        (f"model:gateway_first_token_late:ratio_rate1h{_OF} / 0.05", "1 hour"),
                        (f"model:gateway_first_token_late:ratio_rate6h{_OF} / 0.05", "6 hours"),
                        (f"model:gateway_first_token_late:ratio_rate3d{_OF} / 0.05", "3 days"),
                    ],
                ),
            ],
        ),
        (
            "Waiting for a replica",
            [
                Panel("Calls that wait", "short", [("gateway_queue_waiting" + _OF, "{{variant}}")]),
                Panel(
                    "Calls for engines that are away",
                    "short",
                    [("gateway_wake_demand" + _OF, "{{variant}}")],
                    "At least 1 for a minute after the last.",
                ),
                Panel(
                    "Waited for engines that were away",
                    "s",
                    _quantiles("gateway_wake_wait_seconds", _OF, "variant"),
                    "Those that got a replica.",
                ),
                Panel(
                    "Waited",
                    "s",
                    _quantiles("gateway_queue_wait_seconds", _OF, "variant"),
                    "Those that got a replica.",
                ),
                Panel(
                    "Not let wait",
                    "reqps",
                    [_sum("gateway_queue_refusals_total", _OF, "priority", "reason")],
                ),
                Panel(
                    "Variants chosen, and why",
                    "reqps",
                    [_sum("gateway_choices_total", _OF, "variant", "reason")],
                ),
                Panel(
                    "Requests that a replica is to have",
                    "short",
                    [("gateway_replica_concurrency_target" + _OF, "{{variant}} {{replica}}")],
                ),
            ],
        ),
        (
            "What the gateway did about failures",
            [
                Panel(
                    "Second tries",
                    "reqps",
                    [_sum("gateway_hedges_total", _OF, "outcome")],
                ),
                Panel(
                    "Broken streams",
                    "reqps",
                    [_sum("gateway_resumes_total", _OF, "outcome")],
                ),
                Panel(
                    "Retries refused",
                    "reqps",
                    [_sum("gateway_retries_refused_total", _OF, "reason")],
                ),
            ],
        ),
        (
            "What a shadow answers instead",
            [
                Panel(
                    "Answers that are the same",
                    "percentunit",
                    [
                        (
                            "sum by (shadow, sampling) (rate(gateway_mirror_answers_total"
                            '{model=~"$model", text="same"}[$__rate_interval])) / '
                            "sum by (shadow, sampling) "
                            f"(rate(gateway_mirror_answers_total{_OF}[$__rate_interval]))",
                            "{{shadow}} {{sampling}}",
                        )
                    ],
                    "Of mirrored calls; only greedy ones can be expected to be.",
                ),
                Panel(
                    "Alike, median",
                    "percentunit",
                    [
                        (
                            "histogram_quantile(0.5, sum by (le, shadow, measure) "
                            f"(rate(gateway_mirror_agreement_ratio_bucket{_OF}[$__rate_interval])))",
                            "{{shadow}} {{measure}}",
                        )
                    ],
                    "The common beginning of two texts, or the cosine of embeddings.",
                ),
                Panel(
                    "Tokens, shadow against client, median",
                    "short",
                    [
                        (
                            "histogram_quantile(0.5, sum by (le, shadow) "
                            f"(rate(gateway_mirror_length_ratio_bucket{_OF}[$__rate_interval])))",
                            "{{shadow}}",
                        )
                    ],
                ),
                Panel(
                    "First token of both",
                    "s",
                    _quantiles("gateway_mirror_time_to_first_token_seconds", _OF, "side"),
                ),
                Panel(
                    "Whole answer of both",
                    "s",
                    _quantiles("gateway_mirror_duration_seconds", _OF, "side"),
                ),
                Panel(
                    "Mirrored, and not",
                    "reqps",
                    [
                        _sum("gateway_mirror_calls_total", _OF, "shadow", "outcome"),
                        _sum("gateway_mirror_skipped_total", _OF, "shadow", "reason"),
                    ],
                ),
            ],
        ),
    ],
)

CALLER = Dashboard(
    "caller",
    "Sluicegate: callers",
    [("caller", "gateway_caller_requests_total")],
    [
        (
            "Who calls",
            [
                Panel(
                    "Requests by caller",
                    "reqps",
                    [_sum("gateway_caller_requests_total", _BY, "caller")],
                    "After the first telemetry.max_callers, callers are told as `other`.",
                    stacked=True,
                ),
                Panel(
                    "Tokens read and written by caller",
                    "short",
                    [_sum("gateway_caller_tokens_total", _BY, "caller", "type")],
                ),
                Panel(
                    "What did not end well, by caller",
                    "reqps",
                    [
                        _sum(
                            "gateway_caller_requests_total",
                            '{caller=~"$caller", outcome!="ok"}',
                            "caller",
                            "outcome",
                        )
                    ],
                    "The caller is empty where there was no valid key.",
                ),
                Panel(
                    "Busiest callers of the last hour, in tokens",
                    "short",
                    [
                        (
                            "topk(10, sum by (caller) (increase("
                            'gateway_caller_tokens_total{caller=~"$caller", type!="cached"}[1h])))',
                            "{{caller}}",
                        )
                    ],
                    kind="bargauge",
                ),
            ],
        ),
        (
            "What callers run into",
            [
                Panel(
                    "Refused by limits",
                    "reqps",
                    [_sum("gateway_limit_refusals_total", "", "scope", "limit")],
                    "Whose limit, and which. Figures by key: gateway keys usage, /dashboard.",
                ),
                Panel(
                    "Client errors by model",
                    "reqps",
                    [_sum("gateway_requests_total", '{outcome="client_error"}', "model")],
                    "The model is empty for calls refused before they had one.",
                ),
                Panel(
                    "Clients that left",
                    "reqps",
                    [_sum("gateway_requests_total", '{outcome="client_gone"}', "model")],
                    "Often because the answer was late.",
                ),
                Panel(
                    "Failures that callers saw",
                    "reqps",
                    [_sum("gateway_requests_total", _FAILED, "model", "outcome")],
                ),
                Panel(
                    "Tokens estimated to tokens counted",
                    "short",
                    _quantiles("gateway_token_estimate_ratio", "", "part"),
                    "Above 1: more is held than used, and limits bite early until it is settled.",
                ),
                Panel(
                    "Cached share of input tokens",
                    "percentunit",
                    [
                        (
                            'sum by (model) (rate(gateway_tokens_total{type="cached"}'
                            "[$__rate_interval])) / sum by (model) "
                            '(rate(gateway_tokens_total{type="input"}[$__rate_interval]))',
                            "{{model}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)

GATEWAY = Dashboard(
    "gateway",
    "Sluicegate: gateway",
    [],
    [
        (
            "Process",
            [
                Panel(
                    "Requests in flight", "short", [("gateway_requests_in_flight", "{{replica}}")]
                ),
                Panel("Spans", "short", [_sum("gateway_trace_spans_total", "", "result")]),
                Panel(
                    "Workers, and those that would pick a replica",
                    "short",
                    [
                        ("gateway_workers", "{{instance}}"),
                        ("gateway_replica_usable_workers", "{{variant}} {{replica}}"),
                    ],
                ),
                Panel(
                    "Discovered endpoints",
                    "short",
                    [("gateway_discovery_endpoints", "{{instance}} {{variant}} {{standing}}")],
                ),
                Panel(
                    "Age of what was discovered",
                    "s",
                    [("gateway_discovery_age_seconds", "{{instance}} {{variant}}")],
                ),
                Panel(
                    "Failed look-ups",
                    "reqps",
                    [_sum("gateway_discovery_failures_total", "", "variant")],
                ),
                Panel(
                    "Configuration",
                    "short",
                    [
                        ("gateway_config_valid", "{{instance}} valid"),
                        (
                            "sum by (result) (increase(gateway_config_reloads_total"
                            "[$__rate_interval]))",
                            "{{result}}",
                        ),
                    ],
                ),
            ],
        ),
        (
            "Limits in Redis",
            [
                Panel("Round trip", "s", _quantiles("gateway_limit_store_seconds", "", "")),
                Panel(
                    "Unanswered",
                    "ops",
                    [_sum("gateway_limit_store_failures_total", "", "reason")],
                ),
                Panel(
                    "Settlements",
                    "short",
                    [
                        ("gateway_limit_settlements_pending", "{{instance}} pending"),
                        (
                            "increase(gateway_limit_settlements_dropped_total[$__rate_interval])",
                            "{{instance}} dropped",
                        ),
                        ("gateway_limit_store_away", "{{instance}} processes without Redis"),
                    ],
                ),
            ],
        ),
    ],
)

ALL = (FLEET, MODEL, CALLER, GATEWAY)


def as_json(dashboard: Dashboard) -> str:
    """What Grafana reads."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in dashboard.rows:
        place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
        panels.append({"type": "row", "title": title, "gridPos": place, "panels": []})
        top += 1
        across = 3 if len(row) % 3 == 0 else 2
        width = _WIDTH // across
        for number, panel in enumerate(row):
            x, y = (number % across) * width, top + (number // across) * _HEIGHT
            panels.append(_panel(panel, {"x": x, "y": y, "w": width, "h": _HEIGHT}))
        top += -(-len(row) // across) * _HEIGHT
    for number, one in enumerate(panels):
        one["id"] = number + 1
    whole = {
        "uid": f"sluicegate-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["sluicegate"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_variable(*one) for one in dashboard.variables]},
        "links": [
            {
                "type": "dashboards",
                "tags": ["sluicegate"],
                "title": "Sluicegate",
                "asDropdown": True,
            }
        ],
        "panels": panels,
    }
    return json.dumps(whole, indent=2) + "\n"


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    is_heat = panel.kind == "heatmap"
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
        if panel.stacked:
            custom["stacking"] = {"mode": "normal"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "custom": custom},
            "overrides": [],
        },
        "options": {"calculate": False, "yAxis": {"unit": panel.unit}} if is_heat else {},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "exemplar": panel.kind == "timeseries" and any(one in expr for one in _TRACED),
                **({"format": "heatmap"} if is_heat else {}),
            }
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }


def _variable(label: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {label})"
    return {
        "name": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": label},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def path_of(dashboard: Dashboard) -> Path:
    return FOLDER / f"{dashboard.name}.json"


if __name__ == "__main__":
    for one in ALL:
        path_of(one).write_text(as_json(one))
