"""The KV cache's element types, by the names that vLLM and TGI have for them.

Source: vLLM 0.33 `config/cache.py` and `v1/kv_cache_interface.py`; TGI 3.3 `--kv-cache-dtype`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import PlanInvalid


@dataclass(frozen=True, slots=True)
class CacheType:
    """`element_bytes` None: as the model computes. `scale_bytes`: for a head of a token."""

    element_bytes: float | None
    scale_bytes: int = 0
    is_packed_latent: bool = False


_EIGHT = CacheType(1)
CACHE_TYPES: Mapping[str, CacheType] = {
    "auto": CacheType(None),
    "float32": CacheType(4),
    "float16": CacheType(2),
    "bfloat16": CacheType(2),
    "fp8": _EIGHT,
    "fp8_e4m3": _EIGHT,
    "fp8_e5m2": _EIGHT,
    "fp8_e4m3fn": _EIGHT,
    "fp8_inc": _EIGHT,
    "fp8_ds_mla": CacheType(1, is_packed_latent=True),
    "fp8_per_token_head": CacheType(1, scale_bytes=4),
    "int8_per_token_head": CacheType(1, scale_bytes=4),
    "int4_per_token_head": CacheType(0.5, scale_bytes=4),
    "nvfp4": CacheType(0.5625),
}


def find_cache_type(name: str) -> CacheType:
    """Raises PlanInvalid."""
    found = CACHE_TYPES.get(name.lower().strip())
    if found is None:
        raise PlanInvalid(f'KV cache type "{name}" is not known; known: {", ".join(CACHE_TYPES)}')
    return found
