"""The manifests are what Kubernetes and other projects' controllers take, in three releases."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from tests.chart.crds import SPECS
from tests.chart.render import VALUE_FILES, Manifest, of_kind, pods, rendered

RELEASES = ("1.30.0", "1.33.0", "1.37.0")
ALL = pytest.mark.parametrize("values", VALUE_FILES, ids=lambda file: file.stem)


def of_kubernetes(found: Manifest) -> Iterator[Manifest]:
    """What Kubernetes' own schemas can check of a manifest."""
    if (found["apiVersion"], found["kind"]) not in SPECS:
        yield found
    elif found["kind"] == "LeaderWorkerSet":
        group = found["spec"]["leaderWorkerTemplate"]
        for role in ("leaderTemplate", "workerTemplate"):
            yield {
                "apiVersion": "v1",
                "kind": "PodTemplate",
                "metadata": found["metadata"],
                "template": group[role],
            }


@ALL
@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_takes_them(values: Path, release: str) -> None:
    for manifest in rendered(values):
        for one in of_kubernetes(manifest):
            kubernetes_validate.validate(one, release, strict=True)


@ALL
def test_controllers_take_theirs(values: Path) -> None:
    for manifest in rendered(values):
        schema = SPECS.get((manifest["apiVersion"], manifest["kind"]))
        if schema is not None:
            jsonschema.validate(manifest["spec"], schema)


def test_every_kind_that_is_described_is_rendered() -> None:
    kinds = {(m["apiVersion"], m["kind"]) for values in VALUE_FILES for m in rendered(values)}
    assert set(SPECS) <= kinds


def test_a_wrong_manifest_is_noticed() -> None:
    (service, *_) = of_kind(rendered(VALUE_FILES[0]), "Service")
    wrong = {**service, "spec": {**service["spec"], "prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[0], strict=True)


@ALL
def test_names_are_names(values: Path) -> None:
    seen = set()
    for manifest in rendered(values):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        assert (kind, name) not in seen
        seen.add((kind, name))
        # a StatefulSet's pods carry its name and a hash of eleven characters in a label
        assert len(name) <= (52 if kind in ("StatefulSet", "LeaderWorkerSet") else 63)
        assert not name.startswith("-")
        assert not name.endswith("-")


@ALL
def test_selectors_find_what_they_are_for(values: Path) -> None:
    found = rendered(values)
    labels = [labels for _, labels in pod_labels(found)]
    for manifest in found:
        spec = manifest.get("spec", {})
        match manifest["kind"]:
            case "Service":
                wanted = spec["selector"]
            case "PodDisruptionBudget" | "PodMonitor":
                wanted = spec["selector"]["matchLabels"]
            case "NetworkPolicy":
                wanted = spec["podSelector"]["matchLabels"]
            case _:
                continue
        is_engines = wanted.get("app.kubernetes.io/component") == "engine"
        if is_engines and not any(one.items() >= wanted.items() for one in labels):
            # a gateway in front of engines that run elsewhere
            assert not any("/engine" in str(one) for one in labels)
            continue
        assert any(one.items() >= wanted.items() for one in labels), manifest["metadata"]["name"]


def pod_labels(found: Sequence[Manifest]) -> Iterator[tuple[str, dict[str, str]]]:
    for one in found:
        spec = one.get("spec", {})
        match one["kind"]:
            case "Deployment" | "StatefulSet":
                labels = spec["template"]["metadata"]["labels"]
                assert labels.items() >= spec["selector"]["matchLabels"].items()
                yield one["metadata"]["name"], labels
            case "LeaderWorkerSet":
                group = spec["leaderWorkerTemplate"]
                yield one["metadata"]["name"], group["leaderTemplate"]["metadata"]["labels"]
            case _:
                pass


@ALL
def test_claims_and_configmaps_that_are_mounted_exist_or_are_asked_for(values: Path) -> None:
    found = rendered(values)
    there = {(one["kind"], one["metadata"]["name"]) for one in found}
    for name, spec in pods(found):
        for volume in spec.get("volumes", []):
            is_ours = "gw-" in str(volume) or "llm-" in str(volume)
            if "configMap" in volume and is_ours:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, name
            if "persistentVolumeClaim" in volume and is_ours:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in there, name
