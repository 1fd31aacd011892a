"""Configurations and what they compile to, with everything defaulted that a test does not show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from gateway.config.document import Document
from gateway.fleet.catalog import Catalog
from gateway.fleet.compiling import compile_catalog
from gateway.routing import POLICIES


def a_model(name: str = "m", **more: Any) -> dict[str, Any]:
    """The short form of a model, or the full one where `variants` are given."""
    short = (
        {}
        if "variants" in more
        else {"engine": "vllm", "url": f"http://{name.replace(':', '-')}.test:8000"}
    )
    return {"name": name, **short, **more}


def a_variant(quantization: str | None, *urls: str, **more: Any) -> dict[str, Any]:
    """A variant of vLLM replicas."""
    replicas = [{"url": url} for url in urls or (f"http://{quantization}.test:8000",)]
    return {"quantization": quantization, "engine": "vllm", "replicas": replicas, **more}


def a_document(*models: dict[str, Any], **more: Any) -> Document:
    """A configuration with these models (one simple model)."""
    return Document.model_validate({"models": list(models or (a_model(),)), **more})


def a_catalog(
    *models: dict[str, Any], environ: Mapping[str, str] | None = None, **more: Any
) -> Catalog:
    """What such a configuration compiles to. Raises ConfigInvalid."""
    return compile_catalog(a_document(*models, **more), environ or {}, policies=POLICIES)


@dataclass(frozen=True, slots=True)
class AView:
    """A replica as a routing policy sees it."""

    name: str = "r0"
    weight: float = 1.0
    in_flight: int = 0
    load: float = 0.0
    turns: float = 0.0
    kv_cache_used_ratio: float | None = None
    prefilling: float = 0.0
    sent: float = 0.0
    is_shared: bool = True
    seed: int = 0
    knows: tuple[int, ...] = ()

    def known_blocks(self, blocks: Sequence[int]) -> int:
        return sum(1 for _ in takewhile(self.knows.__contains__, blocks))

    def has_seen(self, key: int) -> bool:
        return key in self.knows
