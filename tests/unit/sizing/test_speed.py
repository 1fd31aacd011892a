import pytest

from gateway.sizing.speed import ASSUMED, active_parameters, attention_work
from tests.support.models import a_machine, a_model
from tests.support.published_speeds import STEPS, THROUGHPUTS, Step, Throughput


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("llama-3.1-8b", 7.5),
        ("qwen3-30b-a3b", 3.0),
        ("mixtral-8x7b", 12.7),
        ("deepseek-v3", 36.6),
        ("gemma-2-9b", 9.24),
    ],
)
def test_a_token_meets_the_weights_that_are_active(name: str, billions: float) -> None:
    assert active_parameters(a_model(name)) / 1e9 == pytest.approx(billions, rel=0.03)


def test_half_the_bits_are_nearly_twice_as_fast_alone() -> None:
    wide, narrow = a_machine(), a_machine(quantization="fp8")
    ratio = (wide.step_s(1, 0) - ASSUMED.step_s) / (narrow.step_s(1, 0) - ASSUMED.step_s)
    assert 1.8 < ratio < 2


def test_a_step_reads_the_cache_of_every_sequence() -> None:
    machine = a_machine()
    assert machine.step_s(64, 8192) > machine.step_s(64, 0) > machine.step_s(1, 0) - 1e-9


def test_many_sequences_are_bound_by_arithmetic() -> None:
    machine = a_machine(gpu="L4", quantization="awq")
    assert machine.step_s(2000, 0) > 1.9 * machine.step_s(1000, 0) - ASSUMED.step_s


def test_several_gpus_talk_in_every_layer() -> None:
    one, two = a_machine(), a_machine(gpus=2)
    assert two.step_s(1, 0) > one.step_s(1, 0) / 2
    slow, fast = a_machine(gpu="L40S", gpus=2), a_machine(gpu="A100", gpus=2)
    assert slow.step_s(1, 0) > fast.step_s(1, 0)


def test_prompts_are_arithmetic_and_narrow_numbers_are_faster() -> None:
    wide, narrow, old = (
        a_machine(),
        a_machine(quantization="fp8"),
        a_machine(gpu="A100", quantization="fp8"),
    )
    assert wide.prompt_s(1024) / narrow.prompt_s(1024) == pytest.approx(1.6)
    assert old.prompt_s(1024) > 3 * wide.prompt_s(1024)


def test_few_sequences_meet_few_experts() -> None:
    machine = a_machine("mixtral-8x7b", gpus=2)
    assert machine.step_s(64, 0) > 2 * machine.step_s(1, 0)


def test_attention_grows_with_the_square_unless_it_has_a_window() -> None:
    whole, window = a_model("mistral-7b-v0.3"), a_model("mistral-7b-v0.1")
    assert attention_work(whole, 8192) == 4 * attention_work(whole, 4096)
    assert attention_work(window, 8192) == 2 * attention_work(window, 4096)
    assert attention_work(a_model("deepseek-v3"), 64) > 0
    assert attention_work(a_model("mamba-2.8b"), 64) == 0


def test_more_sequences_sustain_more_requests() -> None:
    machine = a_machine()
    few, many = (machine.requests_per_second(n, 1024, 256) for n in (4, 64))
    assert many > 3 * few


@pytest.mark.parametrize("published", THROUGHPUTS, ids=lambda one: f"{one.model}-{one.gpu}")
def test_throughputs_are_near_the_published(published: Throughput) -> None:
    errors = [
        abs(published.planned(*lengths) / measured - 1)
        for lengths, measured in published.measured.items()
    ]
    assert sum(errors) / len(errors) < 0.2
    assert max(errors) < 0.5


@pytest.mark.parametrize("published", STEPS, ids=lambda one: f"{one.model}-{one.gpu}")
def test_steps_are_near_the_published(published: Step) -> None:
    assert published.planned_ms == pytest.approx(published.measured_ms, rel=0.25)
