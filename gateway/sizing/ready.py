"""A choice as a `models:` entry and as values of the Helm chart, ready to paste."""

import json

from gateway.sizing.recommend import Choice


def models_entry(model: str, choice: Choice) -> str:
    """The `models:` entry: YAML, with an address to fill in for each replica."""
    lines = [
        *_variant(model, choice),
        "        replicas:",
        *(f"          - url: http://replica-{n}:8000" for n in range(1, choice.replicas + 1)),
        "        deploy:",
        *_lines(_deploy(choice)),
    ]
    return "\n".join(lines)


def helm_values(model: str, choice: Choice) -> str:
    """The values that deploy it: YAML. The chart knows the addresses of what it starts."""
    deploy = {**_deploy(choice), "replicas": choice.replicas}
    return "\n".join([*_variant(model, choice), "        deploy:", *_lines(deploy)])


def _variant(model: str, choice: Choice) -> list[str]:
    plan = choice.plan
    name = model.rstrip("/").rsplit("/", 1)[-1].removesuffix(".json").lower()
    return [
        "models:",
        f"  - name: {json.dumps(name)}",
        "    variants:",
        f"      - quantization: {plan.quantization}",
        f"        engine: {plan.engine}",
        f"        served_model: {json.dumps(model)}",
    ]


def _deploy(choice: Choice) -> dict[str, object]:
    plan = choice.plan
    return {
        "gpu": plan.gpu,
        "gpus": plan.gpus,
        "quantization": plan.quantization,
        "max_model_len": plan.max_model_len,
        "max_num_seqs": plan.max_num_seqs,
        "max_num_batched_tokens": plan.max_num_batched_tokens,
        "gpu_memory_utilization": float(
            plan.flags[plan.flags.index("--gpu-memory-utilization") + 1]
        ),
    }


def _lines(deploy: dict[str, object]) -> list[str]:
    return [f"          {key}: {json.dumps(value)}" for key, value in deploy.items()]
