"""The roofline's shares from a load test of a deployment that runs.

Least squares over the tests, each at its own load: the time between tokens is what a step reads
over the bandwidth that is reached, and a fixed part; the first token of a machine with little to
do is the prompt's arithmetic, and a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import PlanInvalid
from gateway.sizing.speed import ASSUMED, Efficiency, Machine

_IDLE = 2.0  # requests at a time, so that a prompt rarely waits for another
_LONG_PROMPT = 256.0  # tokens; the first token of a shorter prompt is mostly a step
_SPREAD = 1.25  # most over least that the steps read, to tell the fixed part from the rest
_LEAST = 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    """One load, and what came of it; times in seconds, tokens of a usual request.

    `prompt_tokens`: without those that came from a cache. `running`: sequences decoding at a time.
    """

    running: float
    prompt_tokens: float
    context_tokens: float
    requests_per_second: float
    ttft_s: float
    inter_token_s: float


def calibrated(machine: Machine, tests: Sequence[Measured]) -> Efficiency:
    """What this machine reached in these tests; what they cannot tell stays as assumed.

    Raises PlanInvalid when they cannot come from this machine, or hold nothing to learn from.
    """
    if not tests:
        raise PlanInvalid("the load test holds no test with answers to learn from")
    arithmetic = _arithmetic(machine, tests)
    bandwidth, step_s = _reading(machine, tests, arithmetic)
    for name, share in (("bandwidth", bandwidth), ("arithmetic", arithmetic)):
        if not _LEAST <= share <= 1:
            raise PlanInvalid(
                f"the load test would need {share:.0%} of the {name} of "
                f"{machine.plan.gpus} × {machine.gpu.name} with {machine.plan.quantization}: "
                "was it run on this deployment?"
            )
    return Efficiency(bandwidth, arithmetic, step_s)


def _arithmetic(machine: Machine, tests: Sequence[Measured]) -> float:
    calmest = min(tests, key=lambda one: one.running)
    if calmest.running > _IDLE or calmest.prompt_tokens < _LONG_PROMPT:
        return ASSUMED.arithmetic
    computing = calmest.ttft_s - calmest.inter_token_s
    if computing <= 0:
        return ASSUMED.arithmetic
    assumed = machine.prompt_s(round(calmest.prompt_tokens))
    return assumed * machine.efficiency.arithmetic / computing


def _reading(machine: Machine, tests: Sequence[Measured], arithmetic: float) -> tuple[float, float]:
    """The share of the bandwidth, and the fixed part of a step."""
    points = [_point(machine, one, arithmetic) for one in tests]
    reads, steps = zip(*points, strict=True)
    if max(reads) >= _SPREAD * min(reads):
        middle, height = sum(reads) / len(reads), sum(steps) / len(steps)
        slope = sum((x - middle) * (y - height) for x, y in points) / sum(
            (x - middle) ** 2 for x in reads
        )
        fixed = height - slope * middle
        if slope > 0 and fixed >= 0:
            return 1 / slope, fixed
        if slope > 0:
            return sum(x * x for x in reads) / sum(x * y for x, y in points), 0.0
    left = [step - ASSUMED.step_s for step in steps]
    # tests that took less than the fixed part cannot tell anything of the rest
    return sum(reads) / max(sum(left), 1e-9), ASSUMED.step_s


def _point(machine: Machine, test: Measured, arithmetic: float) -> tuple[float, float]:
    """What one step read, as seconds at all of the bandwidth, and what it took."""
    prompt_s = machine.prompt_s(round(test.prompt_tokens))
    prompt_s *= machine.efficiency.arithmetic / arithmetic
    step_s = test.inter_token_s / (1 + test.requests_per_second * prompt_s)
    read = machine.reading_s(max(1, round(test.running)), test.context_tokens)
    return read, step_s - machine.talking_s
