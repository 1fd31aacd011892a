"""Reading keys of a config.json: many have several names, and any may hold nonsense.

Raises PlanInvalid that names the key, so that a broken file is told from an unknown model.
"""

from collections.abc import Mapping
from typing import Any

from gateway.errors import PlanInvalid

ALIASES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "dim"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "multi_query_group_num", "kv_n_heads"),
    "intermediate_size": ("ffn_dim", "n_inner", "ffn_hidden_size", "hidden_dim"),
    "vocab_size": ("padded_vocab_size",),
    "max_position_embeddings": (
        "n_positions",
        "max_seq_len",
        "seq_length",
        "max_sequence_length",
        "model_max_length",
    ),
    "experts": (
        "num_local_experts",
        "num_experts",
        "n_routed_experts",
        "moe_num_experts",
        "moe_num_primary_experts",
    ),
    "active_experts": (
        "num_experts_per_tok",
        "num_experts_per_token",
        "experts_per_token",
        "moe_topk",
        "moe_k",
        "moe_top_k",
        "top_k_experts",
        "num_selects",
    ),
    "expert_intermediate": ("moe_intermediate_size", "expert_ffn_hidden_size"),
}


class Keys:
    """A config.json's mapping, with its class's defaults behind it."""

    def __init__(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._given = given
        self._defaults = defaults

    def find(self, key: str) -> Any:  # noqa: ANN401  # JSON: whatever stands there
        """The value under the key or another of its names, else the default; None is absent."""
        for name in (key, *ALIASES.get(key, ())):
            if self._given.get(name) is not None:
                return self._given[name]
        return self._defaults.get(key)

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number above 0. One that is absent and has no default is an error."""
        found = self.find(key)
        if isinstance(found, list) and found:
            found = max(found) if all(isinstance(one, int) for one in found) else found
        if found is None:
            if default is None:
                raise PlanInvalid(f'config.json: "{key}" is missing')
            return default
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            raise PlanInvalid(f'config.json: "{key}" must be a whole number above 0')
        return found

    def count(self, key: str, default: int = 0) -> int:
        """A whole number that may be 0, which is what an absent one is."""
        found = self.find(key)
        return default if found is None else (0 if found == 0 else self.number(key))

    def numbers(self, key: str, layers: int) -> list[int]:
        """One number for each layer, given as a list or as one for all."""
        found = self.find(key)
        if isinstance(found, list) and len(found) == layers:
            return [Keys({key: one}, {}).number(key) for one in found]
        return [self.number(key)] * layers

    def words(self, key: str, layers: int) -> list[str] | None:
        """A list of one word for each layer; None is absent."""
        found = self.find(key)
        if found is None:
            return None
        if not isinstance(found, list) or len(found) != layers:
            raise PlanInvalid(f'config.json: "{key}" must list {layers} layers')
        return [str(one) for one in found]

    def layers(self, key: str) -> list[int]:
        """A list of layers by number; empty when it is absent."""
        found = self.find(key)
        if found is None or found == []:
            return []
        if not isinstance(found, list) or not all(isinstance(one, int) for one in found):
            raise PlanInvalid(f'config.json: "{key}" must list layers by number')
        return found

    def ratio(self, key: str, default: float) -> float:
        """A number from 0 to 1000."""
        found = self.find(key)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1000:
            raise PlanInvalid(f'config.json: "{key}" must be a number')
        return float(found)

    def flag(self, key: str) -> bool:
        return bool(self.find(key))

    def part(self, key: str) -> Mapping[str, Any]:
        """A mapping inside; empty when it is absent."""
        found = self.find(key)
        if found is not None and not isinstance(found, Mapping):
            raise PlanInvalid(f'config.json: "{key}" must be a mapping')
        return found or {}
