"""deploy/observability: what is asked of Prometheus is there, and a real one answers it."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml

from gateway import __version__
from gateway.config.otlp import otlp_target
from gateway.config.settings import Settings
from gateway.config.telemetry import Telemetry
from gateway.telemetry.exemplars import Mark
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.negotiation import Format
from tests.docs.dashboards import ALL, as_json, path_of
from tests.docs.generate import all_metrics
from tests.support.openmetrics import exemplars
from tests.support.otlp_receiver import http_receiver
from tests.support.ports import free_port
from tests.support.running import Running, a_gateway
from tests.support.served import PATH, chat

ROOT = Path(__file__).parents[2] / "deploy/observability"
PROMETHEUS = ROOT / "prometheus"
RULES = sorted(PROMETHEUS.glob("rules/*.yml"))
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
COLLECTOR = yaml.safe_load((ROOT / "otel-collector/config.yaml").read_text())
SOURCES = yaml.safe_load((ROOT / "grafana/provisioning/datasources/sources.yml").read_text())[
    "datasources"
]
SCRAPED = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
PROMETHEUS_OPTIONS = [one for one in SERVICES["prometheus"]["command"] if "feature" in one]
# what Prometheus adds, or dashboards make
MORE_LABELS = {"le", "instance", "job", "severity", "long_window"}
_SERIES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="no Prometheus; `make prometheus` installs it",
)


def rules() -> Iterator[dict[str, Any]]:
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def panels() -> Iterator[tuple[str, str]]:
    """Title and query."""
    for dashboard in ALL:
        for _, row in dashboard.rows:
            for panel in row:
                for query, _ in panel.queries:
                    yield f"{dashboard.name}: {panel.title}", query


QUERIES = [*panels(), *((one.get("record") or one["alert"], one["expr"]) for one in rules())]


def names_in(query: str) -> set[str]:
    """Names of series, those that rules record included."""
    bare = re.sub(r'"[^"]*"', '""', query)
    return set(re.findall(r"\b(?:gateway|gen_ai|model)\w*(?::\w+)*\b(?=[\[{ )\n]|$)", bare)) - {
        "model",
        "model_le",
    }


def series() -> set[str]:
    exported = {metric.name + ending for metric in all_metrics() for ending in _SERIES[metric.kind]}
    return exported | {one["record"] for one in rules() if "record" in one}


def test_every_query_asks_for_what_there_is() -> None:
    known = series()
    asked: set[str] = set()
    for title, query in QUERIES:
        names = names_in(query)
        assert names or query.startswith("up"), title
        assert names <= known, f"{title}: {names - known}"
        asked |= names
    untold = [
        metric.name
        for metric in all_metrics()
        if not asked & {metric.name + ending for ending in _SERIES[metric.kind]}
    ]
    assert not untold, "on no dashboard and in no rule"


def test_every_label_is_one_of_the_gateways() -> None:
    labels = {label for metric in all_metrics() for label in metric.labels} | MORE_LABELS
    for title, query in QUERIES:
        used = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", query))
        for by in re.findall(r"by \(([^)]*)\)", query):
            used |= {one.strip() for one in by.split(",") if one.strip()}
        assert used <= labels, f"{title}: {used - labels}"


def test_the_bound_of_the_objective_is_a_bucket() -> None:
    (spread,) = (
        one for one in all_metrics() if one.name == "gen_ai_server_time_to_first_token_seconds"
    )
    asked = {bound for _, query in QUERIES for bound in re.findall(r'le="([^"]+)"', query)}
    assert asked == {"2.5"}
    assert set(map(float, asked)) <= set(spread.bounds)


@pytest.mark.parametrize("dashboard", ALL, ids=lambda one: one.name)
def test_a_dashboard_is_what_its_source_says(dashboard: Any) -> None:
    text = path_of(dashboard).read_text()
    assert text == as_json(dashboard), "run `python -m tests.docs.dashboards`"
    ids = [panel["id"] for panel in json.loads(text)["panels"]]
    assert len(ids) == len(set(ids))


def test_what_is_mounted_exists_or_is_a_volume() -> None:
    volumes = COMPOSE["volumes"]
    assert SERVICES["gateway"]["image"] == f"sluicegate:{__version__}"
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in volumes or (ROOT / source).is_dir(), volume


def test_every_address_is_a_service_that_listens_there() -> None:
    """Where each of them listens is known of the image, or stands in its configuration."""
    receivers = COLLECTOR["receivers"]["otlp"]["protocols"].values()
    listens = {
        "prometheus": {9090},
        "grafana": {3000},
        "jaeger": {4317, 16686},
        "gateway": {Settings().port},
        "otel-collector": {port_of(one["endpoint"]) for one in receivers}
        | {_pulled(COLLECTOR)["port"]},
    }
    assert set(listens) == set(SERVICES)
    sources = [one["url"] for one in SOURCES]
    scraped = [
        one for job in SCRAPED for part in job.get("static_configs", ()) for one in part["targets"]
    ]
    sent = [one["endpoint"] for one in COLLECTOR["exporters"].values()]
    traced = SERVICES["gateway"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    addresses = [*sources, *scraped, *sent, traced]
    assert len(addresses) == 5
    for address in addresses:
        host, port = address.removeprefix("http://").split(":")
        assert int(port) in listens[host], address
    for name, service in SERVICES.items():
        for published in service.get("ports", ()):
            *_, outside, inside = published.split(":")
            assert outside == inside
            assert int(inside) in listens[name], published


def test_the_collectors_pipelines_are_of_components_that_it_has() -> None:
    for pipeline in COLLECTOR["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(COLLECTOR[kind])
        assert pipeline["processors"][0] == "memory_limiter", "its own documentation asks for it"
    pipelines = COLLECTOR["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        used = {one for pipeline in pipelines for one in pipeline[kind]}
        assert used == set(COLLECTOR[kind]), f"{kind} that no pipeline uses"


def test_everything_that_the_collector_speaks_is_what_gateway_and_engines_send() -> None:
    ports = {
        port_of(one["endpoint"]) for one in COLLECTOR["receivers"]["otlp"]["protocols"].values()
    }
    for port in ports:
        given = Telemetry(otlp_endpoint=f"http://otel-collector:{port}")
        target = otlp_target(given, {})
        assert target is not None
        assert target.protocol == ("grpc" if port == 4317 else "http/protobuf")


def test_a_dot_in_a_panel_leads_to_its_trace() -> None:
    assert "--enable-feature=exemplar-storage" in PROMETHEUS_OPTIONS
    (metrics,) = (one for one in SOURCES if one["type"] == "prometheus")
    (traces,) = (one for one in SOURCES if one["type"] == "jaeger")
    (leads,) = metrics["jsonData"]["exemplarTraceIdDestinations"]
    tally, shown = Metrics(), "gen_ai_server_request_duration_seconds"
    cells = tally.ended(("m", "m", "r0"), "ok").duration
    cells.observe(1.0)
    cells.exemplify(1.0, Mark(1, 2, 3.0))
    assert leads["name"] in exemplars(tally.render(Format.OPENMETRICS))[shown].labels
    assert leads["datasourceUid"] == traces["uid"]
    asked = {
        target["expr"]
        for dashboard in ALL
        for panel in json.loads(path_of(dashboard).read_text())["panels"]
        for target in panel.get("targets", ())
        if target["exemplar"]
    }
    assert asked
    assert all("gen_ai_server" in one for one in asked)


def test_every_dashboard_asks_a_data_source_that_is_provisioned() -> None:
    uids = {one["uid"] for one in SOURCES}
    for dashboard in ALL:
        text = path_of(dashboard).read_text()
        assert set(re.findall(r'"uid": "(?!sluicegate-)([^"]+)"', text)) <= uids
    (provider,) = yaml.safe_load(
        (ROOT / "grafana/provisioning/dashboards/sluicegate.yml").read_text()
    )["providers"]
    mounted = {one.split(":")[1] for one in SERVICES["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounted
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent.as_posix() in mounted
    assert (ROOT / "grafana/dashboards" / Path(home).name).is_file()


def test_targets_that_prometheus_reads_are_there() -> None:
    for job in SCRAPED:
        for part in job.get("file_sd_configs", ()):
            for file in part["files"]:
                assert isinstance(yaml.safe_load((PROMETHEUS / file).read_text()), list)
    assert "sluicegate" in {job["job_name"] for job in SCRAPED}


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def _pulled(collector: Any) -> Any:
    (reader,) = collector["service"]["telemetry"]["metrics"]["readers"]
    return reader["pull"]["exporter"]["prometheus"]


@needs_prometheus
@pytest.mark.timeout(120)
@pytest.mark.parametrize("words", ["check config prometheus.yml", "test rules rules_test.yml"])
def test_promtool_is_content(words: str) -> None:
    ran = subprocess.run(
        ["promtool", *words.split()],
        check=False,
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SUCCESS" in ran.stdout


@needs_prometheus
@pytest.mark.timeout(120)
async def test_a_real_prometheus_scrapes_and_answers_every_query(tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    config = (folder / "prometheus.yml").read_text()
    (folder / "prometheus.yml").write_text(config.replace("15s", "1s"))
    port = free_port()
    with http_receiver() as collector:
        await _scrape_and_ask(folder, port, {"otlp_endpoint": collector.url})


async def _scrape_and_ask(folder: Path, port: int, telemetry: dict[str, str]) -> None:
    async with a_gateway(telemetry=telemetry) as it, httpx.AsyncClient(timeout=20) as client:
        targets = f"- targets: [127.0.0.1:{it.port}]\n"
        (folder / "targets/gateway.yml").write_text(targets)
        command = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            *PROMETHEUS_OPTIONS,
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        async with await anyio.open_process(command, stdout=subprocess.DEVNULL) as process:
            try:
                api = f"http://127.0.0.1:{port}/api/v1/query"
                await _has_answers(client, it.url, api)
                await _finds_the_traces_of_metrics(client, it, api)
            finally:
                process.kill()


async def _has_answers(client: httpx.AsyncClient, gateway: str, api: str) -> None:
    async def answer(query: str) -> list[Any]:
        for name, value in (
            ("$__rate_interval", "1m"),
            ("$__interval", "1m"),
            ("$model", ".*"),
            ("$caller", ".*"),
        ):
            query = query.replace(name, value)
        got = await client.get(api, params={"query": query})
        assert got.status_code == 200, f"{query}: {got.text}"
        found: list[Any] = got.json()["data"]["result"]
        return found

    with anyio.fail_after(60):
        while True:
            await client.post(gateway + PATH, json=chat(stream=True))
            try:
                if await answer("model_outcome:gateway_requests:rate5m > 0"):
                    break
            except httpx.TransportError:
                pass
            await anyio.sleep(0.5)
        for _, query in QUERIES:
            await answer(query)
        for query in (
            "histogram_quantile(0.95, model_le:gateway_inter_token_latency_seconds_bucket:rate5m)",
            'up{job="sluicegate"} == 1',
            "gateway_replica_usable == 1",
            "gateway_workers == 1",
        ):
            assert await answer(query), query
        for name, query in panels():
            if name.startswith("model: ") and "gen_ai" in query:
                assert await answer(query), name


async def _finds_the_traces_of_metrics(client: httpx.AsyncClient, it: Running, api: str) -> None:
    """Prometheus takes OpenMetrics, and keeps the traces that histograms name."""
    traces = {line["trace_id"] for line in it.log.requests}
    name = "gen_ai_server_time_to_first_token_seconds_bucket"
    params = {"query": name, "start": str(time.time() - 600), "end": str(time.time() + 600)}
    with anyio.fail_after(60):
        while True:
            got = await client.get(api + "_exemplars", params=params)
            assert got.status_code == 200, got.text
            series = got.json()["data"]
            if series:
                break
            await anyio.sleep(0.5)
    found = {one["labels"]["trace_id"] for part in series for one in part["exemplars"]}
    assert found
    assert found <= traces
