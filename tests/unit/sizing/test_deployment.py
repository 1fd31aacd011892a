from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.deployment import Engine
from tests.support.models import a_deployment


@pytest.mark.parametrize(
    ("options", "parallel"),
    [
        ({}, (1, 1)),
        ({"gpus": 4}, (4, 1)),
        ({"gpus": 4, "tensor_parallel": 2}, (2, 2)),
        ({"gpus": 4, "pipeline_parallel": 2}, (2, 2)),
        ({"gpus": 4, "tensor_parallel": 2, "pipeline_parallel": 2}, (2, 2)),
    ],
)
def test_all_gpus_are_used(options: dict[str, Any], parallel: tuple[int, int]) -> None:
    assert a_deployment(**options).parallel() == parallel


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"gpus": 4, "tensor_parallel": 3}, "3 × --pipeline-parallel 1 are 3 GPUs, --gpus says 4"),
        ({"gpus": 2, "pipeline_parallel": 3}, "are 3 GPUs, --gpus says 2"),
        ({"max_num_batched_tokens": 8, "max_num_seqs": 16}, "8 must be at least --max-num-seqs 16"),
        ({"engine": Engine.TGI, "cpu_offload_gib": 1}, "--cpu-offload-gib means nothing to tgi"),
        ({"engine": Engine.TGI, "engine_version": "3"}, "--engine-version means nothing to tgi"),
        ({"engine": Engine.LLAMACPP, "is_eager": True}, "--enforce-eager means nothing to llama"),
        ({"engine": Engine.LLAMACPP, "dtype": "float16"}, "--dtype means nothing to llamacpp"),
        (
            {"engine": Engine.LLAMACPP, "gpu_memory_utilization": 0.9},
            "--gpu-memory-utilization means nothing to llamacpp: leave it out",
        ),
    ],
)
def test_options_that_contradict_each_other_are_told(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(PlanInvalid, match=problem):
        a_deployment(**options).check()


def test_options_that_agree_are_fine() -> None:
    a_deployment(max_num_batched_tokens=16, max_num_seqs=16, cpu_offload_gib=1).check()
    a_deployment(engine=Engine.TGI, gpu_memory_utilization=0.9).check()
    a_deployment(engine=Engine.LLAMACPP, cpu_offload_gib=1).check()
