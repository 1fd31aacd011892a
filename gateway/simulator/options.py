"""What a simulated engine is like: its kind, its size and its speed."""

from dataclasses import dataclass
from typing import Literal

EngineKind = Literal["vllm", "tgi", "llamacpp", "openai"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """One simulated engine; by default about an 8B model in bf16 on one H100.

    That is 12,000 prompt tokens a second, 8 ms between tokens for one request and 20 ms for
    128 at once, and 476,000 tokens of KV cache (the last as vLLM 0.19 reported it); a step computes
    at most 8192 tokens of prompts, vLLM's default there.
    `adapters`: those of LoRA that it starts with; `loads_adapters`: it can be told to load others.
    `max_queued` None: the queue has no bound. `drain_s` 0: SIGTERM ends running answers at once.
    """

    engine: EngineKind = "vllm"
    models: tuple[str, ...] = ("simulated",)
    version: str = "0.32.0"
    seed: int = 0
    api_key: str | None = None
    max_model_len: int = 8192
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    max_queued: int | None = None
    kv_cache_tokens: int = 476_000
    prefill_s_per_token: float = 1 / 12_000
    inter_token_s: float = 0.008
    inter_token_s_per_running: float = 0.0001
    answer_tokens: int = 96
    unicode: bool = False
    keep_alive_s: float = 5.0
    drain_s: float = 0.0
    adapters: tuple[str, ...] = ()
    loads_adapters: bool = False
    adapter_load_s: float = 0.0

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together: what the model can take and the KV cache can hold."""
        return min(self.max_model_len, max(1, self.kv_cache_tokens // 16) * 16)
