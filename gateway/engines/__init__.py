"""The engines by the name that the configuration uses for them."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.engines.adapter import EngineAdapter
from gateway.engines.llamacpp import LlamaCppAdapter
from gateway.engines.openai import OpenAiAdapter
from gateway.engines.tgi import TgiAdapter
from gateway.engines.vllm import VllmAdapter

ENGINES: Mapping[str, EngineAdapter] = MappingProxyType(
    {
        adapter.kind: adapter
        for adapter in (VllmAdapter(), TgiAdapter(), LlamaCppAdapter(), OpenAiAdapter())
    }
)
