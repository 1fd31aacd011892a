"""What a strict cluster asks of pods, and what keeps clients from noticing a rollout."""

from pathlib import Path
from typing import Any

import pytest

from tests.chart.render import VALUE_FILES, of_kind, pods, rendered

ALL = pytest.mark.parametrize("values", VALUE_FILES, ids=lambda file: file.stem)
# https://kubernetes.io/docs/concepts/security/pod-security-standards/
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
           "projected", "secret"}  # fmt: skip


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec["containers"], *spec.get("initContainers", [])]


@ALL
def test_pod_security_restricted(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True, name
        assert pod["runAsUser"] > 0, name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= VOLUMES, name
        for container in containers(spec):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert not own.get("privileged"), name
            assert not any("hostPort" in port for port in container.get("ports", [])), name


@ALL
def test_the_gateway_and_redis_cannot_write_to_their_root(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        for container in spec["containers"]:
            if container["name"] in ("gateway", "redis", "check", "test"):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


@ALL
def test_images_have_versions(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        for container in containers(spec):
            tag = container["image"].partition("@")[0].rpartition("/")[2].partition(":")[2]
            assert tag, f"{name}: {container['image']}"
            assert tag != "latest", name


@ALL
def test_resources_are_set(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        for container in containers(spec):
            asked, most = container["resources"]["requests"], container["resources"]["limits"]
            assert asked["cpu"], name
            assert asked["memory"], name
            assert most["memory"], name
            gpus = {key for key in most if "/" in key}
            assert gpus == {key for key in asked if "/" in key}, name
            assert all(most[gpu] == asked[gpu] for gpu in gpus), name


@ALL
def test_probes_are_set(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        # a job ends by itself, and so does a test; a worker of a group listens on no port
        if name.startswith(("Job/", "Pod/")) or name.endswith("/worker"):
            continue
        for container in spec["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container[probe], f"{name}: {probe}"
            # a probe that is late for a moment must not end a server that is busy
            alive = container["livenessProbe"]
            assert alive["failureThreshold"] * alive["periodSeconds"] >= 30, name


@ALL
def test_tokens_of_the_api_server_are_given_to_nobody_who_need_not_ask_it(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        is_asked_for = values.stem == "gateway-api-values" and name.startswith("Deployment/")
        assert spec["automountServiceAccountToken"] is is_asked_for, name


def test_the_gateway_may_read_endpoint_slices_and_nothing_else() -> None:
    (role,) = [one for values in VALUE_FILES for one in of_kind(rendered(values), "Role")]
    assert role["rules"] == [
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        }
    ]


@ALL
def test_grace_periods_add_up(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        if name.startswith(("Job/", "Pod/")) or "redis" in name:
            continue
        (container,) = spec["containers"]
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        args = container["args"]
        drains = {"--shutdown-timeout", "--graceful-termination-timeout"}
        drain = next((int(args[args.index(flag) + 1]) for flag in drains if flag in args), 0)
        if container["name"] == "gateway":
            drain = 91 if values.stem == "production-values" else 30
        assert spec["terminationGracePeriodSeconds"] >= before + drain + 5, name


@ALL
def test_an_engine_has_time_to_load(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        for container in spec["containers"]:
            if container["name"] == "engine" and not name.endswith("/worker"):
                probe = container["startupProbe"]
                assert probe["periodSeconds"] * probe["failureThreshold"] >= 900, name


@ALL
def test_a_rollout_needs_no_gpu_twice(values: Path) -> None:
    found = rendered(values)
    for one in of_kind(found, "LeaderWorkerSet"):
        strategy = one["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]
        assert strategy == {"maxUnavailable": 1, "maxSurge": 0}
    assert not [
        name
        for name, spec in pods(found)
        if name.startswith("Deployment/")
        and any("gpu" in key for c in spec["containers"] for key in c["resources"]["limits"])
    ]


@ALL
def test_shared_memory_is_there(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        for container in spec["containers"]:
            if container["name"] == "engine":
                paths = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
                (shm,) = [one for one in spec["volumes"] if one["name"] == paths["/dev/shm"]]
                assert shm["emptyDir"]["medium"] == "Memory", name


@ALL
def test_only_the_gateway_reaches_engines_and_redis(values: Path) -> None:
    found = rendered(values)
    policies = of_kind(found, "NetworkPolicy")
    if values.stem == "cpu-values":
        assert policies == []
        return
    for policy in policies:
        spec = policy["spec"]
        assert "Ingress" in spec["policyTypes"]
        component = spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        peers = [peer for rule in spec["ingress"] for peer in rule["from"]]
        pods_from = [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer]
        whose = {labels["app.kubernetes.io/component"] for labels in pods_from}
        is_group = "sluicegate.io/engine" in spec["podSelector"]["matchLabels"]
        expected = {"gateway": "test", "engine": "engine" if is_group else "gateway"}
        assert whose == {expected.get(component, "gateway")}
        assert all("ipBlock" not in peer for peer in peers)


@ALL
def test_no_secret_is_in_the_manifests(values: Path) -> None:
    found = rendered(values)
    assert of_kind(found, "Secret") == []
