"""What differs between versions of vLLM in how memory is counted, and what it defaults to.

Each fact is a property that names the version it changed in, as it was read in the released
wheels (`vllm/v1/worker`, `vllm/v1/core`, `vllm/engine/arg_utils.py`, `vllm/envs.py`).
"""

import re
from dataclasses import dataclass

from typing_extensions import override

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Architecture
from gateway.sizing.gpus import Gpu

NEWEST = (0, 33)
OLDEST = (0, 9)

# the classes that had the second model runner before every dense model got it in 0.26
_EARLY_SECOND_RUNNER: dict[tuple[int, int], frozenset[str]] = {
    (0, 22): frozenset({"qwen3"}),
    (0, 24): frozenset({"qwen3", "deepseek_v2", "qwen2_moe", "granitemoe", "llama", "mistral"}),
}


@dataclass(frozen=True, slots=True, order=True)
class VllmVersion:
    """A release of vLLM, as far as its memory is concerned: 0.19 is (0, 19)."""

    major: int
    minor: int

    @override
    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def _since(self, minor: int) -> bool:
        return (self.major, self.minor) >= (0, minor)

    @property
    def utilization(self) -> float:
        """The default of --gpu-memory-utilization."""
        return 0.92 if self._since(20) else 0.90

    @property
    def counts_graphs(self) -> bool:
        """CUDA graphs are estimated before the KV cache is sized, and taken from it."""
        return self._since(20)

    @property
    def counts_consumed(self) -> bool:
        """What the process took of the device is counted, its own buffers included."""
        return self._since(27)

    @property
    def has_large_tier(self) -> bool:
        """GPUs of 160 GiB and more have defaults of their own."""
        return self._since(28)

    @property
    def reports_concurrency(self) -> bool:
        """The KV cache size told is concurrency × length; before, blocks ÷ groups × block size."""
        return self._since(20)

    @property
    def holds_null_block(self) -> bool:
        """The block that is never used is kept back when the longest request is checked."""
        return self._since(29)

    @property
    def sorts_without_triton(self) -> bool:
        """Top-k and top-p sort all logits with torch: 38 bytes each at the peak."""
        return not self._since(17)

    @property
    def keeps_expert_buffers(self) -> bool:
        """Mixtures of experts work in buffers that stay; before, they came and went."""
        return self._since(15)

    @property
    def follows_cache_scheme(self) -> bool:
        """A checkpoint that asks for an 8-bit KV cache gets it without --kv-cache-dtype."""
        return self._since(14)

    @property
    def samples_with_flashinfer(self) -> bool:
        return self._since(21)

    @property
    def warms_sampler(self) -> bool:
        """The second runner's profile runs the whole sampler, not only its greedy path."""
        return self._since(33)

    @property
    def overlaps_batches(self) -> bool:
        """Windows keep the tokens of every batch in flight, which are two with one stage."""
        return self._since(26)

    @property
    def caches_state_prefixes(self) -> bool:
        """Prefixes of hybrid models are cached, for which each state has a second block."""
        return self._since(26)

    @property
    def has_bitsandbytes(self) -> bool:
        return not self._since(27)

    @property
    def has_gguf(self) -> bool:
        return not self._since(24)

    def uses_second_runner(self, model: Architecture) -> bool:
        """Whether this model runs on the second model runner, which keeps penalty counts.

        From 0.22 for a few classes, from 0.26 for dense models that are not hybrid, from 0.29
        for all.
        """
        if self._since(29):
            return True
        if self._since(26):
            return not (model.has_state or model.has_experts)
        early: frozenset[str] = frozenset()
        for since, types in _EARLY_SECOND_RUNNER.items():
            if (self.major, self.minor) >= since:
                early = types
        return model.model_type in early

    def batch_defaults(self, gpu: Gpu) -> tuple[int, int]:
        """--max-num-batched-tokens and --max-num-seqs of the OpenAI server."""
        if self.has_large_tier and gpu.memory_gib >= 160:
            return 16384, 1024
        is_slow = gpu.name.startswith("A100") or (gpu.name == "GB10" and self._since(28))
        return (8192, 1024) if gpu.memory_gib >= 70 and not is_slow else (2048, 256)


def read_version(text: str | None) -> VllmVersion:
    """Of text like 0.19, 0.19.1 or v0.19.1; None is the newest known. Raises PlanInvalid."""
    if text is None:
        return VllmVersion(*NEWEST)
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\.\d+)?([.+-]?\w+)*", text.strip())
    version = VllmVersion(int(found[1]), int(found[2])) if found else None
    if version is None or not OLDEST <= (version.major, version.minor) < (1, 0):
        raise PlanInvalid(
            f'--engine-version "{text}" is not known; vLLM {".".join(map(str, OLDEST))} to '
            f"{'.'.join(map(str, NEWEST))} are, and newer ones count as the newest"
        )
    return version
