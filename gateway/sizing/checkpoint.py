"""What a checkpoint says of its own quantization: the `quantization_config` of a config.json.

Layers that it leaves alone (`ignore`, `modules_to_not_convert`) stay 16 bits wide: each part
gets the average over its layers.

Source: the published formats of AWQ, GPTQ, compressed-tensors, ModelOpt, FP8 (DeepSeek) and
MXFP4 (gpt-oss) checkpoints.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Architecture, Attention, Experts, LatentAttention, Mlp
from gateway.sizing.names import find_quantization
from gateway.sizing.parts import Part
from gateway.sizing.quantization import LINEAR, Quantization

SIXTEEN_BITS = 16
_IGNORE_KEYS = ("ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules", "exclude")


def own_quantization(model: Architecture) -> Quantization | None:
    """None when the checkpoint is not quantized. Raises PlanInvalid for a method nobody runs."""
    given = model.quantization
    if not given:
        return None
    inner = given.get("quantization")
    config: Mapping[str, Any] = {**given, **inner} if isinstance(inner, Mapping) else given
    found = replace(_method(config, model), is_online=False, note="as the checkpoint says")
    return replace(found, overrides=_left_alone(config, model, found))


def cache_is_eight_bits(model: Architecture) -> bool:
    """Whether the checkpoint asks for an 8-bit KV cache."""
    given = model.quantization or {}
    inner = given.get("quantization")
    config = {**given, **inner} if isinstance(inner, Mapping) else given
    scheme = config.get("kv_cache_scheme")
    if isinstance(scheme, Mapping):
        return scheme.get("num_bits") == 8
    return str(config.get("kv_cache_quant_algo")).upper() == "FP8"


def _method(config: Mapping[str, Any], model: Architecture) -> Quantization:
    method = str(config.get("quant_method") or config.get("quant_algo") or "").lower()
    match method.replace("_", "-"):
        case "awq" | "auto-awq":
            return _grouped("awq", config.get("bits", config.get("w_bit", 4)), config, zero=4)
        case "gptq" | "auto-gptq" | "gptq-marlin" | "auto-round" | "intel/auto-round":
            return _grouped("gptq", config.get("bits", 4), config, zero=4)
        case "fp8" | "fbgemm-fp8" | "deepseek-v4-fp8":
            return _eight_bit_floats(_first(config.get("weight_block_size")))
        case "compressed-tensors":
            return _compressed(config)
        case "mxfp4" | "gpt-oss-mxfp4":
            return replace(find_quantization("mxfp4"), vllm="")
        case "bitsandbytes":
            four = find_quantization("bitsandbytes")
            return four if config.get("load_in_4bit", True) else replace(four, bits=8)
        case "modelopt" | "modelopt-fp4" | "nvfp4" | "modelopt-mixed":
            return _modelopt(config)
        case "torchao" | "quark" | "experts-int8" | "int8":
            return replace(find_quantization("int8"), vllm="")
        case "":
            raise PlanInvalid('config.json: "quantization_config" names no "quant_method"')
        case _:
            raise PlanInvalid(
                f'the checkpoint is quantized with "{method}", which the engines cannot load; '
                "they load awq, gptq, fp8, compressed-tensors, modelopt, mxfp4 and bitsandbytes"
            )


def _whole(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _first(block: object) -> int:
    """The first size of a block, which is square; 0 when there is none."""
    return max(0, _whole(block[0], 0)) if isinstance(block, list) and block else 0


def _grouped(name: str, bits: object, config: Mapping[str, Any], *, zero: float) -> Quantization:
    width = _whole(bits, 4)
    group = _whole(config.get("group_size", config.get("q_group_size")), 128)
    scales = (16 + zero) / group if group > 0 else 0
    parts = LINEAR | {Part.HEAD} if config.get("lm_head") else LINEAR
    known = find_quantization(name)
    return replace(known, bits=width + scales, group=max(0, group), parts=parts)


def _eight_bit_floats(block: int) -> Quantization:
    scales = 32 / block**2 if block else 0
    return replace(find_quantization("fp8"), bits=8 + scales, group=block, parts=LINEAR, vllm="")


def _compressed(config: Mapping[str, Any]) -> Quantization:
    groups = config.get("config_groups")
    schemes = (
        [one for one in groups.values() if isinstance(one, Mapping)]
        if isinstance(groups, Mapping)
        else []
    )
    weights = next((s["weights"] for s in schemes if isinstance(s.get("weights"), Mapping)), None)
    if weights is None:
        raise PlanInvalid('config.json: "quantization_config" describes no weights')
    bits, is_float = _whole(weights.get("num_bits"), 8), weights.get("type") == "float"
    group = _whole(weights.get("group_size"), 0)
    if bits == 8 and is_float:
        return _eight_bit_floats(_first(weights.get("block_structure")))
    if is_float:
        name = "mxfp4" if group == 32 else "nvfp4"
        return replace(find_quantization(name), parts=LINEAR, group=group)
    if bits == 8:
        return replace(
            find_quantization("int8"), vllm="", bits=8 + (16 / group if group > 0 else 0)
        )
    zero = 0 if weights.get("symmetric", True) else 4
    return _grouped("w4a16", bits, {"group_size": group or -1}, zero=zero)


def _modelopt(config: Mapping[str, Any]) -> Quantization:
    algorithm = str(config.get("quant_algo", "")).upper()
    if "FP4" in algorithm:
        return replace(find_quantization("nvfp4"), group=_whole(config.get("group_size"), 16))
    if algorithm.startswith("W4A16") or "AWQ" in algorithm:
        return _grouped("awq", 4, config, zero=0)
    return _eight_bit_floats(0)


def _left_alone(
    config: Mapping[str, Any], model: Architecture, found: Quantization
) -> dict[Part, float]:
    """Average bits of the parts some of whose layers are ignored."""
    told = next((config[key] for key in _IGNORE_KEYS if config.get(key)), ())
    patterns = [str(one) for one in told] if isinstance(told, Sequence) else []
    if isinstance(told, str):
        patterns = [told]
    bits = found.bits or SIXTEEN_BITS
    shares: dict[Part, list[bool]] = {}
    for part, name in _modules(model):
        shares.setdefault(part, []).append(any(_matches(one, name) for one in patterns))
    return {
        part: bits + (SIXTEEN_BITS - bits) * sum(ignored) / len(ignored)
        for part, ignored in shares.items()
        if part in found.parts and any(ignored)
    }


def _modules(model: Architecture) -> Iterator[tuple[Part, str]]:
    """The names of the modules that hold most of each part's weights."""
    if not model.is_tied:
        yield Part.HEAD, "lm_head"
    for number, layer in enumerate(model.layers):
        prefix = f"model.layers.{number}"
        for mixer in layer.mixers:
            if isinstance(mixer, Attention | LatentAttention):
                for name in ("q_proj", "o_proj"):
                    yield Part.ATTENTION, f"{prefix}.self_attn.{name}"
            else:
                yield Part.STATE, f"{prefix}.linear_attn.in_proj_qkvz"
        if isinstance(layer.feed, Mlp):
            yield Part.MLP, f"{prefix}.mlp.gate_proj"
        elif isinstance(layer.feed, Experts):
            yield Part.EXPERTS, f"{prefix}.mlp.experts.0.gate_proj"
            if layer.feed.shared:
                yield Part.MLP, f"{prefix}.mlp.shared_experts.gate_proj"


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return re.match(pattern.removeprefix("re:"), name) is not None
        except re.error:
            return False
    plain = pattern.strip("*").removesuffix(".").removeprefix("language_model.")
    if "*" in plain:
        return re.search(re.escape(plain).replace(r"\*", ".*"), name) is not None
    whole = re.escape(plain)
    return re.search(rf"(^|\.){whole}($|\.)", name) is not None
