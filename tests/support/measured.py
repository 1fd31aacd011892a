"""Starts of vLLM whose memory was measured, as others published it."""

from dataclasses import dataclass
from typing import Any

from gateway.sizing.plan import Plan
from tests.support.models import a_plan


@dataclass(frozen=True)
class Run:
    """One start of vLLM 0.19 on an H100 with a share of 0.95; sizes in GiB."""

    model: str
    weights: float
    activation: float
    overhead: float
    cache: float


MEASURED = [
    Run("llama-3.1-8b", 14.99, 1.89, 0.25, 58.11),
    Run("qwen2.5-7b", 14.25, 2.21, 0.24, 58.53),
    Run("qwen3-8b", 15.27, 2.21, 0.25, 57.50),
    Run("qwen3-30b-a3b", 56.88, 2.68, 0.27, 15.41),
    Run("phi-4", 27.39, 1.52, 0.25, 46.08),
    Run("mistral-small-3.1-24b", 44.76, 2.03, 0.25, 28.19),
    Run("gemma-2-9b", 17.22, 3.65, 0.25, 54.12),
    Run("gemma-2-27b", 50.72, 3.66, 0.26, 20.59),
    Run("gemma-2-2b", 4.90, 3.62, 0.24, 66.47),
    Run("gemma-7b", 15.91, 3.63, 0.25, 55.44),
    Run("granite-3.1-8b", 15.25, 0.85, 0.46, 58.66),
    Run("codellama-7b", 12.56, 0.77, 0.25, 61.66),
    Run("qwen1.5-moe-a2.7b", 26.67, 2.47, 0.25, 45.83),
]


def planned(name: str, **options: Any) -> Plan:
    """The plan of a model as it was started."""
    started = {"engine_version": "0.19", "gpu_memory_utilization": 0.95, "max_model_len": 8192}
    return a_plan(name, **{**started, **options})
