"""Alerts, scaling signals and dashboards ask for series that the gateway has, and fire in time."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.telemetry.bounds import TTFT_S
from tests.chart.render import CHART, HELM, Manifest, of_kind, rendered, rendered_values
from tests.docs.generate import _full_name, all_metrics

PROMTOOL = shutil.which("promtool") or str(HELM.parents[1] / "prometheus/usr/bin/promtool")
HPA, KEDA = CHART / "ci/hpa-values.yaml", CHART / "ci/keda-values.yaml"
TO_ZERO = CHART / "ci/scale-to-zero-values.yaml"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
needs_promtool = pytest.mark.skipif(
    not Path(PROMTOOL).exists(), reason="promtool is not installed: Debian's package prometheus"
)


def rules(values: Path) -> Manifest:
    (one,) = of_kind(rendered(values), "PrometheusRule")
    spec: Manifest = one["spec"]
    return spec


def expressions() -> Iterator[str]:
    for group in rules(HPA)["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for one in [
        *of_kind(rendered(KEDA), "ScaledObject"),
        *of_kind(rendered(TO_ZERO), "ScaledObject"),
    ]:
        yield from (trigger["metadata"]["query"] for trigger in one["spec"]["triggers"])
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            yield from (target["expr"] for target in panel.get("targets", []))


def promtool(*arguments: str, folder: Path) -> str:
    ended = subprocess.run(
        [PROMTOOL, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_every_series_that_is_asked_for_is_one_of_the_gateways() -> None:
    known = {f"sluicegate_engine_{signal}" for signal in ("running", "queue_wait", "ttft_burn")}
    for metric in all_metrics():
        name = _full_name(metric)
        known |= {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    asked = {
        name
        for expression in expressions()
        for name in re.findall(
            r"\b(?:gateway|gen_ai|sluicegate)_[a-z_]+", re.sub(r'"[^"]*"', "", expression)
        )
    }
    assert len(asked) >= 15
    assert asked <= known


def test_bounds_of_first_tokens_are_buckets() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    offered = schema["$defs"]["Autoscaling"]["properties"]["ttft_slo_s"]["enum"]
    assert {one for one in offered if one is not None} <= set(TTFT_S)
    buckets = {str(float(bound)) for bound in TTFT_S} | {str(bound) for bound in TTFT_S}
    used = {le for text in expressions() for le in re.findall(r'le=\\?"([^"\\]+)\\?"', text)}
    assert used <= buckets
    assert used == {"0.5", "1.0"}


@needs_promtool
def test_promtool_reads_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules(HPA)))
    said = promtool("check", "rules", "rules.yaml", folder=tmp_path)
    assert "SUCCESS: 13 rules found" in said


@needs_promtool
def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    asked = [re.sub(r"\$__rate_interval", "5m", expression) for expression in expressions()]
    group = {
        "name": "all",
        "rules": [{"record": f"r{number}", "expr": expr} for number, expr in enumerate(asked)],
    }
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    said = promtool("check", "rules", "all.yaml", folder=tmp_path)
    assert f"SUCCESS: {len(asked)} rules found" in said


REPLICA = 'namespace="llm",model="m",variant="m:fp8",replica='
AWAY = 'namespace="llm",model="z",variant="z"'
SCALED = 'namespace="llm",model="llama-3.1-8b",variant="llama-3.1-8b",replica='
BURN = 'namespace="llm",variant="llama-3.1-8b"'
SERIES = [
    (f'gateway_replica_usable{{{REPLICA}"r0"}}', "1x5 0x60"),
    (f'gateway_replica_usable{{{REPLICA}"r1"}}', "1x40 0x25"),
    (f'gateway_replica_usable{{{AWAY},replica="r0"}}', "0x70"),
    (f"gateway_wake_demand{{{AWAY}}}", "0x20 3x50"),
    (f'gateway_replica_usable{{{SCALED}"r0"}}', "1x70"),
    (f'gateway_replica_usable{{{SCALED}"r1"}}', "0x70"),
    ('gateway_config_valid{namespace="llm",pod="a"}', "1x5 0x60"),
    ('gateway_config_valid{namespace="other",pod="b"}', "0x70"),
    ('gateway_requests_total{namespace="llm",model="m",outcome="ok"}', "0+90x70"),
    ('gateway_requests_total{namespace="llm",model="m",outcome="engine_error"}', "0+10x70"),
    ('gateway_replica_load{namespace="llm",variant="llama-3.1-8b",replica="r0",pod="a"}', "7x70"),
    ('gateway_replica_load{namespace="llm",variant="llama-3.1-8b",replica="r0",pod="b"}', "8x70"),
    ('gateway_replica_load{namespace="llm",variant="llama-3.1-8b",replica="r1",pod="a"}', "5x70"),
    (f'gen_ai_server_time_to_first_token_seconds_bucket{{{BURN},le="0.5"}}', "0+97x70"),
    (f"gen_ai_server_time_to_first_token_seconds_count{{{BURN}}}", "0+100x70"),
]


def alert(at: str, name: str, *labels: dict[str, str]) -> dict[str, Any]:
    return {
        "eval_time": at,
        "alertname": name,
        "exp_alerts": [{"exp_labels": one, "exp_annotations": {}} for one in labels],
    }


@needs_promtool
def test_alerts_fire_when_they_should_and_series_are_what_replicas_are_scaled_by(
    tmp_path: Path,
) -> None:
    written = rules(HPA)
    bare = [
        {**group, "rules": [{k: v for k, v in r.items() if k != "annotations"} for r in rules_]}
        for group in written["groups"]
        for rules_ in [group["rules"]]
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": bare}))
    of_m = {"model": "m", "variant": "m:fp8"}
    critical = {"severity": "critical"}
    engine = {"engine": "gw-sluicegate-llama-3-1-8b"}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in SERIES],
        "alert_rule_test": [
            alert("15m", "SluicegateReplicaOut"),
            alert("25m", "SluicegateReplicaOut", {**of_m, "replica": "r0", "severity": "warning"}),
            alert("40m", "SluicegateModelDown"),
            alert("45m", "SluicegateModelDown", {**of_m, "severity": "critical"}),
            # what is away because nobody calls is no failure; that calls wait for it so long is
            alert("20m", "SluicegateModelDown"),
            alert("29m", "SluicegateNotWoken"),
            alert("32m", "SluicegateNotWoken", {"model": "z", "variant": "z", **critical}),
            alert("4m", "SluicegateConfigRefused"),
            alert("10m", "SluicegateConfigRefused", {"pod": "a", "severity": "warning"}),
            alert("15m", "SluicegateErrors", {"model": "m", "severity": "critical"}),
            alert("30m", "SluicegateFirstTokenLate", {**engine, "severity": "warning"}),
        ],
        "promql_expr_test": [
            {
                "expr": f'sluicegate_engine_running{{engine="{engine["engine"]}"}}',
                "eval_time": "20m",
                "exp_samples": [
                    {
                        "labels": f'sluicegate_engine_running{{engine="{engine["engine"]}"}}',
                        "value": 13,
                    }
                ],
            },
            {
                "expr": f'round(sluicegate_engine_ttft_burn{{engine="{engine["engine"]}"}}, 0.01)',
                "eval_time": "20m",
                "exp_samples": [{"labels": f'{{engine="{engine["engine"]}"}}', "value": 3}],
            },
        ],
    }
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]})
    )
    promtool("test", "rules", "test.yaml", folder=tmp_path)


@needs_promtool
def test_without_traffic_first_tokens_are_not_late(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules(HPA)))
    zero = 'sluicegate_engine_ttft_burn{engine="gw-sluicegate-llama-3-1-8b"}'
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": "5x30"} for name, _ in SERIES if "first_token" in name
        ],
        "promql_expr_test": [
            {"expr": zero, "eval_time": "20m", "exp_samples": [{"labels": zero, "value": 0}]}
        ],
    }
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]})
    )
    promtool("test", "rules", "test.yaml", folder=tmp_path)


@needs_promtool
def test_demand_is_counted_of_a_models_adapters_as_well_and_is_0_without_any(
    tmp_path: Path,
) -> None:
    deploy = {
        "gpu": "L4",
        "lora_adapters": [{"name": "a.b", "source": "a/b"}],
        "autoscaling": {"min": 0, "max": 2, "running_per_replica": 8},
    }
    variant = {"quantization": "fp8", "engine": "vllm", "deploy": {"quantization": "fp8", **deploy}}
    found = rendered_values({"models": [{"name": "m", "variants": [variant]}]})
    (scaled,) = of_kind(found, "ScaledObject")
    (query,) = [
        trigger["metadata"]["query"]
        for trigger in scaled["spec"]["triggers"]
        if trigger["name"] == "demand"
    ]
    series = [
        ('gateway_wake_demand{namespace="llm",model="m",variant="m:fp8",pod="a"}', "0x10 2x20"),
        ('gateway_wake_demand{namespace="llm",model="m",variant="m:fp8",pod="b"}', "0x10 1x20"),
        ('gateway_wake_demand{namespace="llm",model="a.b",variant="a.b:fp8",pod="a"}', "0x10 4x20"),
        ('gateway_wake_demand{namespace="llm",model="o",variant="axb:fp8",pod="a"}', "9x30"),
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "promql_expr_test": [
            {"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": value}]}
            for at, value in (("5m", 0), ("20m", 7))
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    promtool("test", "rules", "test.yaml", folder=tmp_path)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_whole(file: Path) -> None:
    board = json.loads(file.read_text())
    panels = [one for one in board["panels"] if one["type"] != "row"]
    assert len({one["id"] for one in board["panels"]}) == len(board["panels"])
    assert len({one["title"] for one in panels}) == len(panels) >= 12
    variables = {one["name"] for one in board["templating"]["list"]}
    for panel in panels:
        for target in panel["targets"]:
            asked = set(re.findall(r"\$(?!__)([a-z]+)", target["expr"]))
            assert asked <= variables


def test_dashboards_are_found_by_grafana() -> None:
    found = rendered(CHART / "ci/production-values.yaml")
    (one,) = [m for m in of_kind(found, "ConfigMap") if "dashboards" in m["metadata"]["name"]]
    assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text)["title"] for name, text in one["data"].items()} == {
        "gateway.json": "Sluicegate"
    }
