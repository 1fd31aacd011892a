"""vLLM: OpenAI's API with habits of its own.

It says `finish_reason: "abort"` and then `[DONE]` when it is killed, sends 200 before it has
validated, and uses ints for error codes (handled where every engine's errors are read). Older
versions name some metrics otherwise.

Source: vLLM 0.32 on the wire; metric names of 0.9 to 0.33.
"""

from types import MappingProxyType
from typing import ClassVar

from typing_extensions import override

from gateway.engines.adapter import Load
from gateway.engines.openai import OpenAiAdapter
from gateway.engines.prometheus import Samples

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USED = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_CACHE = "vllm:cache_config_info"
_SLEEP = "vllm:engine_sleep_state"


class VllmAdapter(OpenAiAdapter):
    """vLLM's OpenAI server."""

    kind: ClassVar[str] = "vllm"
    health_path: ClassVar[str] = "/health"
    load_path: ClassVar[str | None] = "/metrics"
    finish_reasons = MappingProxyType({"repetition": "stop"})

    @override
    def load(self, body: bytes) -> Load:
        samples = Samples(body, (_RUNNING, _WAITING, *_KV_USED, _CACHE, _SLEEP))
        return Load(
            running=samples.total(_RUNNING),
            waiting=samples.total(_WAITING),
            kv_cache_used_ratio=samples.largest(*_KV_USED),
            kv_cache_tokens=_kv_cache_tokens(samples),
            asleep=any(
                value > 0 and labels.get("sleep_state") != "awake"
                for labels, value in samples.labels(_SLEEP)
            ),
        )


def _kv_cache_tokens(samples: Samples) -> int | None:
    """The capacity that vLLM publishes as a label (0.24 and newer), over its engines."""
    sizes = [labels.get("kv_cache_size_tokens", "") for labels, _ in samples.labels(_CACHE)]
    return sum(int(size) for size in sizes if size.isdecimal()) or None
