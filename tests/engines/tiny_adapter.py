"""Write a LoRA adapter of the tiny Llama to disk, as PEFT does: `adapter_config.json`, weights.

Its weights are drawn, and large enough that it says something else than the model.

Source: PEFT's checkpoint format; the names of the tensors as vLLM reads them.
"""

import json
import random
from pathlib import Path

from tests.engines.tiny_model import safetensors
from tests.support.tiny_llama import HEAD_SIZE, HEADS, HIDDEN, KV_HEADS, LAYERS, Matrix

RANK = 8
_OUT = {"q_proj": HEADS * HEAD_SIZE, "v_proj": KV_HEADS * HEAD_SIZE}


def write_adapter(folder: Path, seed: int) -> None:
    """Equal seeds give equal adapters."""
    rng = random.Random(seed)
    weights: dict[str, Matrix] = {}
    for layer in range(LAYERS):
        for name, size in _OUT.items():
            where = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{where}.lora_A.weight"] = _drawn(rng, RANK, HIDDEN)
            weights[f"{where}.lora_B.weight"] = _drawn(rng, size, RANK)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": RANK,
        "lora_alpha": 4 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(_OUT),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1))
    (folder / "adapter_model.safetensors").write_bytes(safetensors(weights))


def _drawn(rng: random.Random, rows: int, columns: int) -> Matrix:
    return [[rng.gauss(0.0, 1.0) for _ in range(columns)] for _ in range(rows)]
