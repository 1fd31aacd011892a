"""`gateway plan --calibrate`."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.calibration import deployed_on, read_calibration
from gateway.errors import PlanInvalid
from gateway.loadtest.arrivals import ClosedLoop
from gateway.sizing.speed import Efficiency, Machine
from tests.support.bench_reports import a_report, a_test
from tests.support.command import Outcome, run_command
from tests.support.models import CONFIGS, a_deployment, a_machine
from tests.support.outcomes import an_outcome

REAL = Efficiency(0.6, 0.4, 0.002)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIGS["llama-3.1-8b"]))
    return path


def a_spread(value: float) -> dict[str, float]:
    return {"mean": value, "p50": value}


def a_result(path: Path, machine: Machine, prompt: int = 1024, output: int = 256) -> Path:
    """What `gateway bench --json` would tell of this machine at three loads."""
    tests = []
    for running in (1, 8, 64):
        served = machine.requests_per_second(running, prompt, output)
        between = machine.step_s(running, prompt + output / 2)
        between *= 1 + served * machine.prompt_s(prompt)
        ttft = machine.prompt_s(prompt) + between
        tests.append(
            {
                "whole": 10,
                "served_per_s": served,
                "prompt_tokens": 10 * prompt,
                "cached_tokens": 0,
                "completion_tokens": 10 * output,
                "ttft_ms": a_spread(1000 * ttft),
                "tpot_ms": a_spread(1000 * between),
                "e2e_ms": a_spread(1000 * (ttft + running / served)),
            }
        )
    path.write_text(json.dumps({"version": 1, "tests": tests}))
    return path


def recommended(config: Path, *options: str) -> Outcome:
    return run_command("plan", str(config), "--gpu", "H100", "--goal", "throughput", *options)


def test_speeds_are_those_of_the_load_test(config: Path, tmp_path: Path) -> None:
    result = a_result(tmp_path / "bench.json", a_machine(efficiency=REAL))
    options = ("--calibrate", str(result), "--calibrate-on", "H100:bf16", "--json")
    told: dict[str, Any] = json.loads(recommended(config, *options).out)
    assert told["efficiency"]["is_measured"] is True
    assert told["efficiency"]["bandwidth"] == pytest.approx(0.6, rel=0.01)
    assert told["efficiency"]["arithmetic"] == pytest.approx(0.4, rel=0.01)
    assert told["efficiency"]["step_s"] == pytest.approx(0.002, abs=1e-4)
    assumed = json.loads(recommended(config, "--json").out)
    assert assumed["efficiency"]["is_measured"] is False
    best = told["choices"][0]["output_tokens_per_second"]
    assert best < assumed["choices"][0]["output_tokens_per_second"]


def test_the_shares_are_told(config: Path, tmp_path: Path) -> None:
    result = a_result(tmp_path / "bench.json", a_machine(efficiency=REAL))
    options = ("-q", "bf16", "--max-model-len", "2048")
    shown = recommended(config, "--calibrate", str(result), *options)
    assert shown.code == 0
    assert "calibrated: 60% of the bandwidth, 40% of the arithmetic, 2.00 ms" in shown.out


def test_another_deployment_is_refused(config: Path, tmp_path: Path) -> None:
    result = a_result(tmp_path / "bench.json", a_machine(efficiency=REAL))
    shown = recommended(config, "--calibrate", str(result), "--calibrate-on", "L4:bf16")
    assert shown.code == 2
    assert "of the bandwidth of 1 × L4 with bf16: was it run on this deployment?" in shown.err


def test_what_could_not_start_was_not_tested(config: Path, tmp_path: Path) -> None:
    result = a_result(tmp_path / "bench.json", a_machine(efficiency=REAL))
    shown = recommended(config, "--calibrate", str(result), "--calibrate-on", "A2:bf16")
    assert shown.code == 2
    assert "what was tested cannot start: the weights take" in shown.err


def test_memory_needs_no_speeds(config: Path, tmp_path: Path) -> None:
    result = a_result(tmp_path / "bench.json", a_machine())
    shown = run_command("plan", str(config), "--gpu", "H100", "--calibrate", str(result))
    assert shown.code == 2
    assert "--calibrate is of use with --goal" in shown.err


@pytest.mark.parametrize(
    ("told", "gpu", "gpus", "quantization"),
    [
        ("L4", "L4", 1, "bf16"),
        ("2xL4", "L4", 2, "bf16"),
        ("4xH100:fp8", "H100", 4, "fp8"),
        ("A100-80GB:awq", "A100-80GB", 1, "awq"),
    ],
)
def test_deployments_are_named_in_short(told: str, gpu: str, gpus: int, quantization: str) -> None:
    found = deployed_on(told, a_deployment(quantization="bf16"))
    assert (found.gpu.name, found.gpus, found.quantization) == (gpu, gpus, quantization)


def test_a_deployment_without_a_gpu_is_refused() -> None:
    with pytest.raises(PlanInvalid, match=r'--calibrate-on ":fp8" must be like H100'):
        deployed_on(":fp8", a_deployment())


def test_a_real_report_can_be_read(tmp_path: Path) -> None:
    outcomes = [an_outcome(i, at_s=i / 10) for i in range(40)]
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(a_report(a_test(ClosedLoop(1), outcomes)).as_dict()))
    (measured,) = read_calibration(path)
    assert measured.running > 0
    assert measured.context_tokens > measured.prompt_tokens > 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no result of gateway bench --json"),
        ('{"tests": []}', "missing required field `version`"),
        ('{"version": 9, "tests": []}', "has version 9; known is 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(PlanInvalid, match=told):
        read_calibration(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid, match="No such file"):
        read_calibration(tmp_path / "none.json")


def test_tests_without_whole_streams_teach_nothing(tmp_path: Path) -> None:
    nothing = {
        "whole": 0, "served_per_s": 0, "prompt_tokens": 0, "cached_tokens": 0,
        "completion_tokens": 0, "ttft_ms": None, "tpot_ms": None, "e2e_ms": None,
    }  # fmt: skip
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"version": 1, "tests": [nothing]}))
    assert read_calibration(path) == []
