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
        ({"engine": Engine.TGI, "cpu_offload_gib": 1}, "TGI cannot keep weights in CPU memory"),
    ],
)
def test_options_that_contradict_each_other_are_told(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(PlanInvalid, match=problem):
        a_deployment(**options).check()


def test_options_that_agree_are_fine() -> None:
    a_deployment(max_num_batched_tokens=16, max_num_seqs=16, cpu_offload_gib=1).check()
