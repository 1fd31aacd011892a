"""Encoders for images and sound, from the parts of a config.json that describe them.

A transformer of `layers` × (4 · width² + matrices · width · intermediate), its patches, and a
projection to the language model; within a few per cent of the published counts, and small
beside the language model.

Source: transformers 5.23 configuration classes.
"""

from collections.abc import Mapping
from typing import Any

from gateway.sizing.architecture import Tower
from gateway.sizing.keys import Keys

_GATED = ("pixtral", "qwen2_5_vl", "qwen2_5_omni_vision_encoder", "radio")
_LARGEST_IMAGE = 65536  # patches, as Qwen2-VL's processor allows


def tower(config: Mapping[str, Any], hidden: int) -> Tower | None:
    """None where the model only reads text."""
    thinker = config.get("thinker_config")
    if isinstance(thinker, Mapping):
        return tower(thinker, hidden)
    whole = Keys(config, {})
    vision = whole.part("vision_config")
    if vision:
        return _vision(Keys(vision, {}), whole, hidden)
    sound = whole.part("audio_config")
    return _sound(Keys(sound, {}), hidden) if sound else None


def _vision(keys: Keys, whole: Keys, hidden: int) -> Tower:
    width = keys.number("embed_dim", keys.number("hidden_size", 1152))
    layers = keys.number("depth", keys.number("num_hidden_layers", 27))
    inner = keys.number("intermediate_size", int(width * keys.ratio("mlp_ratio", 4)))
    kind = keys.find("model_type")
    patch = keys.number("patch_size", keys.number("spatial_patch_size", 14))
    merge = whole.number("spatial_merge_size", keys.number("spatial_merge_size", 1))
    patches = (keys.number("image_size", 448) // patch) ** 2
    positions = patches * width
    if keys.find("depth") is not None:  # takes any size of image: the largest by default
        patches, positions = _LARGEST_IMAGE, 0
    elif kind == "pixtral":
        positions = 0
    block = 4 * width * width + (3 if kind in _GATED else 2) * width * inner
    joined = width * merge * merge
    return Tower(
        layers=layers,
        width=width,
        intermediate=inner,
        matrix_elements=layers * block + joined * (joined if merge > 1 else 0) + joined * hidden,
        other_elements=3 * patch * patch * keys.number("temporal_patch_size", 1) * width
        + positions,
        item_tokens=whole.number("mm_tokens_per_image", max(1, patches // (merge * merge))),
        item_patches=patches,
    )


def _sound(keys: Keys, hidden: int) -> Tower:
    width = keys.number("d_model", keys.number("hidden_size", 1280))
    layers = keys.number("encoder_layers", keys.number("num_hidden_layers", 32))
    inner = keys.number("encoder_ffn_dim", keys.number("intermediate_size", 4 * width))
    return Tower(
        layers=layers,
        width=width,
        intermediate=inner,
        matrix_elements=layers * (4 * width * width + 2 * width * inner) + width * hidden,
        other_elements=1500 * width + 6 * width * width,
        item_tokens=750,
        item_patches=1500,
    )
