"""Speeds that others published, to hold the roofline against. Nothing is fitted to them."""

from dataclasses import dataclass

from gateway.sizing.gpus import find_gpu
from gateway.sizing.recommend import BUSY, Goal, Workload, recommend
from tests.support.models import a_deployment, a_machine, a_model

_TENSORRT = "TensorRT-LLM 1.0, docs/source/performance/perf-overview.md"
_VLLM_CI = "vLLM's performance benchmark, build 9515: batch of 8, 32 tokens in, 128 out"


@dataclass(frozen=True, slots=True)
class Throughput:
    """Output tokens a second at saturation, by (prompt, output) tokens of every request."""

    model: str
    gpu: str
    gpus: int
    measured: dict[tuple[int, int], float]
    source: str = _TENSORRT

    def planned(self, prompt: int, output: int) -> float:
        """The roofline's figure: FP8 weights and cache, 95 % of the memory, as was measured."""
        wanted = a_deployment(
            self.gpu,
            quantization="fp8",
            kv_cache_dtype="fp8",
            max_num_seqs=2048,
            gpu_memory_utilization=0.95,
        )
        choices = recommend(
            a_model(self.model),
            wanted,
            [find_gpu(self.gpu)],
            Workload(prompt, output),
            Goal.THROUGHPUT,
            most_gpus=self.gpus,
        )
        best = next(one for one in choices if one.plan.gpus == self.gpus)
        return best.output_tokens_per_second / BUSY


def _by_length(*tokens_per_second: float) -> dict[tuple[int, int], float]:
    lengths = (
        (128, 128), (128, 2048), (128, 4096), (500, 2000), (1000, 1000), (1000, 2000),
        (2048, 128), (2048, 2048), (5000, 500), (20000, 2000),
    )  # fmt: skip
    return dict(zip(lengths, tokens_per_second, strict=True))


THROUGHPUTS = (
    Throughput("llama-3.1-8b", "H100", 1, _by_length(
        28312, 22714, 14325, 17660, 15220, 13899, 3450, 9305, 3459, 1351)),
    Throughput("llama-3.1-8b", "H200", 1, _by_length(
        27911, 26221, 18027, 20770, 17744, 16828, 3538, 12194, 3902, 1804)),
    Throughput("llama-3.1-70b", "H100", 2, _by_length(
        6378, 6651, 4199, 5222, 4205, 4146, 762, 3082, 898, 437)),
    Throughput("llama-3.1-70b", "H200", 1, _by_length(
        3803, 4336, 2872, 3666, 2909, 2994, 442, 2003, 566, 283)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """Milliseconds between two tokens of vLLM in 16 bits, with so many sequences running."""

    model: str
    gpu: str
    gpus: int
    sequences: int
    context_tokens: int
    measured_ms: float
    source: str

    @property
    def planned_ms(self) -> float:
        machine = a_machine(self.model, self.gpu, gpus=self.gpus)
        return 1000 * machine.step_s(self.sequences, self.context_tokens)


STEPS = (
    Step("llama-3.1-8b", "H200", 1, 8, 96, 833.4 / 128, _VLLM_CI),
    Step("llama-3.1-70b", "H200", 4, 8, 96, 2077.5 / 128, _VLLM_CI),
    Step("mixtral-8x7b", "H200", 2, 8, 96, 1917.4 / 128, _VLLM_CI),
    Step("llama-3.1-8b", "H100", 1, 1, 200, 6.48, "InferenceBench, concurrency sweep, vLLM 0.21"),
    Step("llama-3.1-8b", "A100-40GB", 1, 1, 1088, 1000 / 75,
         "J. Musgrave, vLLM throughput-latency sweep on A100, vLLM 0.23"),
    Step("qwen2.5-7b", "RTX-A6000", 1, 1, 100, 21.9, "AI Factory Ops Lab, vLLM 0.23"),
    Step("qwen2.5-7b", "RTX-A6000", 1, 64, 100, 27.5, "AI Factory Ops Lab, vLLM 0.23"),
)  # fmt: skip
