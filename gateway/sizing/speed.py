"""How fast a deployment can be: a roofline of bandwidth and arithmetic.

A decoding step reads the weights once for all its sequences, and the KV cache of each; a prompt
is arithmetic. Both take a share of what the data sheet says, and a step has a fixed part.

The shares are assumptions, stated here and in the docs, not measurements of your engines: the
order of deployments is more trustworthy than the numbers. `calibration` takes them from a load
test of yours.
"""

from dataclasses import dataclass

from gateway.sizing.architecture import Architecture, Attention, Experts, LatentAttention
from gateway.sizing.gpus import Gpu
from gateway.sizing.loaded import Stage, read_bytes
from gateway.sizing.parts import Part
from gateway.sizing.plan import Plan, Subject
from gateway.sizing.weights import stage_matrices

_NARROW_SPEEDUP = 1.6  # 8-bit arithmetic over 16-bit, as vLLM's FP8 page states it
_REDUCTION_S = {True: 12e-6, False: 45e-6}  # one all-reduce, with a link and over PCIe


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What is reached of the data sheet's bandwidth and arithmetic, as shares of it.

    `step_s`: scheduling, launching and sampling, in every step, in seconds.
    """

    bandwidth: float = 0.75
    arithmetic: float = 0.5
    step_s: float = 0.001


ASSUMED = Efficiency()


@dataclass(frozen=True, slots=True)
class Machine:
    """One replica: the model on its GPUs."""

    subject: Subject
    plan: Plan
    gpu: Gpu
    stages: tuple[Stage, ...]
    efficiency: Efficiency = ASSUMED

    def step_s(self, sequences: int, context_tokens: float) -> float:
        """One decoding step of so many sequences with so much context each, in seconds."""
        reading = self.reading_s(sequences, context_tokens) / self.efficiency.bandwidth
        computing = sequences * self.prompt_s(1)
        return max(reading, computing) + self.talking_s + self.efficiency.step_s

    def reading_s(self, sequences: int, context_tokens: float) -> float:
        """Reading the weights and the caches at all of the bandwidth."""
        plan = self.plan
        weights = sum(read_bytes(self.subject, stage, sequences) for stage in self.stages)
        cache = sequences * context_tokens * plan.kv_cache_bytes_per_token * plan.pipeline_parallel
        return (weights + cache) / (self.gpu.bandwidth_gb_s * 1e9)

    @property
    def talking_s(self) -> float:
        """The all-reduces of one step, two in a layer."""
        if self.plan.tensor_parallel == 1:
            return 0.0
        return 2 * len(self.subject.model.layers) * _REDUCTION_S[self.gpu.has_link]

    def prompt_s(self, tokens: int) -> float:
        """Reading a prompt of so many tokens: 2 × active weights and the attention's products."""
        model = self.subject.model
        work = 2 * active_parameters(model) * tokens + attention_work(model, tokens)
        rate = self.gpu.tflops * 1e12 * self.efficiency.arithmetic * self.plan.tensor_parallel
        return work / (rate * self._speedup())

    def _speedup(self) -> float:
        narrow = {"fp8": (8, 9), "int8": (7, 5), "nvfp4": (10, 0)}
        needed = narrow.get(self.subject.quantization.name)
        return _NARROW_SPEEDUP if needed is not None and self.gpu.at_least(*needed) else 1.0

    def requests_per_second(self, sequences: int, prompt: int, output: int) -> float:
        """What one replica sustains with so many sequences at a time.

        Every request takes its prompt, and its share of the steps: 1 ÷ (prompt + output ÷
        sequences × step).
        """
        step = self.step_s(sequences, prompt + output / 2)
        return 1 / (self.prompt_s(prompt) + output / sequences * step)


def active_parameters(model: Architecture) -> float:
    """Weights that one token meets: without embeddings, and of the experts the chosen."""
    share = 1.0
    for layer in model.layers:
        if isinstance(layer.feed, Experts):
            share = layer.feed.active / layer.feed.count
    skipped = (Part.EMBEDDING, Part.ROPE, Part.ABSORBED, Part.TOWER)
    counted = 0.0
    for matrix in stage_matrices(model, 0, len(model.layers)):
        if matrix.part is Part.EXPERTS:
            counted += matrix.elements * share
        elif matrix.part not in skipped or (matrix.part is Part.EMBEDDING and model.is_tied):
            counted += matrix.elements
    return counted


def attention_work(model: Architecture, tokens: int) -> float:
    """Products of queries, keys and values: 2 × heads × (key + value size) × tokens² ÷ 2."""
    work = 0.0
    for mixer in model.mixers:
        match mixer:
            case Attention():
                seen = min(tokens, mixer.window or mixer.chunk or tokens)
                work += mixer.heads * (mixer.head_dim + mixer.value_dim) * tokens * seen
            case LatentAttention():
                size = mixer.nope_dim + mixer.rope_dim + mixer.value_dim
                work += mixer.heads * size * tokens * tokens
            case _:
                pass
    return work
