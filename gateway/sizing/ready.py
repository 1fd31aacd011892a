"""A choice as an entry of the configuration file, ready to paste."""

import json

from gateway.sizing.recommend import Choice


def models_entry(model: str, choice: Choice) -> str:
    """The `models:` entry: YAML, with an address to fill in for each replica."""
    plan = choice.plan
    name = model.rstrip("/").rsplit("/", 1)[-1].removesuffix(".json").lower()
    deploy = {
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
    lines = [
        "models:",
        f"  - name: {json.dumps(name)}",
        "    variants:",
        f"      - quantization: {plan.quantization}",
        f"        engine: {plan.engine}",
        f"        served_model: {json.dumps(model)}",
        "        replicas:",
        *(f"          - url: http://replica-{n}:8000" for n in range(1, choice.replicas + 1)),
        "        deploy:",
        *(f"          {key}: {json.dumps(value)}" for key, value in deploy.items()),
    ]
    return "\n".join(lines)
