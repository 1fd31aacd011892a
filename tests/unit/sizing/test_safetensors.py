import json

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.safetensors import header_bytes, is_loaded, tensor_bytes


def a_header(**tensors: list[int]) -> bytes:
    told = {name.replace("__", "."): {"data_offsets": at} for name, at in tensors.items()}
    return json.dumps({"__metadata__": {"format": "pt"}, **told}).encode()


def test_the_first_eight_bytes_are_the_length() -> None:
    assert header_bytes((300).to_bytes(8, "little")) == 300


@pytest.mark.parametrize("start", [b"", b"1234", b"GGUFGGUF", bytes(8)])
def test_what_does_not_begin_so_is_no_safetensors_file(start: bytes) -> None:
    with pytest.raises(PlanInvalid, match="not a safetensors file"):
        header_bytes(start)


def test_bytes_of_all_tensors_are_added() -> None:
    header = a_header(model__embed__weight=[0, 100], model__layers__0__up=[100, 150])
    assert tensor_bytes(header, 1) == 150


@pytest.mark.parametrize(
    ("name", "loaded"),
    [
        ("model.layers.60.mlp.down_proj.weight", True),
        ("model.layers.61.mlp.down_proj.weight", False),
        ("vision_tower.encoder.layers.70.fc1.weight", True),
        ("mtp.layers.0.mlp.gate.weight", False),
        ("model.layers.3.self_attn.rotary_emb.inv_freq", False),
        ("lm_head.weight", True),
    ],
)
def test_what_engines_do_not_load_is_left_out(name: str, loaded: bool) -> None:
    assert is_loaded(name, 61) == loaded
    header = json.dumps({name: {"data_offsets": [0, 8]}}).encode()
    assert tensor_bytes(header, 61) == 8 * loaded


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a mapping"),
        (b'{"a": {"data_offsets": [1]}}', 'says not where "a" is'),
        (b'{"a": 1}', 'says not where "a" is'),
    ],
)
def test_a_broken_header_is_told(header: bytes, problem: str) -> None:
    with pytest.raises(PlanInvalid, match=problem):
        tensor_bytes(header, 1)
