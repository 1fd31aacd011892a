import pytest

from gateway.config.load import read_document
from gateway.errors import ConfigInvalid

MODEL = "models: [{{name: m, engine: vllm, url: http://a, deploy: {{gpu: H100, {deploy}}}}}]"


def test_what_only_a_cluster_needs_is_read_and_kept() -> None:
    document = read_document(
        MODEL.format(
            deploy="pod: {node_selector: {a: b}, tolerations: [{key: gpu, operator: Exists}], "
            "affinity: {nodeAffinity: {}}}, cache: {kind: shared, existing_claim: models}, "
            "autoscaling: {max: 4, ttft_slo_s: 1}, image: {tag: v1, digest: 'sha256:%s'}"
            % ("ab" * 32)
        )
    )
    deploy = document.models[0].variants[0].deploy
    assert deploy is not None
    assert deploy.pod.tolerations == ({"key": "gpu", "operator": "Exists"},)
    assert deploy.cache.existing_claim == "models"
    assert deploy.autoscaling is not None
    assert (deploy.autoscaling.min, deploy.autoscaling.max) == (1, 4)


@pytest.mark.parametrize(
    ("deploy", "problem"),
    [
        ("image: {tag: latest}", "deploy.image: tag: name a version"),
        ("image: {digest: abc}", "deploy.image.digest"),
        ("cache: {kind: big}", "deploy.cache.kind"),
        ("cache: {existing_claim: c}", "deploy.cache: existing_claim needs kind: shared"),
        (
            "autoscaling: {max: 2}",
            "give running_per_replica, queue_wait_s or ttft_slo_s, or several",
        ),
        ("autoscaling: {max: 2, ttft_slo_s: 3}", "ttft_slo_s: must be one of 0.1, 0.25,"),
        ("autoscaling: {min: 3, max: 2, ttft_slo_s: 1}", "min 3 is more than max 2"),
        ("autoscaling: {max: 2, ttft_slo_s: 1}, replicas: 2", "either replicas or autoscaling"),
        ("gpus: 3, nodes: 2", "3 gpus cannot be divided among 2 nodes"),
        ("pod: {node_selector: {a: 1}}", "deploy.pod.node_selector.a"),
        ("pod: {nodeSelector: {}}", 'did you mean "node_selector"?'),
        ("lora_adapters: [{name: 'a b', source: x}]", "deploy.lora_adapters[0].name"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(deploy: str, problem: str) -> None:
    with pytest.raises(ConfigInvalid) as told:
        read_document(MODEL.format(deploy=deploy))
    assert problem in told.value.problems[0]
