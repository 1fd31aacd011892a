import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.names import find_quantization
from gateway.sizing.parallel import check_parallel
from gateway.sizing.quantization import SIXTEEN
from tests.support.models import a_model


@pytest.mark.parametrize(
    ("name", "tensor", "problem"),
    [
        ("qwen3-14b", 5, "does not divide the vocabulary of 151936; possible: 1, 2, 4, 8"),
        ("llama-3.1-8b", 3, "does not divide 32 heads; possible: 1, 2, 4, 8"),
        ("qwen2.5-7b", 8, "does not divide 28 heads; possible: 1, 2, 4"),
        ("phi-4", 4, "does not divide 10 KV heads"),
        ("falcon-7b", 2, "does not divide 71 heads"),
        ("gemma-3-4b", 8, ""),
    ],
)
def test_what_does_not_divide_is_told(name: str, tensor: int, problem: str) -> None:
    if not problem:
        check_parallel(a_model(name), tensor, 1, SIXTEEN)
        return
    with pytest.raises(PlanInvalid) as told:
        check_parallel(a_model(name), tensor, 1, SIXTEEN)
    assert problem in told.value.public


def test_heads_are_copied_when_they_are_fewer() -> None:
    check_parallel(a_model("qwen3-30b-a3b"), 8, 1, SIXTEEN)


def test_widths_must_divide() -> None:
    with pytest.raises(PlanInvalid, match="the intermediate size of 11009"):
        check_parallel(a_model("codellama-7b", intermediate_size=11009), 2, 1, SIXTEEN)
    odd = a_model("qwen1.5-moe-a2.7b", shared_expert_intermediate_size=5633)
    with pytest.raises(PlanInvalid, match="the intermediate size of 5633"):
        check_parallel(odd, 2, 1, SIXTEEN)


def test_groups_of_scales_stay_together() -> None:
    with pytest.raises(PlanInvalid, match="768 in awq's groups of 128; possible: 1, 2"):
        check_parallel(a_model("qwen3-30b-a3b"), 8, 1, find_quantization("awq"))


def test_experts_in_mxfp4_are_padded_and_so_need_not_divide() -> None:
    check_parallel(a_model("gpt-oss-120b"), 8, 1, find_quantization("mxfp4"))


def test_states_are_divided_by_channels() -> None:
    model = a_model("nemotron-h-8b", mamba_num_heads=24, num_attention_heads=32)
    with pytest.raises(PlanInvalid, match="does not divide 24 channels"):
        check_parallel(model, 16, 1, SIXTEEN)


def test_a_way_to_use_all_gpus_is_proposed() -> None:
    with pytest.raises(PlanInvalid, match="with 6 GPUs: --tensor-parallel 2 --pipeline-parallel 3"):
        check_parallel(a_model(), 6, 1, SIXTEEN)
    with pytest.raises(PlanInvalid, match=r"possible: 1, 2, 4, 8, 16, 32$"):
        check_parallel(a_model("llama-3.1-8b", num_hidden_layers=2), 7, 1, SIXTEEN)


def test_a_stage_needs_a_layer() -> None:
    with pytest.raises(PlanInvalid, match="--pipeline-parallel 64: the model has 32 layers"):
        check_parallel(a_model(), 1, 64, SIXTEEN)
