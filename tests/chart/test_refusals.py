"""What is wrong with values fails before anything is applied, with its path, in one sentence."""

import pytest

from tests.chart.render import refusal

VARIANT = "models: [{name: m, variants: [{quantization: %s, engine: %s, deploy: {gpu: L4, %s}}]}]"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("modells: []", "at '': additional properties 'modells' not allowed"),
        (
            "models: [{name: m, engine: vllm, url: http://a, polici: x}]",
            "at '/models/0': additional properties 'polici' not allowed",
        ),
        (
            "models: [{name: m, engine: vlm, url: http://a}]",
            "at '/models/0/engine': value must be one of 'vllm', 'tgi', 'llamacpp', 'openai'",
        ),
        (
            VARIANT % ("q", "vllm", "gpus: two"),
            "at '/models/0/variants/0/deploy/gpus': got string, want integer",
        ),
        (
            VARIANT % ("q", "vllm", "gpu_memory_utilization: 1.5"),
            "deploy/gpu_memory_utilization': maximum: got 1.5, want 1",
        ),
        (
            VARIANT % ("q", "vllm", "pod: {nodeSelector: {}}"),
            "deploy/pod': additional properties 'nodeSelector' not allowed",
        ),
        (
            VARIANT % ("q", "vllm", "autoscaling: {max: 2, ttft_slo_s: 3}"),
            "deploy/autoscaling/ttft_slo_s': value must be one of 0.1, 0.25",
        ),
        ("gateway: {replicas: 0}", "at '/gateway/replicas': minimum: got 0, want 1"),
        ("redis: {enabled: 'yes'}", "at '/redis/enabled': got string, want boolean"),
    ],
)
def test_what_the_schema_sees(values: str, problem: str) -> None:
    assert problem in refusal(values)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("models: [{name: m, engine: vllm}]", "models[0]: give url, replicas or deploy"),
        ("models: [{name: m}]", "models[0].engine: required, or variants that have one"),
        (
            "models: [{name: m, engine: vllm, variants: [{engine: vllm, deploy: {gpu: L4}}]}]",
            "models[0].engine: belongs to each of the variants, once they are given",
        ),
        (
            "models: [{name: m, engine: openai, deploy: {gpu: L4}}]",
            "models[0].deploy: engines of the kind openai are not deployed, give url or replicas",
        ),
        (
            "models: [{name: a, engine: vllm, url: http://a}, "
            "{name: b, aliases: [a], engine: vllm, url: http://b}]",
            'models: the name "a" is given twice',
        ),
        (
            "models: [{name: a, engine: vllm, url: http://a, fallbacks: [b]}, "
            "{name: b, engine: vllm, url: http://b, fallbacks: [c]}, "
            "{name: c, engine: vllm, url: http://b, fallbacks: [a]}]",
            'models[0].fallbacks: they lead back to "a"',
        ),
        (
            "models: [{name: a, engine: vllm, url: http://a, fallbacks: [x]}]",
            'models[0].fallbacks: "x" is no model',
        ),
        (
            "models: [{name: a.b, engine: vllm, deploy: {}}, {name: a-b, engine: tgi, deploy: {}}]",
            'models: "a.b" and "a-b" would both be named "gw-sluicegate-a-b" in Kubernetes, '
            "rename one",
        ),
        (
            VARIANT % ("fp8", "vllm", ""),
            "models[0].variants[0].deploy.quantization: say fp8 if the engine is to quantize "
            "while it loads, or checkpoint if the files are quantized",
        ),
        (
            VARIANT % ("q", "vllm", "quantization: q4_k_m"),
            'models[0].variants[0].deploy.quantization: vllm cannot run "q4_k_m"; it knows: ',
        ),
        (
            VARIANT % ("q", "tgi", "gpus: 4, nodes: 2"),
            "models[0].variants[0].deploy.nodes: only vllm spreads one replica over nodes, not tgi",
        ),
        (
            VARIANT % ("q", "vllm", "gpus: 3, nodes: 2"),
            "models[0].variants[0].deploy.gpus: 3 cannot be divided among 2 nodes",
        ),
        (
            VARIANT % ("q", "vllm", "gpus: 4, tensor_parallel: 3"),
            "tensor_parallel 3 × pipeline_parallel 1 are 3 GPUs, gpus says 4",
        ),
        (
            VARIANT % ("q", "vllm", "replicas: 2, autoscaling: {max: 2, ttft_slo_s: 1}"),
            "models[0].variants[0].deploy.replicas: leave it out, autoscaling has min and max",
        ),
        (
            VARIANT % ("q", "vllm", "autoscaling: {min: 3, max: 2, ttft_slo_s: 1}"),
            "models[0].variants[0].deploy.autoscaling: min 3 is more than max 2",
        ),
        (
            VARIANT % ("q", "vllm", "autoscaling: {max: 2}"),
            "models[0].variants[0].deploy.autoscaling: give running_per_replica, "
            "queue_wait_s or ttft_slo_s, or several",
        ),
        (
            VARIANT % ("q", "vllm", "image: {tag: latest}"),
            "models[0].variants[0].deploy.image.tag: name a version, latest is another one "
            "tomorrow",
        ),
        (
            VARIANT % ("q", "vllm", "cache: {existing_claim: c}"),
            "models[0].variants[0].deploy.cache.existing_claim: needs kind: shared",
        ),
        (
            VARIANT % ("q", "llamacpp", "cache: {predownload: true}"),
            "models[0].variants[0].deploy.cache.predownload: llama.cpp's image has nothing to "
            "download with",
        ),
        (
            VARIANT % ("q", "llamacpp", "lora_adapters: [{name: a, source: b}]"),
            "models[0].variants[0].deploy.lora_adapters: only those of vllm and tgi can be asked "
            "for by name, not llamacpp's",
        ),
        (
            "models: [{name: m, engine: vllm, api_key: {from_env: K}, deploy: {gpu: L4}}]",
            'secrets.existingSecret: name the Secret that has K, the key of the engines of "m"',
        ),
        ("gateway: {image: {tag: latest}}", "gateway.image.tag: name a version"),
        (
            "redis: {enabled: true}\nlimits: {store: redis, redis_url: {from_env: X}}",
            "limits.redis_url: leave it out, redis.enabled sets it",
        ),
        ("ingress: {enabled: true}", "ingress.host: say which host"),
        ("httpRoute: {enabled: true}", "httpRoute.parentRefs: say which Gateway"),
        ("secrets: {external: {enabled: true}}", "secrets.external: give store.name and data"),
    ],
)
def test_what_the_templates_see(values: str, problem: str) -> None:
    if not values.startswith("models"):
        values += "\nmodels: [{name: m, engine: vllm, url: http://a}]"
    assert problem in refusal(values)


def test_everything_is_told_at_once() -> None:
    told = refusal("models: [{name: a, engine: vllm, fallbacks: [x]}, {name: a, engine: tgi}]")
    for problem in ("given twice", '"x" is no model', "models[0]: give", "models[1]: give"):
        assert problem in told
