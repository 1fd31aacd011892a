"""Plans as data, and as text for people: one line of what it is about, and rows of tables."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict

from gateway.sizing.deployment import Engine
from gateway.sizing.plan import Plan

HEADERS = (
    "quantization", "starts", "weights\nGiB", "activation\nGiB", "other\nGiB", "graphs\nGiB",
    "KV cache\nGiB", "KV cache\ntokens", "sequences\nat once", "longest\nthat fits",
    "tokens/s\nat most", "accuracy loss",
)  # fmt: skip


def plan_data(plan: Plan) -> dict[str, object]:
    """Every field under its name; sizes to a tenth of a MiB."""
    data = _rounded(asdict(plan))
    data["kv_cache_gib_range"] = [round(bound, 4) for bound in plan.kv_cache_gib_range]
    data["stages"] = [_rounded(asdict(stage)) for stage in plan.stages]
    return data


def _rounded(fields: dict[str, object]) -> dict[str, object]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in fields.items()
    }


def summary(model: str, plan: Plan) -> str:
    """What the plans are about."""
    cut = f"tensor parallel {plan.tensor_parallel}" if plan.tensor_parallel > 1 else ""
    if plan.pipeline_parallel > 1:
        cut = ", ".join(filter(None, (cut, f"pipeline parallel {plan.pipeline_parallel}")))
    many = f"{plan.gpus} × " if plan.gpus > 1 else ""
    return (
        f"{model}: {plan.parameters / 1e9:.2f} B parameters on {many}{plan.gpu} "
        f"({plan.gpu_memory_gib:g} GiB){', ' + cut if cut else ''}, {plan.engine} "
        f"{plan.engine_version}, up to {plan.max_model_len} tokens in {plan.max_num_seqs} sequences"
    )


def table(plans: Sequence[Plan]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Headers, and a row for each plan; sizes are per GPU."""
    return HEADERS, [
        (
            plan.quantization,
            _yes(plan),
            f"{plan.weights_gib:.2f}",
            f"{plan.activation_gib:.2f}",
            f"{plan.overhead_gib:.2f}",
            f"{plan.graphs_gib:.2f}",
            f"{plan.kv_cache_gib:.2f}",
            f"{plan.kv_cache_tokens:,}",
            f"{plan.max_concurrency:.1f}",
            f"{plan.max_model_len_that_fits:,}",
            _speed(plan),
            plan.accuracy_loss,
        )
        for plan in plans
    ]


def one_plan(plan: Plan) -> list[Sequence[str]]:
    """A row for each figure of one plan."""
    low, high = plan.kv_cache_gib_range
    rows: list[Sequence[str]] = [
        ("quantization", plan.quantization, "; ".join(plan.notes)),
        ("starts", _yes(plan), ""),
        ("weights", f"{plan.weights_gib:.2f} GiB", ""),
        (
            "activation",
            f"{plan.activation_gib:.2f} GiB",
            f"at {plan.max_num_batched_tokens} tokens",
        ),
        ("libraries and buffers", f"{plan.overhead_gib:.2f} GiB", "measured elsewhere"),
        ("CUDA graphs", f"{plan.graphs_gib:.2f} GiB", "estimated"),
        ("KV cache", f"{plan.kv_cache_gib:.2f} GiB", f"between {low:.2f} and {high:.2f}"),
        ("  a token", f"{plan.kv_cache_bytes_per_token:,} bytes", "of all layers"),
        ("  tokens", f"{plan.kv_cache_tokens:,}", ""),
        ("sequences at once", f"{plan.max_concurrency:.1f}", f"of {plan.max_model_len} tokens"),
        ("longest that fits", f"{plan.max_model_len_that_fits:,} tokens", "one sequence"),
        ("decode speed at most", _speed(plan), "tokens/s of one sequence, by bandwidth"),
        ("accuracy loss", plan.accuracy_loss, plan.accuracy_source),
    ]
    rows += [
        (
            f"stage {number}",
            f"{stage.kv_cache_gib:.2f} GiB of KV cache",
            f"layers {stage.first_layer} to {stage.end_layer - 1}: weights "
            f"{stage.weights_gib:.2f}, activation {stage.activation_gib:.2f}",
        )
        for number, stage in enumerate(plan.stages, 1)
    ]
    return rows


def start_command(model: str, plan: Plan) -> str:
    """The engine's command line."""
    match plan.engine:
        case Engine.TGI:
            words = ["text-generation-launcher", "--model-id", model]
        case Engine.LLAMACPP:
            words = ["llama-server", "-m", model]
        case _:
            words = ["vllm", "serve", model]
    return shlex.join([*words, *plan.flags])


def _yes(plan: Plan) -> str:
    return "yes" if plan.starts else "no"


def _speed(plan: Plan) -> str:
    ceiling = plan.decode_tokens_per_second_ceiling
    return "unknown" if ceiling is None else f"{ceiling:,.0f}"
