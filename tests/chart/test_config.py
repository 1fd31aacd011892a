"""The configuration that the chart renders is one that the gateway serves, and finds engines by."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from gateway.config.load import read_document
from gateway.config.models import Variant
from gateway.config.unread import without_secrets
from gateway.fleet.compiling import compile_catalog
from gateway.routing import POLICIES
from tests.chart.render import (
    VALUE_FILES,
    Manifest,
    gateway_yaml,
    of_kind,
    rendered,
    rendered_values,
)
from tests.support.command import run_command

ALL = pytest.mark.parametrize("values", VALUE_FILES, ids=lambda file: file.stem)


@ALL
def test_the_gateway_serves_it(values: Path) -> None:
    document = without_secrets(read_document(gateway_yaml(rendered(values))))
    catalog = compile_catalog(document, {}, policies=POLICIES)
    written = yaml.safe_load(values.read_text())
    for model in written["models"]:
        assert model["name"] in catalog.models


@ALL
def test_gateway_check_passes_as_the_hook_runs_it(
    values: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = rendered(values)
    jobs = [one for one in of_kind(found, "Job") if one["metadata"]["name"].endswith("-check")]
    for job in jobs:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        (command, *flags, path) = container["args"]
        (mounted,) = (
            one["data"]["gateway.yaml"]
            for one in of_kind(found, "ConfigMap")
            if one["metadata"]["name"] == job["metadata"]["name"]
        )
        assert mounted == gateway_yaml(found)
        file = tmp_path / Path(path).name
        file.write_text(mounted)
        outcome = run_command(command, *flags, str(file))
        assert outcome.code == 0, outcome.err
    assert bool(jobs) is (values.stem != "cpu-values")


@ALL
def test_replicas_are_the_stable_names_of_pods_that_listen_there(values: Path) -> None:
    found = rendered(values)
    workloads = {one["metadata"]["name"]: one for one in _workloads(found)}
    services = {one["metadata"]["name"]: one for one in of_kind(found, "Service")}
    document = read_document(gateway_yaml(found))
    seen = set()
    for model in document.models:
        for variant in model.variants:
            for replica in variant.replicas:
                address = urlsplit(replica.url)
                pod, _, service = (address.hostname or "").partition(".")
                if service not in workloads:
                    assert variant.deploy is None
                    continue
                seen.add(service)
                assert re.fullmatch(rf"{re.escape(service)}-\d+", pod)
                assert replica.name == pod
                if workloads[service]["kind"] == "StatefulSet":
                    assert workloads[service]["spec"]["serviceName"] == service
                    assert services[service]["spec"]["clusterIP"] == "None"
                    (port,) = services[service]["spec"]["ports"]
                    assert port["port"] == address.port
                    assert port["targetPort"] == "http"
                template = _template(workloads[service])
                (container,) = template["spec"]["containers"]
                (port,) = container["ports"]
                assert port["containerPort"] == address.port
    assert seen == workloads.keys()


def _service(variant: Variant) -> str:
    assert variant.discovery is not None
    assert variant.discovery.kubernetes is not None
    return variant.discovery.kubernetes.service or ""


def test_engines_are_found_by_endpoint_slices_where_the_gateway_may_read_them() -> None:
    model = {"name": "m", "engine": "vllm", "deploy": {"gpu": "L40S", "replicas": 2}}
    found = rendered_values({"rbac": {"endpointSlices": True}, "models": [model]})
    (workload,) = _workloads(found)
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(found, "Service")}
    ((variant,),) = (one.variants for one in read_document(gateway_yaml(found)).models)
    assert variant.replicas == ()
    assert _service(variant) == workload["metadata"]["name"]
    (port,) = services[_service(variant)]["ports"]
    assert variant.discovery is not None
    assert variant.discovery.kubernetes is not None
    assert port["name"] == variant.discovery.kubernetes.port


@ALL
def test_there_are_as_many_replicas_as_pods_or_as_there_may_be(values: Path) -> None:
    found = rendered(values)
    most = {one["metadata"]["name"]: one["spec"].get("replicas") for one in _workloads(found)}
    for one in of_kind(found, "ScaledObject"):
        most[one["metadata"]["name"]] = one["spec"]["maxReplicaCount"]
    for one in of_kind(found, "HorizontalPodAutoscaler"):
        if one["metadata"]["name"] in most:
            most[one["metadata"]["name"]] = one["spec"]["maxReplicas"]
    document = read_document(gateway_yaml(found))
    for model in document.models:
        for variant in model.variants:
            if variant.deploy is not None:
                name = (variant.replicas[0].name or "").rpartition("-")[0]
                assert len(variant.replicas) == most[name]


def test_engines_that_have_addresses_are_planned_and_not_started() -> None:
    model = {"name": "m", "engine": "vllm", "url": "http://a", "deploy": {"gpu": "L4"}}
    found = rendered_values({"models": [model]})
    assert _workloads(found) == []
    (variant,) = read_document(gateway_yaml(found)).models[0].variants
    assert variant.deploy is not None
    assert [replica.url for replica in variant.replicas] == ["http://a"]


def test_a_change_of_models_restarts_no_gateway() -> None:
    one, other = (rendered(values) for values in VALUE_FILES[1:3])
    (a,), (b,) = of_kind(one, "Deployment"), of_kind(other, "Deployment")
    assert gateway_yaml(one) != gateway_yaml(other)
    assert a["spec"]["template"]["metadata"] == b["spec"]["template"]["metadata"]
    (container,) = a["spec"]["template"]["spec"]["containers"]
    # a folder: what is mounted by subPath does not follow its ConfigMap
    assert not any("subPath" in mount for mount in container["volumeMounts"])


def _workloads(found: Sequence[Manifest]) -> list[Manifest]:
    kinds = of_kind(found, "StatefulSet") + of_kind(found, "LeaderWorkerSet")
    return [one for one in kinds if "sluicegate.io/engine" in one["metadata"]["labels"]]


def _template(workload: Manifest) -> Manifest:
    if workload["kind"] == "LeaderWorkerSet":
        found: Manifest = workload["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    else:
        found = workload["spec"]["template"]
    return found
