from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.deployment import Engine
from gateway.sizing.gpus import find_gpu
from gateway.sizing.recommend import Choice, Goal, Workload, recommend
from tests.support.models import a_deployment, a_model

LOAD = Workload(1024, 256, 20.0)
PRICES = {"H100": 3.0, "L40S": 1.2}


def choices(
    goal: Goal,
    load: Workload = LOAD,
    *,
    model: str = "llama-3.1-8b",
    gpus: tuple[str, ...] = ("H100", "L40S"),
    options: dict[str, Any] | None = None,
    **more: Any,
) -> list[Choice]:
    cards = [find_gpu(name) for name in gpus]
    return recommend(a_model(model), a_deployment(**(options or {})), cards, load, goal, **more)


def test_every_choice_serves_the_load() -> None:
    for choice in choices(Goal.THROUGHPUT):
        assert choice.requests_per_second == pytest.approx(20)
        assert choice.plan.starts
        assert choice.total_gpus == choice.replicas * choice.plan.gpus


def test_the_goal_decides_what_is_first() -> None:
    found = {goal: choices(goal, prices=PRICES) for goal in Goal}
    quickest = min(choice.request_s for choice in found[Goal.LATENCY])
    assert found[Goal.LATENCY][0].request_s == quickest
    cheapest = min(choice.hourly_cost or 0 for choice in found[Goal.COST])
    assert found[Goal.COST][0].hourly_cost == cheapest
    each = [c.output_tokens_per_second / c.total_gpus for c in found[Goal.THROUGHPUT]]
    assert each[0] == max(each)
    assert found[Goal.QUALITY][0].plan.quantization == "bf16"


def test_without_prices_one_kind_of_gpu_is_counted() -> None:
    first = choices(Goal.COST, gpus=("H100",))[0]
    assert first.hourly_cost is None
    assert first.total_gpus == 1
    with pytest.raises(PlanInvalid, match="give each a --price"):
        choices(Goal.COST, prices={"H100": 3.0})


def test_a_load_that_is_not_named_is_what_one_replica_bears() -> None:
    first = choices(Goal.THROUGHPUT, Workload())[0]
    assert first.replicas == 1
    assert first.sequences > 10


def test_the_first_token_keeps_its_time_or_the_choice_is_none() -> None:
    slow = max(choice.ttft_s for choice in choices(Goal.COST, gpus=("L40S",)))
    kept = choices(Goal.COST, Workload(1024, 256, 20.0, slow / 2), gpus=("L40S",))
    assert all(choice.ttft_s <= slow / 2 for choice in kept)
    with pytest.raises(PlanInvalid, match=r"nothing serves this load.*first token takes"):
        choices(Goal.COST, Workload(1024, 256, 20.0, 0.001), gpus=("L40S",))


def test_what_does_not_divide_or_fit_is_passed_over() -> None:
    found = choices(Goal.COST, model="qwen2.5-7b", gpus=("L40S",))
    assert {choice.plan.gpus for choice in found} == {1, 2, 4}
    with pytest.raises(PlanInvalid, match="the weights take"):
        choices(Goal.COST, model="llama-3.1-70b", gpus=("T4",), most_gpus=1)


def test_a_quantized_checkpoint_is_recommended_as_it_is() -> None:
    found = choices(Goal.QUALITY, model="gpt-oss-20b", gpus=("H100",))
    assert {choice.plan.quantization for choice in found} == {"mxfp4"}


def test_a_quantization_of_unknown_loss_comes_last() -> None:
    found = choices(Goal.QUALITY, gpus=("H100",), options={"engine_version": "0.26"})
    assert found[-1].plan.quantization == "bitsandbytes"


def test_a_gpu_of_unknown_speed_cannot_be_rated() -> None:
    with pytest.raises(PlanInvalid, match="its bandwidth is not known"):
        recommend(a_model(), a_deployment(), [find_gpu("Voodoo", 80)], LOAD, Goal.COST, most_gpus=1)


def test_recommendations_are_for_vllm() -> None:
    with pytest.raises(PlanInvalid, match="recommendations are made for vLLM"):
        choices(Goal.COST, options={"engine": Engine.TGI})


def test_the_reasons_name_the_arithmetic() -> None:
    first = choices(Goal.QUALITY, gpus=("H100",))[0]
    assert "requests/s and is" in first.reasons[0]
    assert "tokens of KV cache hold" in first.reasons[1]
