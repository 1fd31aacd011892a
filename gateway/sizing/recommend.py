"""Which GPU, how many, in which quantization: the deployments that serve a load, best first.

Every combination that starts is rated by the roofline of `speed`. A replica is loaded to four
fifths of what it sustains; the rest is for bursts, and for the queue before the first token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Architecture
from gateway.sizing.calibration import Measured, calibrated
from gateway.sizing.checkpoint import own_quantization
from gateway.sizing.deployment import Deployment, Engine
from gateway.sizing.formats import DTYPE_BYTES
from gateway.sizing.gpus import Gpu
from gateway.sizing.loaded import loaded_stages
from gateway.sizing.names import find_quantization
from gateway.sizing.plan import Plan, Subject, Weighed
from gateway.sizing.planner import plans
from gateway.sizing.speed import ASSUMED, Efficiency, Machine

BUSY = 0.8
_COUNTS = (1, 2, 4, 8)
# from what costs least accuracy to what costs most
_BY_LOSS = ("fp32", "bf16", "fp8", "mxfp4", "int8", "nvfp4", "awq", "w4a16", "gptq")


class Goal(StrEnum):
    """What matters most."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    QUALITY = "quality"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be served. `requests_per_second` None: as much as one replica can.

    `ttft_slo_s` None: the first token may take any time.
    """

    prompt_tokens: int = 1024
    output_tokens: int = 256
    requests_per_second: float | None = None
    ttft_slo_s: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A deployment that serves the load. Times are in seconds, of one request under that load.

    `hourly_cost`: of all replicas, None without prices.
    """

    plan: Plan
    replicas: int
    total_gpus: int
    sequences: int
    ttft_s: float
    inter_token_s: float
    request_s: float
    requests_per_second: float
    output_tokens_per_second: float
    hourly_cost: float | None
    reasons: list[str]


def recommend(
    model: Architecture,
    wanted: Deployment,
    gpus: Sequence[Gpu],
    workload: Workload,
    goal: Goal,
    *,
    prices: dict[str, float] | None = None,
    most_gpus: int = 8,
    weighed: Weighed | None = None,
    efficiency: Efficiency = ASSUMED,
) -> list[Choice]:
    """The choices that serve the load, best first; at least one.

    `wanted` holds the options that are fixed; `prices`: of a GPU by name, an hour. Raises
    PlanInvalid when nothing serves it, with the nearest reason.
    """
    if wanted.engine is not Engine.VLLM:
        raise PlanInvalid("recommendations are made for vLLM: leave out --engine")
    if goal is Goal.COST and len(gpus) > 1 and not all(g.name in (prices or {}) for g in gpus):
        raise PlanInvalid("to compare the cost of several GPUs, give each a --price GPU=AMOUNT")
    length = wanted.max_model_len or workload.prompt_tokens + workload.output_tokens
    found, refusals = [], []
    for gpu in gpus:
        for count in (n for n in _COUNTS if n <= most_gpus):
            asked = replace(
                wanted, gpu=gpu, gpus=count, tensor_parallel=count, pipeline_parallel=1,
                max_model_len=length,
            )  # fmt: skip
            try:
                made = plans(model, asked, weighed)
            except PlanInvalid as invalid:
                refusals.append(f"{count} × {gpu.name}: {invalid.public}")
                continue
            for plan in made:
                if plan.reason is None and gpu.bandwidth_gb_s:
                    machine = machine_of(model, plan, asked, weighed, efficiency)
                    choice = _choice(machine, workload, (prices or {}).get(gpu.name))
                else:
                    choice = plan.reason or "its bandwidth is not known"
                if isinstance(choice, Choice):
                    found.append(choice)
                else:
                    refusals.append(f"{count} × {gpu.name}, {plan.quantization}: {choice}")
    if not found:
        raise PlanInvalid(f"nothing serves this load; the last tried was {refusals[-1]}")
    return sorted(found, key=lambda choice: _rank(choice, goal))


def machine_of(
    model: Architecture,
    plan: Plan,
    asked: Deployment,
    weighed: Weighed | None = None,
    efficiency: Efficiency = ASSUMED,
) -> Machine:
    """One replica of a plan that starts, for its speed."""
    quantization = own_quantization(model) or find_quantization(plan.quantization)
    subject = Subject(model, quantization, weighed)
    width = DTYPE_BYTES.get(asked.dtype, 2)
    stages = loaded_stages(subject, asked.gpu, width, plan.tensor_parallel, 1)
    return Machine(subject, plan, asked.gpu, tuple(stages), efficiency)


def learned(
    model: Architecture,
    tested: Deployment,
    tests: Sequence[Measured],
    weighed: Weighed | None = None,
) -> Efficiency:
    """What a deployment reached in a load test. Raises PlanInvalid, also where it cannot start.

    Without a quantization it is the model as it is published: the first that is planned.
    """
    if tested.max_model_len is None and tests:
        longest = max(math.ceil(2 * test.context_tokens) for test in tests)
        tested = replace(tested, max_model_len=longest)
    plan = plans(model, tested, weighed)[0]
    if plan.reason is not None:
        raise PlanInvalid(f"what was tested cannot start: {plan.reason}")
    return calibrated(machine_of(model, plan, tested, weighed), tests)


def _choice(machine: Machine, workload: Workload, price: float | None) -> Choice | str:
    """The choice, or why it is none."""
    plan = machine.plan
    prompt, output = workload.prompt_tokens, workload.output_tokens
    sequences = min(
        plan.max_num_seqs, int(plan.max_concurrency * plan.max_model_len // (prompt + output))
    )
    sustained = machine.requests_per_second(max(1, sequences), prompt, output)
    rate = workload.requests_per_second
    replicas = 1 if rate is None else max(1, math.ceil(rate / (sustained * BUSY)))
    load = BUSY if rate is None else rate / replicas / sustained
    served = sustained * load
    running = _running(machine, served, max(1, sequences), workload)
    step = machine.step_s(running, prompt + output / 2)
    alone = machine.prompt_s(prompt)
    ttft = alone * (1 + load / (2 * (1 - load))) + step
    if workload.ttft_slo_s is not None and ttft > workload.ttft_slo_s:
        return f"the first token takes {ttft:.2f} s, {workload.ttft_slo_s:g} are allowed"
    between = step + served * alone * step  # other prompts come in between
    total = replicas * plan.gpus
    return Choice(
        plan=plan,
        replicas=replicas,
        total_gpus=total,
        sequences=running,
        ttft_s=ttft,
        inter_token_s=between,
        request_s=ttft + output * between,
        requests_per_second=served * replicas,
        output_tokens_per_second=served * replicas * output,
        hourly_cost=None if price is None else price * total,
        reasons=[
            f"{replicas} replica{'s' if replicas > 1 else ''} of {plan.gpus} × {plan.gpu}: each "
            f"sustains {sustained:.2f} requests/s and is {load:.0%} busy",
            f"{plan.kv_cache_tokens:,} tokens of KV cache hold {sequences} sequences of "
            f"{prompt + output}",
            f"accuracy loss: {plan.accuracy_loss}",
        ],
    )


def _running(machine: Machine, served: float, most: int, workload: Workload) -> int:
    """Sequences that run at a time under the load: by Little's law, as few as keep up."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        rate = machine.requests_per_second(middle, workload.prompt_tokens, workload.output_tokens)
        if rate >= served:
            high = middle
        else:
            low = middle + 1
    return low


def _rank(choice: Choice, goal: Goal) -> tuple[float, ...]:
    """Smaller is better."""
    loss = (
        float(_BY_LOSS.index(choice.plan.quantization))
        if (choice.plan.quantization in _BY_LOSS)
        else float(len(_BY_LOSS))
    )
    cost = float(choice.total_gpus) if choice.hourly_cost is None else choice.hourly_cost
    each = choice.output_tokens_per_second / choice.total_gpus
    match goal:
        case Goal.LATENCY:
            return choice.request_s, cost, loss
        case Goal.THROUGHPUT:
            return -each, loss, cost
        case Goal.QUALITY:
            return loss, cost, choice.request_s
        case _:
            return cost, loss, choice.request_s
