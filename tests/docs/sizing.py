"""The figures of docs/gpu-memory.md and docs/quantization.md: each is computed by the planner."""

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.sizing.formats import GGUF_TYPES
from gateway.sizing.gpus import GPUS, find_gpu
from gateway.sizing.plan import Plan
from gateway.sizing.quantization import QUANTIZATIONS, Quantization, is_offered
from tests.support.measured import MEASURED, planned
from tests.support.models import a_plan
from tests.support.published_speeds import STEPS, THROUGHPUTS

Table = tuple[Sequence[str], Iterable[Sequence[str]]]

_LENGTH = 8192
_GENERATIONS = ("V100", "T4", "A100", "L40S", "H100", "B200", "MI300X")


def gpus() -> Table:
    """Every GPU that is known."""
    return ("GPU", "GiB", "GB/s", "compute capability", "figures from"), [
        (
            gpu.name,
            f"{gpu.memory_gib:g}",
            f"{gpu.bandwidth_gb_s:g}",
            ".".join(map(str, gpu.capability)) if gpu.capability else "AMD",
            gpu.source,
        )
        for gpu in GPUS
    ]


def _figures(plan: Plan) -> tuple[str, ...]:
    return (
        f"{plan.weights_gib:.2f}",
        f"{plan.activation_gib:.2f}",
        f"{plan.overhead_gib:.2f}",
        f"{plan.graphs_gib:.2f}",
        f"{plan.kv_cache_gib:.2f}",
        f"{plan.kv_cache_tokens:,}",
        f"{plan.max_concurrency:.1f}",
    )


_SIZES = ("weights", "activation", "other", "graphs", "KV cache", "KV tokens", "sequences at once")

LEVERS: Sequence[tuple[str, dict[str, Any]]] = (
    ("as vLLM starts it", {}),
    ("`--quantization fp8`", {"quantization": "fp8"}),
    ("an AWQ checkpoint", {"quantization": "awq"}),
    ("`--kv-cache-dtype fp8`", {"kv_cache_dtype": "fp8"}),
    ("`--max-num-seqs 256`", {"max_num_seqs": 256}),
    ("`--max-num-batched-tokens 2048`", {"max_num_batched_tokens": 2048, "max_num_seqs": 1024}),
    ("`--enforce-eager`", {"is_eager": True}),
    ("`--gpu-memory-utilization 0.95`", {"gpu_memory_utilization": 0.95}),
    ("`--cpu-offload-gb 8`", {"cpu_offload_gib": 8}),
    ("two GPUs, tensor parallel", {"gpus": 2}),
    ("two GPUs, pipeline parallel", {"gpus": 2, "pipeline_parallel": 2}),
)


def levers() -> Table:
    """What each option changes for Llama-3.1-8B on an H100."""
    return ("option", *_SIZES), [
        (name, *_figures(a_plan(max_model_len=_LENGTH, **options))) for name, options in LEVERS
    ]


def measured() -> Table:
    """Planned against measured."""
    rows = []
    for run in MEASURED:
        made = planned(run.model)
        rows.append(
            (
                run.model,
                f"{run.weights:.2f} / {made.weights_gib:.2f}",
                f"{run.activation:.2f} / {made.activation_gib:.2f}",
                f"{run.overhead:.2f} / {made.overhead_gib:.2f}",
                f"{run.cache:.2f} / {made.kv_cache_gib:.2f}",
                _signed(made.kv_cache_gib / run.cache - 1),
            )
        )
    return ("model", "weights", "activation", "libraries", "KV cache", "error"), rows


def _signed(error: float) -> str:
    return f"{error:+.2%}".replace("-0.00%", "+0.00%").replace("%", " %")


def mean_error() -> str:
    """Over all measured runs."""
    errors = [abs(planned(run.model).kv_cache_gib / run.cache - 1) for run in MEASURED]
    mean = sum(errors) / len(errors)
    return f"{100 * mean:.2f} % on average, {100 * max(errors):.2f} % at most"


_KINDS: Sequence[tuple[str, str]] = (
    ("multi-head", "codellama-7b"),
    ("grouped", "llama-3.1-8b"),
    ("grouped, few heads", "qwen2.5-7b"),
    ("latent (MLA)", "deepseek-v2-lite"),
    ("window in all layers", "mistral-7b-v0.1"),
    ("window in 5 of 6 layers", "gemma-3-12b"),
    ("window in half the layers, experts", "gpt-oss-20b"),
    ("states and attention", "nemotron-h-8b"),
)


def architectures() -> Table:
    """What a token costs, and what that comes to."""
    rows = []
    for kind, name in _KINDS:
        made = a_plan(name)
        rows.append(
            (
                kind,
                name,
                f"{made.kv_cache_bytes_per_token:,}",
                f"{made.kv_cache_gib:.1f}",
                f"{made.max_model_len:,}",
                f"{made.max_concurrency:.1f}",
            )
        )
    headers = ("attention", "model", "bytes a token", "KV cache GiB", "longest", "so long at once")
    return headers, rows


# tokens a second of Llama-3.1-8B, one sequence, as llama.cpp's own table publishes them
_PUBLISHED_SPEED = {"f16": 29.2, "q8_0": 50.9, "q6_k": 58.7, "q5_k_m": 67.2, "q4_k_m": 71.9}


def roofline() -> Table:
    """How much faster than 16 bits: published, and by bandwidth alone."""
    bits = {one.name: one.model_bits for one in GGUF_TYPES}
    rows = []
    for name, speed in _PUBLISHED_SPEED.items():
        real, planned_ = speed / _PUBLISHED_SPEED["f16"], bits["f16"] / bits[name]
        rows.append(
            (f"`{name}`", f"{real:.2f}", f"{planned_:.2f}", f"{100 * (planned_ / real - 1):+.0f} %")
        )
    return ("type", "published", "roofline", "error"), rows


def throughputs() -> Table:
    """Output tokens a second at saturation: published, and the roofline's."""
    rows = []
    for one in THROUGHPUTS:
        for (prompt, output), published in one.measured.items():
            made = one.planned(prompt, output)
            rows.append(
                (
                    one.model,
                    f"{one.gpus} × {one.gpu}",
                    f"{prompt:,} / {output:,}",
                    f"{published:,}",
                    f"{made:,.0f}",
                    f"{100 * (made / published - 1):+.0f} %",
                )
            )
    return ("model", "on", "tokens in / out", "published", "roofline", "error"), rows


def throughput_error() -> str:
    """Over all published throughputs."""
    errors = [
        abs(one.planned(*lengths) / published - 1)
        for one in THROUGHPUTS
        for lengths, published in one.measured.items()
    ]
    mean = sum(errors) / len(errors)
    return f"{100 * mean:.0f} % on average, {100 * max(errors):.0f} % at most"


def steps() -> Table:
    """Milliseconds between two tokens: published, and the roofline's."""
    return ("model", "on", "sequences", "published ms", "roofline ms", "error", "source"), [
        (
            one.model,
            f"{one.gpus} × {one.gpu}",
            str(one.sequences),
            f"{one.measured_ms:.1f}",
            f"{one.planned_ms:.1f}",
            f"{100 * (one.planned_ms / one.measured_ms - 1):+.0f} %",
            one.source,
        )
        for one in STEPS
    ]


def quantizations() -> Table:
    """Every quantization: how small, where, at what loss."""
    rows = []
    for one in QUANTIZATIONS:
        small = a_plan(quantization=one.name, engine_version="0.26")
        large = a_plan("llama-3.1-70b", quantization=one.name, engine_version="0.26")
        rows.append(
            (
                f"`{one.name}`",
                f"{one.bits or 16:.4g}",
                f"{small.weights_gib:.1f}",
                f"{large.weights_gib:.1f}",
                _engines(one),
                f"{one.loss} ({one.loss_source})",
                one.note,
            )
        )
    headers = ("name", "bits", "8B, GiB", "70B, GiB", "engines", "accuracy loss (source)", "note")
    return headers, rows


def _engines(one: Quantization) -> str:
    names = (("vLLM", one.vllm), ("TGI", one.tgi))
    return ", ".join(name for name, own in names if own is not None)


def hardware() -> Table:
    """Which GPU is offered which quantization."""
    shown = [one for one in QUANTIZATIONS if one.offered is not None]
    return ("", *_GENERATIONS), [
        (
            f"`{one.name}`",
            *("yes" if is_offered(one, find_gpu(gpu)) else "" for gpu in _GENERATIONS),
        )
        for one in shown
    ]


def gguf() -> Table:
    """llama.cpp's types."""
    return ("type", "bits in a block", "bits on average", "8B, GiB", "perplexity added"), [
        (
            f"`{one.name}`",
            f"{one.block_bits:g}",
            f"{one.model_bits:g}",
            f"{8.03e9 * one.model_bits / 8 / 2**30:.2f}",
            "" if one.perplexity is None else f"{one.perplexity:g}",
        )
        for one in GGUF_TYPES
    ]
