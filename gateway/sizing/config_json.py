"""A config.json as an architecture.

Raises PlanInvalid for a model type that is not known and for keys that make no model.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Architecture, Layer
from gateway.sizing.families import FAMILIES, Family
from gateway.sizing.feeds import feeds
from gateway.sizing.keys import Keys
from gateway.sizing.mixers import mixers
from gateway.sizing.towers import tower

# where the language model's part stands in the config of a model that also sees or hears
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
_MOST_LAYERS = 4096
_SAYS_DTYPE = ("torch_dtype", "dtype")


def read_architecture(config: object) -> Architecture:
    """Raises PlanInvalid."""
    if not isinstance(config, Mapping):
        raise PlanInvalid("config.json must hold a mapping")
    text = _text_part(config)
    family, kind = _family(text, config)
    keys = Keys(text, family.defaults)
    hidden = keys.number("hidden_size")
    pattern = keys.find("hybrid_override_pattern")
    listed = len(pattern) if isinstance(pattern, str) and pattern else None
    count = keys.number("num_hidden_layers", listed)
    if count > _MOST_LAYERS:
        raise PlanInvalid(f'config.json: "num_hidden_layers" is over {_MOST_LAYERS}')
    mixed = mixers(keys, family, kind, hidden, count)
    fed = feeds(keys, family, kind, hidden, count)
    vocab = keys.number("vocab_size")
    quantization = config.get("quantization_config") or text.get("quantization_config")
    if quantization is None:
        quantization = config.get("compression_config")
    if quantization is not None and not isinstance(quantization, Mapping):
        raise PlanInvalid('config.json: "quantization_config" must be a mapping')
    return Architecture(
        model_type=kind,
        hidden=hidden,
        vocab=vocab,
        is_tied=_is_tied(config, text, family),
        layers=tuple(Layer(m, f) for m, f in zip(mixed, fed, strict=True)),
        longest=longest(keys),
        dtype=_dtype(config, text),
        rope_elements=_rope_elements(keys, hidden),
        other_elements=_other_embeddings(keys, kind, hidden, count),
        tower=tower(config, hidden),
        quantization=dict(quantization) if quantization is not None else None,
        name=str(config.get("_name_or_path") or ""),
    )


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _TEXT_PARTS:
        inner = config.get(name)
        if isinstance(inner, Mapping):
            return _text_part(inner)
    return config


def _family(text: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Family, str]:
    asked = [one.get("model_type") for one in (text, config)]
    for kind in asked:
        if isinstance(kind, str) and kind in FAMILIES:
            return FAMILIES[kind], kind
    told = next((kind for kind in asked if isinstance(kind, str)), None)
    if told is None:
        raise PlanInvalid('config.json: "model_type" is missing')
    near = difflib.get_close_matches(told, FAMILIES, n=1)
    hint = "".join(f", did you mean {one}?" for one in near)
    raise PlanInvalid(
        f'the architecture "{told}" is not known{hint}; known: {", ".join(sorted(FAMILIES))}'
    )


def _is_tied(config: Mapping[str, Any], text: Mapping[str, Any], family: Family) -> bool:
    for given in (text, config):
        if given.get("tie_word_embeddings") is not None:
            return bool(given["tie_word_embeddings"])
    return bool(family.defaults.get("tie_word_embeddings"))


def _dtype(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    for given in (config, text):
        for key in _SAYS_DTYPE:
            if isinstance(given.get(key), str):
                return str(given[key]).removeprefix("torch.")
    return "bfloat16"


def longest(keys: Keys) -> int | None:
    """The largest length: the positions it was trained for, times what its rope scaling adds.

    `llama3`, `longrope`, `su` and `mrope` scalings are inside the positions already.
    """
    if keys.find("max_position_embeddings") is None:
        return None
    positions = keys.number("max_position_embeddings")
    scaling = keys.part("rope_scaling") or keys.part("rope_parameters")
    kind = scaling.get("rope_type") or scaling.get("type")
    factor = scaling.get("factor")
    if kind in ("yarn", "linear", "dynamic") and isinstance(factor, int | float):
        original = scaling.get("original_max_position_embeddings")
        if kind == "yarn" and isinstance(original, int) and original > 0:
            return (
                max(positions, int(original * factor))
                if original < positions
                else int(original * factor)
            )
        return int(positions * factor)
    return positions


def _rope_elements(keys: Keys, hidden: int) -> int:
    """Sines and cosines that engines keep for every position; none without rotations."""
    if keys.find("max_position_embeddings") is None or keys.find("num_attention_heads") is None:
        return 0
    heads = keys.number("num_attention_heads")
    width = keys.number("qk_rope_head_dim", keys.number("head_dim", max(1, hidden // heads)))
    share = keys.ratio("partial_rotary_factor", keys.ratio("rotary_pct", 1))
    # one table more where layers with a window turn at a speed of their own
    tables = 2 if keys.find("rope_local_base_freq") else 1
    return int((longest(keys) or 0) * width * share) * tables


def _other_embeddings(keys: Keys, kind: str, hidden: int, layers: int) -> int:
    if kind in ("gpt2", "opt", "gpt_bigcode"):
        return keys.number("max_position_embeddings") * hidden
    per_layer = keys.count("hidden_size_per_layer_input")
    return per_layer * layers * (keys.number("vocab_size_per_layer_input", 1) + hidden)
