"""The header of a safetensors file: the exact bytes of every tensor, without reading one.

Eight bytes of length, then JSON: each tensor's type, shape and place. What the engines do not
load is left out: layers beyond the model's (multi-token prediction) and tables that are made
anew.

Source: the format's documentation in the `safetensors` repository.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from gateway.errors import PlanInvalid

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000
"""The format's own limit."""

_NOT_LOADED = re.compile(r"(^|\.)mtp\.|rotary_emb\.inv_freq$|\.masked_bias$|\.attn\.bias$")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def header_bytes(start: bytes) -> int:
    """How long the header is, from the file's first eight bytes. Raises PlanInvalid."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or not 1 < length <= LONGEST_HEADER:
        raise PlanInvalid("not a safetensors file")
    return length


def tensor_bytes(header: bytes, layers: int) -> int:
    """Bytes of the tensors that an engine loads of a model with so many layers.

    Raises PlanInvalid.
    """
    try:
        tensors: Any = json.loads(header)
    except ValueError as exc:
        raise PlanInvalid("the header of the safetensors file is not JSON") from exc
    if not isinstance(tensors, Mapping):
        raise PlanInvalid("the header of the safetensors file is not a mapping")
    whole = 0
    for name, told in tensors.items():
        if name == "__metadata__" or not is_loaded(name, layers):
            continue
        places = told.get("data_offsets") if isinstance(told, Mapping) else None
        if not (isinstance(places, list) and len(places) == 2):
            raise PlanInvalid(f'the safetensors file says not where "{name}" is')
        whole += int(places[1]) - int(places[0])
    return whole


def is_loaded(name: str, layers: int) -> bool:
    """Whether an engine loads the tensor of this name."""
    if _NOT_LOADED.search(name):
        return False
    found = _LAYER.search(name)
    is_encoder = any(part in name for part in ("vision", "visual", "audio", "encoder"))
    return found is None or is_encoder or int(found[1]) < layers
