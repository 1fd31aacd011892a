import json
from pathlib import Path

import pytest

from gateway.cli.recommendation import read_prices
from gateway.errors import PlanInvalid
from tests.support.command import run_command
from tests.support.models import CONFIGS


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIGS["llama-3.1-8b"]))
    return str(path)


WORDS = [
    "--gpu", "H100", "--gpu", "l40s", "--goal", "cost", "--price", "h100=3", "--price", "L40S=1.2",
]  # fmt: skip


def test_the_best_is_told_with_reasons_and_as_configuration(config: str) -> None:
    outcome = run_command("plan", config, *WORDS, "--requests-per-second", "20")
    assert outcome.code == 0, outcome.err
    assert "best for cost:\n  1 replica of 1 × H100: each sustains" in outcome.out
    assert "  vllm serve " in outcome.out
    assert "and serve it with:\nmodels:\n  - name:" in outcome.out
    assert "or deploy both with the Helm chart:\nmodels:\n  - name:" in outcome.out


def test_choices_are_data_with_their_plans(config: str) -> None:
    outcome = run_command("plan", config, *WORDS, "--json")
    found = json.loads(outcome.out)
    assert found["goal"] == "cost"
    assert len(found["plans"]) == len(found["choices"]) == 8
    assert found["choices"][0]["plan"] == found["plans"][0]
    assert found["plans"][0]["starts"] is True
    assert found["config"].startswith("models:")
    assert "replicas: 1" in found["helm_values"]


def test_without_prices_cost_is_unknown(config: str) -> None:
    outcome = run_command("plan", config, "--gpu", "H100", "--goal", "latency", "--gpus", "2")
    assert "unknown" in outcome.out


def test_a_price_is_a_gpu_and_an_amount() -> None:
    assert read_prices(["H100=2.5"]) == {"H100": 2.5}
    for wrong in ("H100", "H100=cheap", "2.5"):
        with pytest.raises(PlanInvalid, match="must be GPU=AMOUNT"):
            read_prices([wrong])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--goal cost", "give each a --price"),
        ("--goal speed", "'speed' is not one of"),
        ("--goal cost --price x", "must be GPU=AMOUNT"),
        ("--goal latency --ttft-slo 0.001", "nothing serves this load"),
        ("--goal latency --engine tgi", "recommendations are made for vLLM"),
    ],
)
def test_wrong_input_is_told(config: str, words: str, problem: str) -> None:
    outcome = run_command("plan", config, "--gpu", "H100", "--gpu", "L40S", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert problem in outcome.err


def test_several_gpus_have_plans_of_their_own(config: str) -> None:
    outcome = run_command("plan", config, "--gpu", "H100", "--gpu", "V100", "--json")
    found = json.loads(outcome.out)["plans"]
    assert [one["gpu"] for one in found] == ["H100"] * 6 + ["V100-32GB"] * 2
    shown = run_command("plan", config, "--gpu", "H100", "--gpu", "V100").out
    assert shown.count("B parameters on") == 2
