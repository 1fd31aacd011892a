import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PlanInvalid
from gateway.sizing.calibration import Measured, calibrated
from gateway.sizing.speed import ASSUMED, Efficiency, Machine
from tests.support.models import a_machine

PROMPT, OUTPUT = 1024, 256


def a_test(machine: Machine, running: int, *, prompt: int = PROMPT) -> Measured:
    """What a load test of this machine shows with so many requests at a time."""
    context = prompt + OUTPUT / 2
    step = machine.step_s(running, context)
    served = machine.requests_per_second(running, prompt, OUTPUT)
    return Measured(
        running=running,
        prompt_tokens=prompt,
        context_tokens=context,
        requests_per_second=served,
        ttft_s=machine.prompt_s(prompt) + step * (1 + served * machine.prompt_s(prompt)),
        inter_token_s=step * (1 + served * machine.prompt_s(prompt)),
    )


def reached(*running: int, real: Efficiency, prompt: int = PROMPT) -> Efficiency:
    true = a_machine(efficiency=real)
    return calibrated(a_machine(), [a_test(true, n, prompt=prompt) for n in running])


@given(bandwidth=st.floats(0.3, 0.95), arithmetic=st.floats(0.2, 0.9), step_s=st.floats(0, 0.004))
def test_a_sweep_gives_all_three_back(bandwidth: float, arithmetic: float, step_s: float) -> None:
    found = reached(1, 8, 64, real=Efficiency(bandwidth, arithmetic, step_s))
    assert found.bandwidth == pytest.approx(bandwidth, rel=0.01)
    assert found.arithmetic == pytest.approx(arithmetic, rel=0.01)
    assert found.step_s == pytest.approx(step_s, abs=1e-4)


def test_a_machine_that_is_quicker_under_load_leaves_the_fixed_part_as_assumed() -> None:
    slow, quick = (Measured(n, PROMPT, PROMPT, 0.01, 0.06, s) for n, s in ((1, 0.02), (400, 0.019)))
    found = calibrated(a_machine(), [slow, quick])
    assert found.step_s == ASSUMED.step_s
    assert 0 < found.bandwidth < 1


def test_one_load_leaves_the_fixed_part_as_assumed() -> None:
    found = reached(1, real=Efficiency(0.6, 0.4, ASSUMED.step_s))
    assert found.bandwidth == pytest.approx(0.6, rel=0.01)
    assert found.step_s == ASSUMED.step_s


@pytest.mark.parametrize(("running", "prompt"), [(8, PROMPT), (1, 64)])
def test_busy_machines_and_short_prompts_say_nothing_of_arithmetic(
    running: int, prompt: int
) -> None:
    found = reached(running, real=Efficiency(0.6, 0.3, 0.001), prompt=prompt)
    assert found.arithmetic == ASSUMED.arithmetic


def test_a_first_token_as_quick_as_a_later_one_says_nothing_of_arithmetic() -> None:
    odd = Measured(1.0, PROMPT, PROMPT, 1.0, ttft_s=0.01, inter_token_s=0.01)
    assert calibrated(a_machine(), [odd]).arithmetic == ASSUMED.arithmetic


def test_more_than_the_data_sheet_is_another_machine() -> None:
    quick = Measured(1.0, PROMPT, PROMPT, 1.0, ttft_s=1.0, inter_token_s=0.002)
    with pytest.raises(PlanInvalid, match=r"of the bandwidth of 1 × H100 with bf16: was it run"):
        calibrated(a_machine(), [quick])
    quick = Measured(1.0, PROMPT, PROMPT, 1.0, ttft_s=0.0085, inter_token_s=0.008)
    with pytest.raises(PlanInvalid, match="of the arithmetic of"):
        calibrated(a_machine(), [quick])


def test_nothing_measured_teaches_nothing() -> None:
    with pytest.raises(PlanInvalid, match="no test with answers"):
        calibrated(a_machine(), [])
